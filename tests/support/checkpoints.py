"""Checkpoints of made-up trainings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuner.curves.checkpoints import Checkpoint, Curve, TrainedEpoch
from tuner.training import TrainingState

STATE = TrainingState(
    arrays={
        "0000": np.arange(6, dtype=np.float32).reshape(2, 3),
        "0001": np.array(7, np.int64),
        "callback 0 best_weights 0": np.array([0.1], np.float64),
    },
    callbacks=({"best": 0.5, "best_weights": [{"array": "callback 0 best_weights 0"}]},),
    is_stopped=False,
)


def make(num_epochs: int) -> Checkpoint:
    epochs = [
        TrainedEpoch({"loss": 1 / 3 / i}, 0.25, "a/0000") for i in range(1, num_epochs + 1)
    ]
    return Checkpoint(epochs, STATE)


def saved(folder: Path, epochs: Sequence[int]) -> Curve:
    curve = Curve(folder / "key")
    for epoch in epochs:
        curve.save(make(epoch))
    return curve
