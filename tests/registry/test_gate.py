"""The gate's rule, on predictions made up so that every number can be worked out by hand."""

from typing import Any

import numpy as np
import pytest

from tuner.config.schema import GateConfig
from tuner.registry.gate import Agreement, GateDecision, Measured, decide

NAMES = ("cat", "dog")
LABELS = np.array([0] * 10 + [1] * 10)


def measured(version: str, hits: list[bool], **changed: Any) -> Measured:
    """A model that is right on the given images, each with probability 0.8."""
    predicted = np.where(hits, LABELS, 1 - LABELS)
    probabilities = np.where(np.eye(2)[predicted] == 1, 0.8, 0.2).astype(np.float32)
    values: dict[str, Any] = {"num_parameters": 100, "latency_ms": 1.0, **changed}
    return Measured(version, LABELS, probabilities, **values)


def right(*wrong: int) -> list[bool]:
    return [i not in wrong for i in range(20)]


CHAMPION = measured("1", right(*range(0, 8), 10))


def judged(
    challenger: Measured, champion: Measured | None = CHAMPION, **rule: Any
) -> GateDecision:
    return decide(GateConfig(**rule), challenger, champion, NAMES)


def test_measured_numbers() -> None:
    numbers = CHAMPION.to_dict(NAMES)
    assert (numbers["num_right"], numbers["num_wrong"], numbers["accuracy"]) == (11, 9, 0.55)
    assert numbers["recalls"] == {"cat": 0.2, "dog": 0.9}
    assert numbers["balanced_accuracy"] == pytest.approx(0.55)
    expected = -(11 * np.log(0.8) + 9 * np.log(0.2)) / 20
    assert numbers["loss"] == pytest.approx(expected, abs=1e-6)
    low, high = numbers["accuracy_interval"]
    assert low < 0.55 < high


def test_recall_of_a_class_without_images_is_left_out() -> None:
    probabilities = np.tile(np.array([0.7, 0.3], np.float32), (20, 1))
    model = Measured("1", np.zeros(20, np.int64), probabilities, 1, 1.0)
    assert np.isnan(model.recalls[1])
    assert model.metric("balanced_accuracy") == 1
    assert model.to_dict(NAMES)["recalls"] == {"cat": 1.0}


def test_agreement_counts_and_p_value() -> None:
    a = np.array([True, True, True, True, False, False])
    b = np.array([True, False, False, False, True, False])
    agreement = Agreement.of(a, b)
    assert agreement == Agreement(1, 3, 1, 1)
    # Only one model gets 4 images right, the challenger 3 or 4 of them: (4 + 1) / 16.
    assert agreement.p_value == pytest.approx(5 / 16)


def test_p_value_of_two_that_never_differ_is_one() -> None:
    assert Agreement(5, 0, 0, 5).p_value == 1


@pytest.mark.parametrize(
    ("challenger", "promoted", "said"),
    [
        # 9 more, none lost: p = 1/512.
        (measured("2", right()), True, "challenger 9, champion 0"),
        # 4 more, none lost: p = 1/16.
        (
            measured("2", right(0, 1, 2, 3, 10)),
            False,
            "not statistically significant, since p is above 0.05",
        ),
        (CHAMPION, False, "0.5500, is not better than 0.5500"),
        (measured("2", right(*range(10))), False, "0.5000, is not better than 0.5500"),
    ],
    ids=["surely_better", "perhaps_better", "tie", "worse"],
)
def test_decide_follows_mcnemars_test(challenger: Measured, promoted: bool, said: str) -> None:
    decision = judged(challenger)
    assert decision.promoted is promoted
    assert said in decision.reason
    assert decision.agreement == Agreement.of(challenger.hits, CHAMPION.hits)


SLIGHTLY_BETTER = measured("2", right(0, 1, 2, 3, 10))


def test_decide_without_a_test_takes_any_gain() -> None:
    assert judged(SLIGHTLY_BETTER, confidence=0).promoted
    assert judged(SLIGHTLY_BETTER, confidence=0.9).promoted
    assert not judged(SLIGHTLY_BETTER, confidence=0.95).promoted


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"min_improvement": 0.5}, "by more than registry.gate.min_improvement=0.5"),
        (
            {"max_parameters": 99},
            "parameters, 100, is above registry.gate.max_parameters=99",
        ),
        ({"max_latency_ms": 0.5}, "1.00 ms, is above registry.gate.max_latency_ms=0.5"),
        ({"max_class_drop": 0.05}, "recall of class dog falls from 0.9000 to 0.8000"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_decide_keeps_to_every_limit(rule: dict[str, float], said: str) -> None:
    challenger = measured("2", right(10, 11))
    assert judged(challenger).promoted
    decision = judged(challenger, **rule)
    assert not decision.promoted
    assert said in decision.reason


@pytest.mark.parametrize("metric", ["balanced_accuracy", "loss"])
def test_decide_by_another_metric(metric: str) -> None:
    assert judged(measured("2", right()), metric=metric).promoted
    assert not judged(CHAMPION, measured("2", right()), metric=metric).promoted


def test_decide_without_champion_asks_for_the_limits_alone() -> None:
    assert judged(CHAMPION, None).promoted
    decision = judged(CHAMPION, None, min_accuracy=0.6)
    assert not decision.promoted
    assert "0.5500, is below registry.gate.min_accuracy=0.6" in decision.reason
    assert decision.to_dict(NAMES)["p_value"] is None
