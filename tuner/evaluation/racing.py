"""Which of several trials is best, by trainings with new seeds, and how sure that is.

The finalists of a search race: each round trains every remaining one with one more seed, and
those that are clearly worse leave (Maron and Moore, "Hoeffding races: accelerating model
selection search for classification and function approximation", NeurIPS 1994; Birattari,
Stützle, Paquete and Varrentrapp, "A racing algorithm for configuring metaheuristics", GECCO
2002). A finalist is clearly worse by the one-sided comparison with the best (Hsu, "Constrained
simultaneous confidence intervals for multiple comparisons with the best", Annals of Statistics
1984) with Bonferroni's bound in place of Dunnett's quantile: Student's t of the difference
between its mean and the best one, where the variance between seeds is estimated from all
finalists together. Their own estimates, of two or three seeds each, would tell nothing: with
two seeds, a paired t-test needs a difference of 6.3 standard errors, this one of 3.2 for three
finalists.

Seeds say how much trainings of the same values differ. They say nothing of other images: all
scores are of the same validation images.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.trial import Objective

ERROR = 0.05
"""Largest probability that the finalist with the best expected score leaves early.

Simulated with three equal finalists, whose scores are normal or rounded to one of 216 images:
0.03 to 0.04. Of two that are worse by four standard deviations, one at least leaves in five of
six races.
"""

CONFIDENCE = 0.95
"""That of the interval of an expected score."""

_SHARES = ("val_accuracy", "val_balanced_accuracy", "val_macro_f1")
"""Objectives that lie between 0 and 1, and so does the interval of their expected score."""


@dataclass(frozen=True)
class Race:
    """The scores of finalists under new seeds, in whole rounds.

    Attributes:
        objective: What the scores are.
        seeds: The seed of each round, at least one.
        scores: The scores of each finalist, by trial, in the order of the rounds; the trial
            that the search ranks first comes first. One that has left has fewer scores than
            there are rounds, or none if it failed at once.
    """

    objective: Objective
    seeds: tuple[int, ...]
    scores: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        """Refuse a race that nobody has run to the end of a round."""
        counts = {len(scores) for scores in self.scores.values()}
        if not self.seeds or max(counts, default=0) != len(self.seeds):
            raise ValueError(
                f"A Race must have a finalist with a score for each of its "
                f"{len(self.seeds)} seeds, at least one, but got {dict(self.scores)}."
            )

    @classmethod
    def decode(cls, content: Any, objective: Objective) -> Race | None:
        """Return the race that `encode` has made plain; None for None."""
        if content is None:
            return None
        scores = {trial: tuple(found) for trial, found in content["scores"].items()}
        return cls(objective, tuple(content["seeds"]), scores)

    def encode(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        return {"seeds": self.seeds, "scores": dict(self.scores)}

    @property
    def remaining(self) -> Sequence[str]:
        """The finalists that took part in every round."""
        return [trial for trial, found in self.scores.items() if len(found) == len(self.seeds)]

    @property
    def winner(self) -> str:
        """The remaining finalist with the best mean; in a tie the search decides."""
        return self._best(self.remaining)

    @property
    def second(self) -> str | None:
        """The best of the others that stayed longest; None if all others failed."""
        others = {t: s for t, s in self.scores.items() if t != self.winner and s}
        most = max(map(len, others.values()), default=0)
        last = [trial for trial, scores in others.items() if len(scores) == most]
        return self._best(last) if last else None

    @property
    def median(self) -> int:
        """The number of the seed, from 1, under which the winner's score is the median.

        Of an even number of seeds, it is that of the worse of the two in the middle.
        """
        scores = self.scores[self.winner]
        is_max = self.objective.direction == "max"
        upwards = sorted(range(len(scores)), key=scores.__getitem__, reverse=not is_max)
        return upwards[(len(scores) - 1) // 2] + 1

    @property
    def wins(self) -> tuple[int, int]:
        """With how many seeds the winner beats the second, and of how many."""
        if self.second is None:
            return 0, 0
        pairs = list(zip(self.scores[self.winner], self.scores[self.second], strict=False))
        return sum(self.objective.is_better(ours, theirs) for ours, theirs in pairs), len(pairs)

    def mean(self, trial: str) -> float:
        """Return the mean score of a finalist that has one."""
        return statistics.fmean(self.scores[trial])

    def interval(self, trial: str) -> tuple[float, float] | None:
        """Return the 95 % interval of a finalist's expected score over seeds.

        Args:
            trial: A finalist with a score.

        Returns:
            Lowest and highest expected score, by Student's t; None if the variance between
            seeds is not known.
        """
        found = self._spread()
        if found is None:
            return None
        deviation, degrees = found
        error = deviation / math.sqrt(len(self.scores[trial]))
        half = quantile((1 + CONFIDENCE) / 2, degrees) * error
        low, high = self.mean(trial) - half, self.mean(trial) + half
        is_share = self.objective.name in _SHARES
        return (max(low, 0.0), min(high, 1.0)) if is_share else (low, high)

    def clearly_worse(self, num_seeds: int) -> frozenset[str]:
        """Return the remaining finalists that need not be trained with more seeds.

        Args:
            num_seeds: Number of seeds of the whole race. The probability of an error is shared
                out among the rounds after which finalists may leave, from the second to the
                last but one, and among the finalists that are compared with the best.
        """
        remaining, winner, found = self.remaining, self.winner, self._spread()
        if found is None or len(remaining) < 2:
            return frozenset()
        deviation, degrees = found
        num_looks = max(num_seeds - 2, 1)
        level = ERROR / (num_looks * (len(remaining) - 1))
        least = quantile(1 - level, degrees) * deviation * math.sqrt(2 / len(self.seeds))
        return frozenset(t for t in remaining if abs(self.mean(winner) - self.mean(t)) > least)

    def _best(self, trials: Sequence[str]) -> str:
        best = trials[0]
        for trial in trials[1:]:
            if self.objective.is_better(self.mean(trial), self.mean(best)):
                best = trial
        return best

    def _spread(self) -> tuple[float, int] | None:
        """Return the standard deviation between seeds, and its degrees of freedom.

        None if it is not known: a score for each finalist tells nothing, and scores that never
        differ are too coarse to tell.
        """
        groups = [scores for scores in self.scores.values() if len(scores) > 1]
        degrees = sum(len(scores) - 1 for scores in groups)
        squares = sum(statistics.variance(s) * (len(s) - 1) for s in groups)
        return (math.sqrt(squares / degrees), degrees) if degrees and squares else None

    def __str__(self) -> str:
        """Say the winner's score in a few words."""
        count = len(self.seeds)
        said = f"{self.objective.name} {self.mean(self.winner):.4f}"
        if count == 1:
            return f"{said} with 1 new seed"
        interval = self.interval(self.winner)
        how_sure = "" if interval is None else f" (95 % interval {_range(interval)})"
        return f"{said}, the mean of {count} new seeds{how_sure}"

    @property
    def lead(self) -> str | None:
        """How often the winner beats the second, in a sentence; None if there is no second."""
        if self.second is None:
            return None
        won, count = self.wins
        seeds = f"{count} seed{'' if count == 1 else 's'}"
        return (
            f"It beats the second of {len(self.scores)} finalists, trial {self.second} (mean "
            f"{self.mean(self.second):.4f}), with {won} of {seeds}."
        )


def quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t with so many degrees of freedom."""
    # `scipy.stats` takes 0.6 s to import.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _range(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{low:.4f} to {high:.4f}"
