"""Decisions on curves, compared with those of Optuna's own loop, and what is said of them."""

import random
from typing import Any, Literal

import optuna
import pytest

from tuner.config.pruners import MedianConfig, PercentileConfig, PrunerConfig
from tuner.oracles.pruner import Pruner
from tuner.trial import Objective

CONFIGS: list[tuple[PrunerConfig, Any]] = [
    (MedianConfig(), optuna.pruners.MedianPruner()),
    (
        MedianConfig(num_startup_trials=0, warmup_epochs=3, interval=2),
        optuna.pruners.MedianPruner(0, 3, 2),
    ),
    (
        MedianConfig(num_startup_trials=3, min_trials=4),
        optuna.pruners.MedianPruner(3, n_min_trials=4),
    ),
    (PercentileConfig(), optuna.pruners.PercentilePruner(25.0)),
    (
        PercentileConfig(num_startup_trials=2, warmup_epochs=1, interval=3, percentile=80),
        optuna.pruners.PercentilePruner(80.0, 2, 1, 3),
    ),
]

Direction = Literal["min", "max"]


def curves(seed: int, direction: Direction) -> list[list[float]]:
    """Return curves that improve by and large, of different lengths, with ties."""
    drawn, gain = random.Random(seed), 1 / 40 if direction == "max" else -1 / 40
    return [
        [round(drawn.gauss(gain * epoch, 0.15), 1) for epoch in range(drawn.randint(2, 12))]
        for _ in range(40)
    ]


def of_optuna(pruner: Any, direction: Direction, given: list[list[float]]) -> list[int | None]:
    """Return where a loop as Optuna's documentation teaches it ends each training."""
    study = optuna.create_study(pruner=pruner, direction=f"{direction}imize")
    ended: list[int | None] = []
    for curve in given:
        trial, end = study.ask(), None
        for step, value in enumerate(curve):
            trial.report(value, step)
            if step < len(curve) - 1 and trial.should_prune():
                end = step + 1
                break
        state = optuna.trial.TrialState.PRUNED if end else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if end else curve[-1], state=state)
        ended.append(end)
    return ended


@pytest.mark.parametrize(("config", "theirs"), CONFIGS)
@pytest.mark.parametrize("direction", ["min", "max"])
def test_decisions_are_those_of_optuna(
    config: PrunerConfig, theirs: Any, direction: Direction
) -> None:
    ended: list[int | None] = []
    for seed in range(3):
        pruner = Pruner(config, Objective("val_loss", direction))
        for curve in curves(seed, direction):
            end = next((n for n in range(1, len(curve)) if pruner.judge(curve[:n])), None)
            if end is None:
                pruner.add(curve[-1], curve)
            ended.append(end)
        assert ended[-40:] == of_optuna(theirs, direction, curves(seed, direction))
    assert any(ended)
    assert not all(ended)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MedianConfig(2), "the median of 2 trials"),
        (MedianConfig(2, min_trials=2), "the median of 2 trials"),
        (PercentileConfig(2, percentile=12.5), "the best 12.5 % of 2 trials"),
    ],
)
def test_reason_names_the_score_and_the_trials(config: PrunerConfig, expected: str) -> None:
    pruner = Pruner(config, Objective("val_accuracy", "max"))
    for curve in ([0.5, 0.6, 0.7], [0.6, 0.7], [0.9]):
        pruner.add(curve[-1], curve)
    assert pruner.judge([0.55, 0.5]) == (
        f"its best val_accuracy, 0.5500, is worse than {expected} after that epoch"
    )
    assert pruner.judge([0.55, 0.95]) is None


def test_trials_without_a_known_curve_count_among_those_that_have_completed() -> None:
    pruner = Pruner(MedianConfig(num_startup_trials=3), Objective("val_accuracy", "max"))
    pruner.add(0.9, [0.8, 0.9])
    pruner.add(0.9, ())
    assert pruner.judge([0.1]) is None
    pruner.add(0.9, ())
    assert pruner.judge([0.1]) == (
        "its best val_accuracy, 0.1000, is worse than the median of 1 trial after that epoch"
    )
