"""`simulate`: a study without trainings, put together and run."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas
from omegaconf import DictConfig, OmegaConf

from tuner.cli import composing
from tuner.config import compose, starting_points
from tuner.config.bounds import check_above
from tuner.config.overrides import key_of
from tuner.config.schema import StudyConfig
from tuner.config.starting_points import BEST_OF, study_named
from tuner.driver import finalists
from tuner.driver.assembly import make_loop
from tuner.driver.parts import Best, Display, TrialSource
from tuner.errors import ConfigError
from tuner.oracles.journal import JournaledOracle, MakeOracle
from tuner.simulation import frames
from tuner.simulation.clock import VirtualClock
from tuner.simulation.executor import SimulatedExecutor
from tuner.simulation.records import (
    NoDisplay,
    SimulatedFolder,
    SimulatedRecorder,
)
from tuner.simulation.worker import Evaluate, SimulatedCurves, SimulatedWorker
from tuner.trial import finalist_seed

MODEL = "tuner.simulation.table"
"""Stands for a model function in a simulated study's configuration; nothing builds a model."""


@dataclass(frozen=True)
class Simulated:
    """What came of a simulated study.

    Attributes:
        trials: A row for each trial, in the order in which they began. `trial` (text); `values`
            (a dictionary); `epochs` (int64), how many it has; `score`, its objective, NaN if it
            failed; `started` and `ended`, in simulated seconds. A trial that is paused at a
            rung ends there, unless it is resumed.
        finalists: A row for each training of a finalist, in the order in which they began:
            `trial`; `repeat` (int64), the number of its new seed, from 1; `epochs`, `score`,
            `started` and `ended` as above.
        ends: A row each time that a trial has ended or paused, in their order: `trial`,
            `epochs` and `score` as above, and `seconds`, when that was.
        epochs_spent: Number of epochs that were trained, those of finalists included. Those of
            a curve that another trial had begun are counted once.
        seconds: Simulated seconds from the first trial's start to the end of all trainings.
        best: The trial that a study would recommend; None if none was completed. Where
            finalists were trained, `best.race` has their scores.
    """

    trials: pandas.DataFrame
    finalists: pandas.DataFrame
    ends: pandas.DataFrame
    epochs_spent: int
    seconds: float
    best: Best | None


@dataclass(frozen=True)
class SimulatedParts:
    """The parts of a simulated study; see `tuner.driver.parts.LoopParts`."""

    folder: SimulatedFolder
    oracle: TrialSource
    executor: SimulatedExecutor
    tracker: SimulatedRecorder
    curves: SimulatedCurves
    progress: Display
    clock: VirtualClock
    deadline: float | None
    rehearsal: None = None

    def for_finalists(self, source: TrialSource, progress: Display) -> "SimulatedParts":
        """See `LoopParts.for_finalists`."""
        return dataclasses.replace(self, oracle=source, progress=progress)


def simulate(
    overrides: Sequence[str],
    space: Mapping[str, Any],
    evaluate: Evaluate,
    *,
    max_epochs: int = 27,
    seed: int = 0,
    workers: int = 1,
    num_validation: int | None = None,
) -> Simulated:
    """Run a search on a table or a function instead of on trainings.

    The loop, the oracle, the stopping and the finalists are those of a study; time is
    simulated. With one worker it asks for the trials that a study would ask for, in the same
    order; with more, if its epochs cost what the study's trials take. It writes nothing, and
    the same arguments give the same result.

    ```python
    def evaluate(values, epoch, repeat):
        score = 1 - abs(values["learning_rate"] - 0.01) - 0.5 / epoch
        return {"val_accuracy": score, "seconds": 2.0}

    space = {"learning_rate": {"min": 1e-4, "max": 1e-1, "log": True}}
    run = simulate(["search=tpe", "search.max_trials=30"], space, evaluate, workers=2)
    run.trials, run.epochs_spent, run.best
    ```

    Args:
        overrides: The search, as the command line has it: `search=…` and `search.…=…`. Minutes
            (`search.max_minutes`, `search.max_trial_minutes`) are simulated ones.
        space: The hyperparameters, as a configuration has them: a scalar is fixed, a list is a
            choice, a mapping is a range. With `epochs`, trials train for those; without, for
            `max_epochs`.
        evaluate: Called once for every epoch that is trained, with the values, the number of
            the epoch and that of the repeat; returns the objective (`val_accuracy`, unless
            `search.objective` says otherwise) and the `seconds` that the epoch takes. See
            `Evaluate`.
        max_epochs: Epochs of a trial, at least 1; the most epochs where the search sets them,
            unless `search.max_epochs` is among the overrides.
        seed: The study's seed, in `[0, 2**31)`.
        workers: How many trials run at a time, at least 1.
        num_validation: Number of images that an accuracy is measured on. It tells which trials
            are indistinguishable; if it is None, finalists are trained only where
            `search.finalists` says how many.

    Raises:
        ConfigError: If an override or the space is wrong, or `evaluate` does not return what it
            should.
        SearchFailed: If the first three trials fail.
    """
    check_above("workers", workers, 0)
    check_above("max_epochs", max_epochs, 0)
    config = _configured(overrides, space, max_epochs, seed)
    return run(config, evaluate, workers, _hidden(space), num_validation=num_validation)


def run(
    config: StudyConfig,
    evaluate: Evaluate,
    workers: int,
    hidden: frozenset[str] = frozenset(),
    make: MakeOracle | None = None,
    num_validation: int | None = None,
) -> Simulated:
    """Run a study's search, and its finalists, without its trainings.

    Args:
        config: The study's configuration, checked.
        evaluate: See `simulate`.
        workers: How many trials run at a time, at least 1.
        hidden: Values of its trials that neither `evaluate` nor the table hears of.
        make: Makes its oracle; None for the one that the search names.
        num_validation: See `simulate`.
    """
    repeats = _repeats(config)
    parts, worker = _parts(config, evaluate, workers, hidden, repeats, make)
    loop = make_loop(config, parts)
    loop.run()
    won = finalists.train(config, parts, loop, lambda _: NoDisplay(), num_validation)
    records, objective = parts.tracker.records.values(), config.objective
    return Simulated(
        frames.of_trials(records, objective, hidden),
        frames.of_finalists(records, objective, repeats),
        frames.of_ends(parts.tracker.ends, objective),
        worker.epochs_spent,
        parts.clock.now(),
        won or loop.best(),
    )


def _configured(
    overrides: Sequence[str], space: Mapping[str, Any], max_epochs: int, seed: int
) -> StudyConfig:
    """Return the configuration of a study with this search, checked as a study's is.

    Raises:
        ConfigError: At the first thing wrong.
    """
    for override in overrides:
        if key_of(override).partition(".")[0] != "search":
            raise ConfigError(
                f"`simulate` takes overrides of the search, such as search=tpe and "
                f"search.max_trials=30, but got {override!r}: space, epochs, seed and workers "
                f"are arguments of their own."
            )
    composed = composing.study([*overrides, "model=custom", f"model._target_={MODEL}"])
    _set_epochs(composed, max_epochs, [key_of(override) for override in overrides])
    composed.seed = seed
    # Not merged: this is the whole space.
    composed.space = OmegaConf.create(
        {**dict.fromkeys(_hidden(space), 1), "epochs": max_epochs, **space}
    )
    config = compose.load(composed)
    if study_named(config.search.first) is not None:
        raise ConfigError(
            f"`search.first={BEST_OF}…` names a study, and a simulation has none at hand: list "
            f"the points."
        )
    return config


def _set_epochs(composed: DictConfig, max_epochs: int, given: Sequence[str]) -> None:
    """Tell a search that sets the epochs how many there are at most."""
    if "max_epochs" in composed.search and "search.max_epochs" not in given:
        composed.search.max_epochs = max_epochs


def _hidden(space: Mapping[str, Any]) -> frozenset[str]:
    """Return the values that every trial has and that this space does not speak of."""
    return frozenset({"epochs", "batch_size"} - space.keys())


def _repeats(config: StudyConfig) -> dict[int, int]:
    """Return the numbers of the new seeds of finalists, which follow those of repeats."""
    wanted, first = config.search.wanted_finalists, config.num_repeats
    seeds = range(0 if wanted is None else wanted.seeds)
    return {finalist_seed(config.seed, i + 1): first + i for i in seeds}


def _parts(
    config: StudyConfig,
    evaluate: Evaluate,
    workers: int,
    hidden: frozenset[str],
    repeats: Mapping[int, int],
    make: MakeOracle | None,
) -> tuple[SimulatedParts, SimulatedWorker]:
    search, searched, objective = config.search, config.searched_space(), config.objective
    clock = VirtualClock()
    worker = SimulatedWorker(evaluate, hidden | {"epochs"}, repeats, objective, clock)
    executor = SimulatedExecutor(worker.run, clock, workers, looks_ahead=config.looks_ahead)
    first = starting_points.given_points(search, searched, config.seed)
    parts = SimulatedParts(
        folder=SimulatedFolder(),
        # With no journal: nobody resumes it, and keeping one takes a millisecond a trial.
        oracle=JournaledOracle(
            search, searched, objective, config.seed, None, first=first, make=make
        ),
        executor=executor,
        tracker=SimulatedRecorder(clock),
        curves=SimulatedCurves(),
        progress=NoDisplay(),
        clock=clock,
        deadline=None if search.max_minutes is None else search.max_minutes * 60,
    )
    return parts, worker
