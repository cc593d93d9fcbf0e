"""Races between finalists: who wins, who leaves, and how sure that is."""

import json
import math
import random

import pytest

from tuner.evaluation.racing import Race
from tuner.trial import Objective

ACCURACY = Objective("val_accuracy", "max")
LOSS = Objective("val_loss", "min")


def race(objective: Objective = ACCURACY, **scores: tuple[float, ...]) -> Race:
    """Return a race of the trials a, b, … in the order of the search."""
    num_seeds = max(map(len, scores.values()))
    return Race(objective, tuple(range(100, 100 + num_seeds)), scores)


@pytest.mark.parametrize(
    ("made", "winner", "second", "wins"),
    [
        (race(a=(0.9, 0.8), b=(0.8, 0.95)), "b", "a", (1, 2)),
        (race(LOSS, a=(0.9, 0.8), b=(0.8, 0.95)), "a", "b", (1, 2)),
        # In a tie the search decides; a tie with one seed is no win.
        (race(a=(0.9, 0.8), b=(0.8, 0.9)), "a", "b", (1, 2)),
        (race(a=(0.5,), b=(0.5,)), "a", "b", (0, 1)),
        # One that has left cannot win, whatever its mean, and shares fewer seeds.
        (race(a=(0.99,), b=(0.8, 0.8), c=(0.7, 0.9)), "b", "c", (1, 2)),
        (race(a=(0.7,), b=(0.8, 0.8), c=(0.6,)), "b", "a", (1, 1)),
        # All others have failed at once.
        (race(a=(), b=(0.8, 0.7, 0.9)), "b", None, (0, 0)),
    ],
)
def test_winner_is_the_best_mean_of_those_in_every_round(
    made: Race, winner: str, second: str | None, wins: tuple[int, int]
) -> None:
    assert (made.winner, made.second, made.wins) == (winner, second, wins)


@pytest.mark.parametrize(
    ("objective", "scores", "median"),
    [
        (ACCURACY, (0.9,), 1),
        (ACCURACY, (0.9, 0.8), 2),
        (ACCURACY, (0.8, 0.9), 1),
        (ACCURACY, (0.7, 0.9, 0.8), 3),
        (ACCURACY, (0.9, 0.6, 0.8, 0.7), 4),
        (LOSS, (0.9, 0.8), 1),
        (LOSS, (0.7, 0.9, 0.8), 3),
    ],
)
def test_median_of_an_even_number_is_the_worse_one(
    objective: Objective, scores: tuple[float, ...], median: int
) -> None:
    assert race(objective, a=scores).median == median


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        # Variances 2e-4 and 2e-4, 2 degrees of freedom, t 4.3027: 0.9 +- 4.3027 * 0.01.
        (race(a=(0.89, 0.91), b=(0.79, 0.81)), (0.856973, 0.943027)),
        # Three seeds each: variances 1e-4, 4 degrees, t 2.7764 * 0.01 / sqrt(3) = 0.016030.
        (race(a=(0.89, 0.9, 0.91), b=(0.79, 0.8, 0.81)), (0.883970, 0.916030)),
        # An accuracy is at most 1, a loss may be anything.
        (race(a=(0.98, 1.0), b=(0.79, 0.81)), (0.946973, 1.0)),
        (race(LOSS, a=(0.0, 0.02), b=(0.79, 0.81)), (-0.033027, 0.053027)),
        # One seed, or scores that never differ, say nothing of other seeds.
        (race(a=(0.9,), b=(0.8,)), None),
        (race(a=(0.9, 0.9), b=(0.8, 0.8)), None),
    ],
)
def test_interval_pools_the_variance_between_seeds(
    made: Race, expected: tuple[float, float] | None
) -> None:
    found = made.interval(made.winner)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-6))


@pytest.mark.parametrize(
    ("made", "num_seeds", "expected"),
    [
        # The standard deviation is 0.0099; three finalists after two of three seeds: 3 degrees
        # of freedom, 0.05 shared out between two comparisons: t 3.1824, so more than 0.0315.
        (race(a=(0.893, 0.907), b=(0.861, 0.875), c=(0.862, 0.876)), 3, {"b"}),
        (race(LOSS, a=(0.893, 0.907), b=(0.861, 0.875), c=(0.862, 0.876)), 3, {"a"}),
        # With five seeds finalists may leave after three rounds: t 4.8566 after the first.
        (race(a=(0.893, 0.907), b=(0.861, 0.875), c=(0.862, 0.876)), 5, set()),
        # One alone, one seed, or no spread: nobody leaves.
        (race(a=(0.9, 0.8)), 3, set()),
        (race(a=(0.9,), b=(0.1,)), 3, set()),
        (race(a=(0.9, 0.9), b=(0.1, 0.1)), 3, set()),
        # Those that left before do not leave again.
        (race(a=(0.9, 0.901), b=(0.5, 0.501), c=(0.4,)), 3, {"b"}),
    ],
)
def test_only_those_leave_that_are_clearly_worse(
    made: Race, num_seeds: int, expected: set[str]
) -> None:
    assert made.clearly_worse(num_seeds) == expected


def test_the_best_seldom_leaves_before_the_last_round() -> None:
    drawn, num_wrong, num_races = random.Random(0), 0, 400
    for _ in range(num_races):
        scores = {name: tuple(drawn.gauss(0.9, 0.01) for _ in range(2)) for name in "abc"}
        num_wrong += "a" in Race(ACCURACY, (1, 2), scores).clearly_worse(3)
    # Equal finalists: the probability of 5 % is the most that is allowed for any of them.
    assert num_wrong / num_races <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / num_races)


@pytest.mark.parametrize(
    ("made", "said", "lead"),
    [
        (
            race(a=(0.89, 0.91), b=(0.79, 0.81)),
            "val_accuracy 0.9000, the mean of 2 new seeds (95 % interval 0.8570 to 0.9430)",
            "It beats the second of 2 finalists, trial b (mean 0.8000), with 2 of 2 seeds.",
        ),
        (
            race(a=(0.9,), b=(0.8,)),
            "val_accuracy 0.9000 with 1 new seed",
            "It beats the second of 2 finalists, trial b (mean 0.8000), with 1 of 1 seed.",
        ),
        (
            race(a=(0.9, 0.9), b=()),
            "val_accuracy 0.9000, the mean of 2 new seeds",
            None,
        ),
    ],
)
def test_race_says_its_result(made: Race, said: str, lead: str | None) -> None:
    assert (str(made), made.lead) == (said, lead)


def test_race_comes_back_from_json() -> None:
    made = race(a=(0.1 + 0.2, 0.25), b=(0.5,), c=())
    assert Race.decode(json.loads(json.dumps(made.encode())), ACCURACY) == made
    assert Race.decode(None, ACCURACY) is None


@pytest.mark.parametrize(("seeds", "scores"), [((), {"a": ()}), ((1, 2), {"a": (0.5,)})])
def test_race_without_a_whole_round_is_refused(
    seeds: tuple[int, ...], scores: dict[str, tuple[float, ...]]
) -> None:
    with pytest.raises(ValueError, match="must have a finalist with a score for each"):
        Race(ACCURACY, seeds, scores)
