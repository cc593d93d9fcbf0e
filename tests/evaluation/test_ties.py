"""Which trials are statistically indistinguishable from the best, and the words for it."""

import pytest

from tuner.evaluation.ties import Ties, accuracy_on_test, find_ties
from tuner.trial import Objective

ACCURACY = Objective("val_accuracy", "max")


def metrics(right: int, wrong: int) -> dict[str, float]:
    return {"test_right": right, "test_wrong": wrong, "test_accuracy": right / (right + wrong)}


def test_ties_are_the_trials_within_the_interval_of_the_best() -> None:
    # Wilson's interval of 950 of 1,000 is 0.9347 to 0.9619.
    scores = {"0000": 0.940, "0001": 0.934, "0002": 0.950, "0003": 0.935}
    trials = {name: {"val_accuracy": score} for name, score in scores.items()}
    found = find_ties("0002", trials, ACCURACY, 1000)
    assert found is not None
    assert [round(limit, 4) for limit in found.interval] == [0.9347, 0.9619]
    assert (found.trial_ids, found.num_others) == (("0000", "0003"), 3)


def test_ties_take_no_note_of_test_images() -> None:
    trials = {
        "0000": {"val_accuracy": 0.95, **metrics(90, 10)},
        "0001": {"val_accuracy": 0.50, **metrics(99, 1)},
    }
    found = find_ties("0000", trials, ACCURACY, 1000)
    assert found is not None
    assert found.trial_ids == ()


@pytest.mark.parametrize(
    ("tied", "num_others", "expected"),
    [
        ((), 1, "The other trial is worse than it on the 1,000 validation images"),
        (("0",), 1, "The other trial is statistically indistinguishable from it"),
        ((), 3, "The 3 other trials are significantly worse"),
        (("0",), 3, "1 of the 3 other trials is statistically indistinguishable"),
        (("0", "1"), 3, "2 of the 3 other trials are statistically indistinguishable"),
        (("0", "1"), 2, "All 2 other trials are statistically indistinguishable"),
    ],
)
def test_ties_are_said_in_a_sentence(
    tied: tuple[str, ...], num_others: int, expected: str
) -> None:
    assert str(Ties((0.9, 0.95), 1000, tied, num_others)).startswith(expected)


@pytest.mark.parametrize(
    ("objective", "num_validation", "num_trials"),
    [
        (Objective("val_loss", "min"), 1000, 2),
        (Objective("val_top2", "max"), 1000, 2),
        (ACCURACY, None, 2),
        (ACCURACY, 1000, 1),
    ],
)
def test_ties_are_unknown_without_an_interval_of_what_ranks(
    objective: Objective, num_validation: int | None, num_trials: int
) -> None:
    trials = {f"000{i}": {"val_accuracy": 0.5, objective.name: 0.5} for i in range(num_trials)}
    assert find_ties("0000", trials, objective, num_validation) is None


def test_accuracy_on_test_has_the_interval_of_the_test_images() -> None:
    found = accuracy_on_test(metrics(950, 50))
    assert found is not None
    assert str(found) == "test accuracy 0.9500 (95 % interval 0.9347 to 0.9619, 1,000 images)"
    assert accuracy_on_test({"test_accuracy": 0.5}) is None
