"""The configuration as typed dataclasses that mirror `conf/`, one for each group."""

from dataclasses import dataclass, field
from typing import Any, Literal, cast

from omegaconf import MISSING

from tuner import names
from tuner.config import aliases
from tuner.config.executors import ExecutorConfig
from tuner.config.searches import SearchConfig
from tuner.config.space import Space
from tuner.config.training import TrainingConfig
from tuner.constraints import Constraints
from tuner.models import OWN_METRICS, SPACES
from tuner.models.objectives import make_objective
from tuner.trial import CheckpointSetup, Objective, WorkerSetup, whole

Kept = Literal["all", "best", "none"]
"""The trials for which something is kept: all, the ten best, or none."""

IS_PATH = {"is_path": True}
"""Marks a key whose value may begin with `~` for the user's home."""


@dataclass
class DataConfig:
    """Where the images come from and how they are split; group `data`."""

    _target_: str = MISSING
    name: str = MISSING
    path: str | None = field(default=None, metadata=IS_PATH)
    train_size: int | None = None
    validation_split: float = 0.1
    folds: int | None = None
    image_size: Any = None
    test_split: float = 0.2


@dataclass
class CurvesConfig:
    """Which learning curves are kept with checkpoints, so that later trials continue them."""

    reuse: bool = True
    shared: bool = False
    every_seconds: float = 30.0
    keep: str = "best"
    max_mb: float | None = None


@dataclass
class TrackingConfig:
    """Where MLflow keeps its records; group `tracking`."""

    uri: str | None = field(default=None, metadata=IS_PATH)
    experiment: str | None = None
    log_models: str = "all"

    @property
    def models_kept(self) -> Kept:
        """The trials whose models are logged; checked."""
        return cast(Kept, self.log_models)


@dataclass
class GateConfig:
    """What a challenger must show to become champion."""

    metric: str = "accuracy"
    min_improvement: float = 0.0
    confidence: float = 0.95
    min_accuracy: float | None = None
    max_parameters: int | None = None
    max_latency_ms: float | None = None
    max_class_drop: float | None = None

    @property
    def limits(self) -> Constraints:
        """Its limits that do not look at the test images."""
        return Constraints.of_gate(self.max_parameters, self.max_latency_ms)


@dataclass
class RegistryConfig:
    """Where the best model goes; group `registry`."""

    name: str | None = None
    alias: str = aliases.DEFAULT
    refit: bool = False
    gate: GateConfig = MISSING


@dataclass
class StudyConfig:
    """One whole study: mirrors `conf/config.yaml`."""

    study: str | None = None
    seed: int = 0
    overwrite: bool = False
    extend: bool = False
    data: DataConfig = MISSING
    model: dict[str, Any] = MISSING
    space: dict[str, Any] = MISSING
    search: SearchConfig = MISSING
    training: TrainingConfig = MISSING
    curves: CurvesConfig = MISSING
    executor: ExecutorConfig = MISSING
    tracking: TrackingConfig = MISSING
    registry: RegistryConfig = MISSING

    @property
    def objective(self) -> Objective:
        """The objective with its direction, and the others if there are several."""
        return make_objective(self.search.objective, self.search.direction)

    @property
    def constraints(self) -> Constraints:
        """The search's constraints; checked."""
        return Constraints.parse(self.search.constraints)

    @property
    def num_repeats(self) -> int:
        """How many trainings each trial has: its repeats, each on every fold."""
        return self.search.repeats * (self.data.folds or 1)

    @property
    def looks_ahead(self) -> bool:
        """Whether workers are given trials ahead of time, as nothing depends on their order.

        Trials that are repeated are compared with those that have ended.
        """
        return not self.search.learns_from_results and self.num_repeats == 1

    @property
    def with_latency(self) -> bool:
        """Whether the latency of each trial's model is measured."""
        limits = self.constraints + self.registry.gate.limits
        wanted = [*limits.metrics, *(one.name for one in self.objective.all)]
        return names.LATENCY_MS in wanted

    @property
    def own_metrics(self) -> list[str]:
        """The metrics of the built-in models that are measured only for this study."""
        wanted = [*(one.name for one in self.objective.all), *self.constraints.metrics]
        own = dict.fromkeys(name.removeprefix("val_") for name in wanted)
        return [name for name in own if name in OWN_METRICS]

    @property
    def model_function(self) -> str:
        """The model function's dotted name."""
        return str(self.model["_target_"])

    @property
    def model_arguments(self) -> dict[str, Any]:
        """The model function's arguments besides the values and the data's shape."""
        given = {k: v for k, v in self.model.items() if k not in ("_target_", "custom_objects")}
        if self.is_built_in and (own := self.own_metrics):
            # Measured only where asked for: other trainings stay what they are.
            given["metrics"] = own
        return given

    @property
    def is_built_in(self) -> bool:
        """Whether its models are Glassy's own."""
        return self.model_function in SPACES

    @property
    def custom_objects(self) -> tuple[str, ...]:
        """Modules whose classes and functions its models may hold; checked."""
        return module_names(self.model.get("custom_objects"))

    def whole_space(self) -> Space:
        """Return the space as it is configured."""
        return Space.parse(self.space, self.model_function)

    def searched_space(self) -> Space:
        """Return the space that the oracle searches: without `epochs` where it sets them."""
        space = self.whole_space()
        return space.without("epochs") if self.search.sets_epochs else space

    def worker_setup(self, study: str, engine: str) -> WorkerSetup:
        """Return what all trials of a study share.

        Args:
            study: The study's name.
            engine: The engine that was chosen for it.
        """
        # Where the oracle sets the epochs, a trial may end at any.
        epochs = self.searched_space().dimensions.get("epochs")
        ends = None if epochs is None else frozenset(whole(n) for n in epochs.options or ())
        return WorkerSetup(
            self.model_function,
            self.model_arguments,
            self.objective,
            self.executor.threads,
            engine,
            self.training.engine == "auto",
            study,
            CheckpointSetup(self.curves.every_seconds, ends),
            self.custom_objects,
            self.training.options(self.objective),
            self.constraints,
            self.with_latency,
        )


@dataclass
class PromoteConfig:
    """What `tuner.promote` takes: mirrors `conf/commands/promote.yaml`."""

    study: str | None = None
    trial: str | None = None
    run: str | None = None
    force: bool = False
    reason: str | None = None
    rollback: bool = False
    data: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    registry: dict[str, Any] = MISSING
    custom_objects: Any = None
    tracking: TrackingConfig = MISSING


@dataclass
class StopConfig:
    """What `tuner.stop` takes: mirrors `conf/commands/stop.yaml`."""

    study: str = MISSING
    trial: str | None = None
    now: bool = False
    tracking: TrackingConfig = MISSING


@dataclass
class SimulateConfig:
    """What `tuner.simulate` takes: mirrors `conf/commands/simulate.yaml`."""

    study: str = MISSING
    searches: list[str] = MISSING
    seeds: int = MISSING
    workers: int = MISSING
    tracking: TrackingConfig = MISSING


@dataclass
class DeleteConfig:
    """What `tuner.delete` takes: mirrors `conf/commands/delete.yaml`."""

    study: str = MISSING
    yes: bool = False
    tracking: TrackingConfig = MISSING


@dataclass
class WatchConfig:
    """What `tuner.watch` takes: mirrors `conf/commands/watch.yaml`."""

    study: str | None = None
    port: int | None = None
    tracking: TrackingConfig = MISSING


@dataclass
class ExploreConfig:
    """What `tuner.explore` takes: mirrors `conf/explore.yaml`."""

    data: DataConfig = MISSING
    seed: int = 0
    picture: str = field(default="data.png", metadata=IS_PATH)


@dataclass
class PrepareConfig:
    """The steps that bring a drawing into the form of the training images."""

    invert: bool = True
    crop: bool = True
    stroke: bool = True
    center: bool = True


@dataclass
class PredictConfig:
    """What `tuner.predict` takes: mirrors `conf/commands/predict.yaml`."""

    images: str = field(default=MISSING, metadata=IS_PATH)
    model: str | None = None
    prepare: PrepareConfig = MISSING
    show: bool = False
    custom_objects: Any = None
    tracking: TrackingConfig = MISSING


@dataclass
class ReportConfig:
    """What `tuner.report` takes: mirrors `conf/commands/report.yaml`."""

    study: str | None = None
    drawings: str | None = field(default=None, metadata=IS_PATH)
    output: str | None = field(default=None, metadata=IS_PATH)
    tracking: TrackingConfig = MISSING


@dataclass
class DemoConfig:
    """What `tuner.demo` takes: mirrors `conf/commands/demo.yaml`."""

    model: str | None = None
    host: str = "127.0.0.1"
    port: int = 7860
    max_upload_mb: int = 10
    custom_objects: Any = None
    tracking: TrackingConfig = MISSING


def module_names(value: Any) -> tuple[str, ...]:
    """Return the modules that a key `custom_objects` names: one, a list of them, or none."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)
