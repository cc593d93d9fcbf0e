"""How epochs are run, and what a training is told besides its values: group `training`."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.config.bounds import (
    check_above,
    check_at_least,
    check_one_of,
    is_dotted_name,
)
from tuner.errors import ConfigError
from tuner.models import DIRECTIONS
from tuner.trial import Json, Objective, TrainingOptions, is_number
from tuner.wording import did_you_mean

ENGINES = ("auto", "xla", "graph", "keras")
MODES = ("min", "max")
BALANCED = "balanced"


@dataclass
class EarlyStoppingConfig:
    """When a training ends before its last epoch.

    Attributes:
        monitor: The metric that must improve; None for the objective.
        mode: `min`, `max`, or None for the metric's own.
        patience: Number of epochs without a gain after which the training ends.
        min_delta: A gain is a difference above this.
        restore_best: Whether the model gets the weights of its best epoch.
    """

    monitor: str | None = None
    mode: str | None = None
    patience: int = 3
    min_delta: float = 0.0
    restore_best: bool = True

    def arguments(self, objective: Objective) -> dict[str, Json]:
        """Return the arguments of Keras's `EarlyStopping`; checked."""
        return {
            **_monitored(self, objective),
            "patience": self.patience,
            "min_delta": self.min_delta,
            "restore_best_weights": self.restore_best,
        }


@dataclass
class ReduceOnPlateauConfig:
    """When the learning rate falls; the defaults are Keras's, but for the metric.

    Attributes:
        monitor: The metric that must improve; None for the objective.
        mode: `min`, `max`, or None for the metric's own.
        factor: The learning rate is multiplied by it.
        patience: Number of epochs without a gain after which that happens.
        min_delta: A gain is a difference above this.
        cooldown: Number of epochs after it that are not counted.
        min_lr: The learning rate falls no further.
    """

    monitor: str | None = None
    mode: str | None = None
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0

    def arguments(self, objective: Objective) -> dict[str, Json]:
        """Return the arguments of Keras's `ReduceLROnPlateau`; checked."""
        return {
            **_monitored(self, objective),
            "factor": self.factor,
            "patience": self.patience,
            "min_delta": self.min_delta,
            "cooldown": self.cooldown,
            "min_lr": self.min_lr,
        }


_Monitoring = EarlyStoppingConfig | ReduceOnPlateauConfig


@dataclass
class TrainingConfig:
    """How epochs are run, and what a training is told besides its values."""

    engine: str = "auto"
    early_stopping: EarlyStoppingConfig | None = None
    reduce_on_plateau: ReduceOnPlateauConfig | None = None
    class_weight: Any = None
    callbacks: Any = None

    def options(self, objective: Objective) -> TrainingOptions:
        """Return what a training is told; checked.

        Args:
            objective: The study's objective, monitored where no metric is named.
        """
        stopping, plateau = self.early_stopping, self.reduce_on_plateau
        weight = self.class_weight
        return TrainingOptions(
            early_stopping=None if stopping is None else stopping.arguments(objective),
            reduce_on_plateau=None if plateau is None else plateau.arguments(objective),
            # YAML reads the class 3 as a number.
            class_weight={str(name): float(w) for name, w in weight.items()}
            if isinstance(weight, Mapping)
            else weight,
            callbacks=self._callbacks(),
        )

    def check(self, objective: Objective, reported: Collection[str] | None) -> None:
        """Refuse what no training can be told.

        Args:
            objective: The study's objective.
            reported: The metrics of every epoch; None if they are not known yet.

        Raises:
            ConfigError: At the first thing wrong.
        """
        check_one_of("training.engine", self.engine, ENGINES)
        if (stopping := self.early_stopping) is not None:
            _check_monitored("training.early_stopping", stopping, objective, reported)
        if (plateau := self.reduce_on_plateau) is not None:
            key = "training.reduce_on_plateau"
            _check_monitored(key, plateau, objective, reported)
            if not 0 < plateau.factor < 1:
                raise ConfigError(
                    f"`{key}.factor` must be above 0 and below 1, but got {plateau.factor}."
                )
            check_at_least(f"{key}.cooldown", plateau.cooldown, 0)
            check_at_least(f"{key}.min_lr", plateau.min_lr, 0)
        _check_weights(self.class_weight)
        for name in self._callbacks():
            if not is_dotted_name(name):
                raise ConfigError(
                    f"`training.callbacks` must be a list of dotted names such as "
                    f"[my_callbacks.make], or null, but got {name!r}."
                )

    def check_classes(self, class_names: Collection[str]) -> None:
        """Refuse weights for classes that the data do not have.

        Args:
            class_names: The names of the classes.

        Raises:
            ConfigError: It names the first such class.
        """
        if not isinstance(self.class_weight, Mapping):
            return
        for name in map(str, self.class_weight):
            if name not in class_names:
                hint = did_you_mean(name, class_names)
                raise ConfigError(
                    f"`training.class_weight` must have names of classes as keys, but the data "
                    f"have no class {name!r}; they have {_listed(class_names)}.{hint}"
                )

    def _callbacks(self) -> tuple[str, ...]:
        given = self.callbacks
        return () if given is None else tuple(given if isinstance(given, list) else [given])


@dataclass(frozen=True)
class CallbackFacts:
    """What callbacks of the user's own mean for a study.

    Attributes:
        batch_hook: Which of them has a hook for every batch, in words; None if none has.
        unkept: Why their trainings cannot be resumed, in words; None if they can.
    """

    batch_hook: str | None = None
    unkept: str | None = None

    def notices(self) -> Iterator[str]:
        """Yield what a user should know before the first trial, a sentence or two each."""
        if self.batch_hook is not None:
            yield (
                f"{self.batch_hook}, so epochs are run by Keras's own loop, which is slower "
                f"than a compiled program (training.engine=keras)."
            )
        if self.unkept is not None:
            yield (
                f"{self.unkept}. So no training is resumed: each trial trains all of its "
                f"epochs, after an interruption from the first one on."
            )


def _monitored(config: _Monitoring, objective: Objective) -> dict[str, Json]:
    monitor = config.monitor or objective.name
    return {"monitor": monitor, "mode": config.mode or _directions(objective)[monitor]}


def _directions(objective: Objective) -> dict[str, str]:
    """Return the direction of every metric whose direction is known, by its name."""
    known = {**DIRECTIONS, objective.name: objective.direction}
    return {**{name.removeprefix("val_"): way for name, way in known.items()}, **known}


def _check_monitored(
    key: str, config: _Monitoring, objective: Objective, reported: Collection[str] | None
) -> None:
    monitor = config.monitor or objective.name
    if reported is not None and monitor not in reported:
        raise ConfigError(
            f"`{key}.monitor` must be a metric that is measured after every epoch, but "
            f"{monitor!r} is not among {', '.join(reported)}."
        )
    if config.mode not in (None, *MODES):
        raise ConfigError(f"`{key}.mode` must be min, max or null, but got {config.mode!r}.")
    if config.mode is None and monitor not in _directions(objective):
        raise ConfigError(f"`{key}.mode` must say min or max for the metric {monitor}.")
    check_at_least(f"{key}.patience", config.patience, 1)
    check_at_least(f"{key}.min_delta", config.min_delta, 0)


def _check_weights(given: Any) -> None:
    if given is None or given == BALANCED:
        return
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            f"`training.class_weight` must be {BALANCED}, or weights by the names of classes "
            f"such as {{cat: 2.0, dog: 1.0}}, or null, but got {given!r}."
        )
    for name, weight in given.items():
        if not (is_number(weight) and math.isfinite(weight)):
            raise ConfigError(
                f"`training.class_weight.{name}` must be a number above 0, but got {weight!r}."
            )
        check_above(f"training.class_weight.{name}", weight, 0)


def _listed(names: Collection[str]) -> str:
    """List some names."""
    first = list(names)[:20]
    return ", ".join(first) + (", …" if len(names) > len(first) else "")
