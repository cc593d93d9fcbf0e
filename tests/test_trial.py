"""The types that pass between the driver and the workers."""

import math
from typing import Literal

import pytest

from tuner.outcomes import TrialFiles, TrialResult
from tuner.trial import Metrics, Objective, Value, Values, all_finite, trial_seed

VALUES: Values = {"epochs": 3, "units_1": 16, "activation": "relu", "dropout": 0.5}


def result(*epochs: Metrics) -> TrialResult:
    return TrialResult("0000", epochs, {"test_accuracy": 0.5}, TrialFiles((), ""), 10, 1.0, 1.5)


def test_trial_seed_matches_digest_of_seed_and_values() -> None:
    # The first four bytes of sha256('[0, {"units_1": 16}]') are 0x5a7090c9; halved.
    assert trial_seed(0, {"units_1": 16}) == 0x5A7090C9 >> 1


@pytest.mark.parametrize("epochs", [1, 4, 100])
def test_trial_seed_ignores_epochs(epochs: int) -> None:
    assert trial_seed(7, {**VALUES, "epochs": epochs}) == trial_seed(7, VALUES)


def test_trial_seed_ignores_missing_epochs() -> None:
    without = {name: value for name, value in VALUES.items() if name != "epochs"}
    assert trial_seed(7, without) == trial_seed(7, VALUES)


def test_trial_seed_ignores_order_of_values() -> None:
    assert trial_seed(7, dict(reversed(VALUES.items()))) == trial_seed(7, VALUES)


@pytest.mark.parametrize(
    ("name", "value"),
    [("units_1", 17), ("activation", "elu"), ("dropout", 0.25), ("units_2", 16)],
)
def test_trial_seed_depends_on_every_other_value(name: str, value: Value) -> None:
    assert trial_seed(7, {**VALUES, name: value}) != trial_seed(7, VALUES)


@pytest.mark.parametrize("seed", [0, 1, 8, 2**31 - 1])
def test_trial_seed_depends_on_seed_of_study(seed: int) -> None:
    assert trial_seed(seed, VALUES) != trial_seed(7, VALUES)


def test_trial_seed_lies_in_range() -> None:
    seeds = [trial_seed(0, {"units_1": i}) for i in range(500)]
    assert min(seeds) >= 0
    assert max(seeds) < 2**31
    # Of 500 draws from the whole range some lie in its upper half.
    assert max(seeds) >= 2**30


@pytest.mark.parametrize(
    ("direction", "score", "than", "expected"),
    [
        ("max", 0.9, 0.8, True),
        ("max", 0.8, 0.9, False),
        ("max", 0.9, 0.9, False),
        ("min", 0.1, 0.2, True),
        ("min", 0.2, 0.1, False),
        ("min", 0.1, 0.1, False),
        ("max", -1.0, -2.0, True),
        ("min", math.nan, 0.1, False),
        ("max", math.nan, 0.1, False),
    ],
)
def test_is_better(
    direction: Literal["min", "max"], score: float, than: float, expected: bool
) -> None:
    assert Objective("val_loss", direction).is_better(score, than) is expected


def test_trial_result_refuses_no_epochs() -> None:
    with pytest.raises(ValueError, match="at least one epoch, but `epochs` is empty"):
        result()


def test_score_is_that_of_last_epoch() -> None:
    trained = result({"val_accuracy": 0.9}, {"val_accuracy": 0.7})
    assert trained.score(Objective("val_accuracy", "max")) == 0.7


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"loss": 0.5, "accuracy": 1.0}, True),
        ({}, True),
        ({"loss": math.nan, "accuracy": 1.0}, False),
        ({"loss": 0.5, "accuracy": math.inf}, False),
        ({"loss": -math.inf}, False),
    ],
)
def test_all_finite(metrics: Metrics, expected: bool) -> None:
    assert all_finite(metrics) is expected
