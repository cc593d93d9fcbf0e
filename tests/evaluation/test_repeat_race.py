"""Trials that are trained several times, and leave once they are clearly not the best."""

import math
import random
from collections.abc import Sequence

import pytest

from tuner.evaluation.repeats import ERROR, RepeatRace
from tuner.trial import Objective

ACCURACY, LOSS = Objective("val_accuracy", "max"), Objective("val_loss", "min")
BEST = (0.90, 0.92, 0.91, 0.93)
"""Four folds, of which the first is hard for all trials."""


def race(objective: Objective, *trials: Sequence[float]) -> RepeatRace:
    made = RepeatRace(objective, 4)
    for trial in trials:
        made.add(sum(trial) / len(trial), trial)
    return made


# It differs from the best by -0.02, -0.03, -0.02, -0.03: their standard deviation is 0.005774
# with 3 degrees of freedom, and Student's t of 1 - 0.05 / 3 is 3.7398.
OTHER = (0.88, 0.89, 0.89, 0.90)


@pytest.mark.parametrize(
    ("repeats", "leaves"),
    [
        # One repeat: it must be worse by more than 3.7398 * 0.005774 = 0.0216.
        ([0.879], False),
        ([0.878], True),
        # It is compared fold by fold: the mean of two would tell less.
        ([0.87, 0.89], True),
        # A better one, an equal one.
        ([0.95], False),
        ([0.90, 0.92, 0.91], False),
    ],
)
def test_trial_leaves_if_it_is_clearly_worse_fold_by_fold(
    repeats: Sequence[float], leaves: bool
) -> None:
    assert (race(ACCURACY, BEST, OTHER).judge(repeats) is not None) == leaves
    losses = race(LOSS, *([1 - score for score in trial] for trial in (BEST, OTHER)))
    assert (losses.judge([1 - score for score in repeats]) is not None) == leaves


def test_reason_names_both_means() -> None:
    assert race(ACCURACY, BEST, OTHER).judge([0.8]) == (
        "after 1 of 4 repeats its mean val_accuracy, 0.8000, is significantly worse than that "
        "of the best trial, 0.9150"
    )


@pytest.mark.parametrize(
    "trials",
    [
        [],
        # Alone, it tells nothing of how much differences vary.
        [BEST],
        # Differences that never vary are too coarse to tell.
        [BEST, tuple(score - 0.125 for score in BEST)],
        # Nobody has all repeats yet.
        [BEST[:2], OTHER[:2]],
    ],
)
def test_nobody_leaves_where_nothing_is_known(trials: Sequence[Sequence[float]]) -> None:
    assert race(ACCURACY, *trials).judge([0.1]) is None


def test_an_equal_trial_seldom_leaves() -> None:
    drawn, num_wrong, num_trials = random.Random(0), 0, 600
    for _ in range(num_trials):
        rows = [[drawn.gauss(0.9, 0.01) for _ in range(4)] for _ in range(6)]
        made = race(ACCURACY, *rows[:5])
        num_wrong += any(made.judge(rows[5][: i + 1]) for i in range(3))
    # The best of five is a lucky one, and the sixth is compared with that: a trial with the
    # same expected score as the luckiest may leave more often than one compared with another.
    share = num_wrong / num_trials
    assert share <= 3 * ERROR + 3 * math.sqrt(ERROR / num_trials)


def test_a_clearly_worse_trial_mostly_leaves_at_once() -> None:
    drawn, num_left, num_trials = random.Random(1), 0, 200
    for _ in range(num_trials):
        rows = [[drawn.gauss(0.9, 0.01) for _ in range(4)] for _ in range(5)]
        worse = [drawn.gauss(0.8, 0.01) for _ in range(4)]
        num_left += race(ACCURACY, *rows).judge(worse[:1]) is not None
    assert num_left >= 0.95 * num_trials
