"""Whether a trial that is trained several times may still be the best, after each training.

Trials race against the best one so far (Maron and Moore, "Hoeffding races: accelerating model
selection search for classification and function approximation", NeurIPS 1994; Birattari,
Stützle, Paquete and Varrentrapp, "A racing algorithm for configuring metaheuristics", GECCO
2002): one whose mean is significantly worse is trained no more. Compared are the differences
from the best trial, repeat by repeat, since a fold that is hard for one trial is hard for all.
Their variance is estimated from all trials together, by Student's t, so that a clearly worse
trial may leave after its first repeat.
"""

import math
import statistics
from collections.abc import Sequence

from tuner.evaluation.racing import quantile
from tuner.trial import Objective
from tuner.wording import plural

ERROR = 0.05
"""Largest probability that a trial leaves although its expected score equals the best one's."""


class RepeatRace:
    """Compares trials with the best one so far.

    Args:
        objective: The metric to improve.
        num_repeats: How many trainings each trial has, if it does not leave.
    """

    def __init__(self, objective: Objective, num_repeats: int) -> None:
        self._objective = objective
        self._num_repeats = num_repeats
        self._best: Sequence[float] | None = None
        self._trials: list[Sequence[float]] = []

    def add(self, score: float, repeats: Sequence[float]) -> None:
        """Take note of a trial that has completed.

        Args:
            score: The mean of its repeats.
            repeats: The objective of each of its trainings, at least one.
        """
        self._trials.append(repeats)
        # One that has left is worse than the best.
        is_whole = len(repeats) == self._num_repeats
        best = self._best
        if is_whole and (
            best is None or self._objective.is_better(score, statistics.fmean(best))
        ):
            self._best = repeats

    def judge(self, repeats: Sequence[float]) -> str | None:
        """Say why a trial should be trained no more, in words that follow a colon; or None.

        Args:
            repeats: The objective of each of its trainings so far, at least one and fewer than
                it would have.
        """
        if self._best is None:
            return None
        best = self._best
        others = [_differences(other, best) for other in self._trials if other is not best]
        own = _differences(repeats, best)
        groups = [group for group in (*others, own) if len(group) > 1]
        degrees = sum(len(group) - 1 for group in groups)
        squares = sum(statistics.variance(group) * (len(group) - 1) for group in groups)
        # Differences that are all the same are too coarse to tell.
        if not degrees or not squares:
            return None
        error = math.sqrt(squares / degrees / len(own))
        least = quantile(1 - ERROR / (self._num_repeats - 1), degrees) * error
        mean = statistics.fmean(own)
        is_worse = self._objective.is_better(0.0, mean)
        if not is_worse or abs(mean) <= least:
            return None
        return (
            f"after {len(repeats)} of {plural(self._num_repeats, 'repeat')} its mean "
            f"{self._objective.name}, {statistics.fmean(repeats):.4f}, is significantly worse "
            f"than that of the best trial, {statistics.fmean(best):.4f}"
        )


def _differences(repeats: Sequence[float], best: Sequence[float]) -> list[float]:
    return [ours - theirs for ours, theirs in zip(repeats, best, strict=False)]
