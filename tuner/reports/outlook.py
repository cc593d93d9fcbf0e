"""What more trials would likely bring, in one sentence for the end of a study."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.config.searches import SEARCHES, SearchConfig
from tuner.evaluation.prospects import MIN_SCORES, chance_of_gain
from tuner.names import SECONDS
from tuner.reports.records import StudyRecord
from tuner.trial import Objective
from tuner.wording import plural, rough_duration

POINTS = 0.1
"""Gain in points, hundredths, that is asked for where scores lie in `[0, 1]`."""

PERCENT = 1
"""Gain in per cent of the best score that is asked for elsewhere."""


@dataclass(frozen=True)
class Outlook:
    """What a number of trials more would likely bring.

    Attributes:
        objective: What they would improve.
        num_trials: Number of trials to come.
        seconds: How long they would take, as the earlier ones did.
        chance: Probability that one of them is better than the best by more than the gain.
        gain: The gain, in words.
    """

    objective: Objective
    num_trials: int
    seconds: float
    chance: float
    gain: str

    def __str__(self) -> str:
        """Say it in one sentence."""
        trials = plural(self.num_trials, "more trial")
        cost = f"about {rough_duration(self.seconds)}"
        verb = "raise" if self.objective.direction == "max" else "lower"
        what = f"to {verb} {self.objective.name} by more than {self.gain}"
        return f"{trials}, {cost}: {_percent(self.chance)} chance {what}."


def find(study: StudyRecord) -> Outlook | None:
    """Estimate what as many trials more as a study has had would bring.

    Args:
        study: The study.

    Returns:
        None if it says too little (it runs, has fewer than five completed trials, or no time on
        record), if it has no more trials to come, or if no score could be that much better.
    """
    scores = [study.score(trial) for trial in study.finished]
    num_ended = len(study.trials) - len(study.running)
    has_ended = study.status != "RUNNING" and SECONDS in study.metrics
    if not has_ended or len(scores) < MIN_SCORES:
        return None
    num_more = _num_to_come(study, friendly(num_ended))
    if num_more < 1:
        return None
    chance = estimate(study.objective, scores, num_more, _entry(study).learns_from_results)
    if chance == 0:
        return None
    return Outlook(
        study.objective,
        num_more,
        seconds=study.metrics[SECONDS] / num_ended * num_more,
        chance=chance,
        gain=f"{POINTS} points" if _in_points(study.objective, scores) else f"{PERCENT} %",
    )


def estimate(
    objective: Objective, scores: Sequence[float], num_more: int, learns: bool
) -> float:
    """Estimate how likely more trials beat the best by more than the gain that is asked for.

    Args:
        objective: What the scores are of.
        scores: At least five, in the order in which the trials ended.
        num_more: Number of trials to come.
        learns: Whether their oracle learns from results.

    Returns:
        A probability in `[0, 1]`.
    """
    sign = 1 if objective.direction == "max" else -1
    upwards = [sign * score for score in scores]
    gain = least_gain(objective, scores)
    if _in_points(objective, scores) and max(upwards) + gain >= 1:
        return 0.0
    return chance_of_gain(upwards, num_more, gain, learns)


def least_gain(objective: Objective, scores: Sequence[float]) -> float:
    """Return how much better than the best of some scores another one must be to count."""
    if _in_points(objective, scores):
        return POINTS / 100
    return abs(objective.best_so_far(scores)[-1]) * PERCENT / 100


def _in_points(objective: Objective, scores: Sequence[float]) -> bool:
    """Say whether scores are shares, such as accuracies, whose differences are points."""
    return objective.direction == "max" and all(0 <= score <= 1 for score in scores)


def friendly(number: int) -> int:
    """Round a number to 5 or 10, or to one digit and zeros: 7 to 5, 23 to 20, 180 to 200."""
    unit = 5 if number < 10 else 10 ** math.floor(math.log10(number))
    return max(math.floor(number / unit + 0.5), 1) * unit


def _entry(study: StudyRecord) -> type[SearchConfig]:
    """Return the table's entry of the oracle; of a user's own, what holds for most."""
    return SEARCHES.get(str(study.params["search.oracle"]), SearchConfig)


def _num_to_come(study: StudyRecord, wanted: int) -> int:
    """Return how many trials more a study may have, at most those wanted.

    An oracle that sets the epochs of its trials ends by itself, and so does one that tries
    every point of a space which is not limited, at points that only it knows.
    """
    entry, size = _entry(study), study.space.size()
    if entry.sets_epochs:
        return 0
    if size is None:
        return 0 if entry.ends_by_itself else wanted
    if _ran_out(study):
        return 0
    points = (t.values for t in study.trials if study.space.holds(t.values))
    tried = {json.dumps(values, sort_keys=True) for values in points}
    return min(wanted, size - len(tried))


def _ran_out(study: StudyRecord) -> bool:
    """Say whether a study ended before its budget, because its oracle had no more trials."""
    budget = study.params.get("search.max_trials")
    others = ("max_minutes", "patience", "target")
    if budget is None or any(study.params.get(f"search.{key}") is not None for key in others):
        return False
    return len(study.trials) < int(budget)


def _percent(chance: float) -> str:
    if chance < 0.01:
        return "less than 1 %"
    return "more than 99 %" if chance > 0.99 else f"{chance:.0%}".replace("%", " %")
