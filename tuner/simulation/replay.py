"""Replays a recorded study: which search would have found as good a trial with fewer epochs?

The trials that a study has recorded are a table: what each of them showed after every epoch is
known. Other searches are simulated on this table. They choose among its trials, in another
order, and each trial is trained for the epochs that it was trained for.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tuner.cli import composing
from tuner.config import compose
from tuner.config.schema import StudyConfig
from tuner.config.searches import SearchConfig
from tuner.config.space import Space
from tuner.errors import StudyError
from tuner.oracles.journal import make_oracle
from tuner.oracles.oracle import Oracle
from tuner.outcomes import is_cut
from tuner.simulation.simulating import run
from tuner.simulation.table import NearestOracle, ShuffledOracle
from tuner.simulation.worker import SECONDS
from tuner.trial import Metrics, Objective, Values, without_epochs

MIN_TRIALS = 4
"""Trials that a study must have: of fewer, any order finds the best soon."""

IN_ORDER = "as it was"
"""Row of the study itself."""


@dataclass(frozen=True)
class RecordedTrial:
    """One finished trial of a study.

    Attributes:
        values: One point of the study's space.
        score: The objective of its model.
        epochs: Its metrics after each epoch.
        seconds: What an epoch took, on average.
        stopped: Why it has fewer epochs than its values say, or None.
    """

    values: Values
    score: float
    epochs: Sequence[Metrics]
    seconds: float
    stopped: str | None = None


@dataclass(frozen=True)
class Row:
    """What a search has needed until a trial that is good enough had ended.

    Attributes:
        search: Its name.
        epochs: Epochs trained by then, one number for each seed; infinite if there was none.
        trials: Trials that had ended by then, likewise.
    """

    search: str
    epochs: Sequence[float]
    trials: Sequence[float]

    @property
    def median_epochs(self) -> float:
        """The median over the seeds."""
        return statistics.median(self.epochs)

    @property
    def median_trials(self) -> float:
        """The median over the seeds."""
        return statistics.median(self.trials)


class Replay:
    """A study's trials as a table for other searches.

    Args:
        trials: Its finished trials, in the order in which they were asked for.
        config: Its configuration.
        num_validation: Number of its validation images, if known.

    Attributes:
        trials: Those that another search could have chosen: in the space as it is now, and
            with all of their epochs.
        best: The best score.
        enough: The score that counts as good as that: where the objective is an accuracy, less
            by the standard error that the number of validation images gives it.

    Raises:
        StudyError: If the search has set the epochs, or if there are too few trials.
    """

    def __init__(
        self,
        trials: Iterable[RecordedTrial],
        config: StudyConfig,
        num_validation: int | None,
    ) -> None:
        if config.search.sets_epochs:
            raise StudyError(
                f"A study with search={config.search.oracle} cannot be simulated: its search "
                f"has decided how long each trial trains, so what other searches would have "
                f"seen of most is not recorded. Simulate one whose space has the epochs."
            )
        self._config = config
        self._objective, space = config.objective, config.searched_space()
        self.trials = [t for t in trials if space.holds(t.values) and not is_cut(t.stopped)]
        if len(self.trials) < MIN_TRIALS:
            raise StudyError(
                f"A study needs at least {MIN_TRIALS} finished trials in its space to be "
                f"simulated, with all of their epochs, but this one has {len(self.trials)}: "
                f"resume it with a larger search.max_trials."
            )
        scores = [trial.score for trial in self.trials]
        self.best = self._objective.best_so_far(scores)[-1]
        self.enough = self.best - _noise(self._objective, self.best, num_validation)
        self._curves = {_curve(t.values): t for t in sorted(self.trials, key=_length)}
        self._recorded = {json.dumps(trial.values): trial for trial in self.trials}

    @property
    def num_epochs(self) -> int:
        """Epochs that the trials took, those of a shared curve counted once."""
        return sum(len(trial.epochs) for trial in self._curves.values())

    def in_order(self) -> Row:
        """Return the row of the study itself."""
        epochs, trials = self._until_enough(self.trials)
        return Row(IN_ORDER, [epochs], [trials])

    def row(self, search: str, seeds: Iterable[int], workers: int = 1) -> Row:
        """Let a search choose among the trials.

        Args:
            search: One of `tuner.config.searches.REPLAYED`.
            seeds: Seeds of its proposals.
            workers: How many trials run at a time, at least 1.
        """
        found = [self._until_enough(self._chosen(search, seed, workers)) for seed in seeds]
        return Row(search, [epochs for epochs, _ in found], [trials for _, trials in found])

    def _chosen(self, search: str, seed: int, workers: int) -> list[RecordedTrial]:
        """Return the trials in the order in which they end when a search chooses."""
        told = [f"search={search}", f"search.max_trials={len(self.trials)}"]
        entry = compose.load(composing.study(told)).search
        entry.objective, entry.direction = self._objective.name, self._objective.direction

        def make(search: SearchConfig, space: Space, objective: Objective, seed: int) -> Oracle:
            inner = make_oracle(search, space, objective, seed)
            points = [trial.values for trial in self.trials]
            learns = search.learns_from_results
            return NearestOracle(inner, points) if learns else ShuffledOracle(inner, points)

        config = dataclasses.replace(self._config, search=entry, seed=seed)
        table = run(config, self._evaluate, workers, make=make).trials
        ended = table.sort_values("ended", kind="stable")["values"]
        return [self._recorded[json.dumps(values)] for values in ended]

    def _evaluate(self, values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
        """Serve what was recorded; see `tuner.simulation.Evaluate`."""
        trial = self._curves[_curve(values)]
        if epoch > len(trial.epochs):
            # It stopped early: what its values ask for beyond that costs nothing.
            return {**trial.epochs[-1], self._objective.name: trial.score, SECONDS: 0.0}
        return {**trial.epochs[epoch - 1], SECONDS: trial.seconds}

    def _until_enough(self, trials: Sequence[RecordedTrial]) -> tuple[float, float]:
        """Return the epochs trained, and the trials ended, until one is good enough."""
        trained: dict[str, int] = {}
        for number, trial in enumerate(trials, 1):
            curve = _curve(trial.values)
            trained[curve] = max(trained.get(curve, 0), len(trial.epochs))
            if not self._objective.is_better(self.enough, trial.score):
                return sum(trained.values()), number
        return math.inf, math.inf


def _curve(values: Values) -> str:
    return json.dumps(without_epochs(values), sort_keys=True)


def _length(trial: RecordedTrial) -> int:
    return len(trial.epochs)


def _noise(objective: Objective, best: float, num_validation: int | None) -> float:
    """Return the standard error of an accuracy, and 0 for any other objective."""
    if objective.name != "val_accuracy" or not num_validation:
        return 0.0
    return math.sqrt(best * (1 - best) / num_validation)
