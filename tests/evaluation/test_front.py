"""The Pareto front, on trials whose dominance can be seen by eye."""

import pytest

from tuner.evaluation.front import pareto_front
from tuner.trial import Metrics, Objective

TWO = Objective("val_accuracy", "max", (Objective("num_parameters", "min"),))


def trial(accuracy: float, size: float) -> Metrics:
    return {"val_accuracy": accuracy, "num_parameters": size}


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([], []),
        ([trial(0.5, 100)], ["0"]),
        # Better and smaller; smaller alone; better alone; beaten in both.
        (
            [trial(0.9, 200), trial(0.5, 100), trial(0.95, 900), trial(0.8, 300)],
            ["0", "1", "2"],
        ),
        # Of two equal trials none beats the other; a tie in one objective does not save.
        ([trial(0.9, 100), trial(0.9, 100), trial(0.9, 200), trial(0.8, 100)], ["0", "1"]),
        # Not measured in all objectives.
        ([trial(0.9, 100), {"val_accuracy": 1.0}], ["0"]),
    ],
)
def test_front_is_what_no_other_trial_beats(trials: list[Metrics], expected: list[str]) -> None:
    assert pareto_front({str(i): t for i, t in enumerate(trials)}, TWO) == expected


def test_front_of_one_objective_are_the_best() -> None:
    trials = {"0": trial(0.9, 1), "1": trial(0.95, 9), "2": trial(0.95, 1)}
    assert pareto_front(trials, Objective("val_accuracy", "max")) == ["1", "2"]
