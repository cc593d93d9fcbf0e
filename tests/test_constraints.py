"""Limits: which trials keep within them, how far the others are beyond, and what is said."""

import math

import pytest

from tuner.constraints import Constraint, Constraints

LIMITS = Constraints.parse(
    {
        "num_parameters": {"max": 1000},
        "val_loss": {"max": 0.5, "min": None},
        "val_f1": {"min": 0},
    }
)


def test_parse_keeps_the_bounds_that_are_given() -> None:
    assert list(LIMITS) == [
        Constraint("search.constraints.num_parameters.max", "num_parameters", "max", 1000.0),
        Constraint("search.constraints.val_loss.max", "val_loss", "max", 0.5),
        Constraint("search.constraints.val_f1.min", "val_f1", "min", 0.0),
    ]
    assert LIMITS.metrics == ["num_parameters", "val_loss", "val_f1"]
    assert LIMITS.before_training.metrics == ["num_parameters"]
    assert not Constraints.parse(None)


@pytest.mark.parametrize(
    ("metrics", "distance", "said"),
    [
        ({"num_parameters": 1000, "val_loss": 0.5, "val_f1": 0}, 0, ""),
        (
            {"num_parameters": 123_456, "val_loss": 0.1, "val_f1": 1},
            122.456,
            "num_parameters 123,456 is above search.constraints.num_parameters.max=1000",
        ),
        (
            {"num_parameters": 1500, "val_loss": 0.75, "val_f1": -0.25},
            0.5 + 0.5 + 0.25,
            "num_parameters 1,500 is above search.constraints.num_parameters.max=1000; "
            "val_loss 0.7500 is above search.constraints.val_loss.max=0.5; "
            "val_f1 -0.2500 is below search.constraints.val_f1.min=0",
        ),
        (
            {"num_parameters": 10, "val_loss": 0.1},
            math.inf,
            "val_f1 was not measured (search.constraints.val_f1.min=0)",
        ),
    ],
)
def test_how_far_a_trial_is_beyond(
    metrics: dict[str, float], distance: float, said: str
) -> None:
    assert LIMITS.are_met(metrics) == (distance == 0)
    assert LIMITS.distance(metrics) == pytest.approx(distance)
    assert LIMITS.broken(metrics) == said


def test_gate_has_the_limits_that_need_no_test_images() -> None:
    limits = Constraints.of_gate(max_parameters=500, max_latency_ms=1.5)
    assert str(limits) == "registry.gate.max_parameters=500 registry.gate.max_latency_ms=1.5"
    assert "latency_ms 2 ms is above" in limits.broken({"num_parameters": 500, "latency_ms": 2})
    assert not Constraints.of_gate(None, None)
