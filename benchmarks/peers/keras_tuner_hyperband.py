"""Keras Tuner's Hyperband, and no records except its own.

It follows Keras Tuner's guide "Getting started" and TensorFlow's tutorial "Introduction to the
Keras Tuner", which stops trainings early, as the page of `keras_tuner.Hyperband` recommends.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from benchmarks.job import RESULTS, SearchJob, load_splits
from benchmarks.peers import network

FACTOR = 3
PATIENCE = 5
"""Epochs without a lower validation loss after which a training is stopped."""


class Scores(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the score of each training, which is that of its best epoch, when it ends."""

    def __init__(self) -> None:
        super().__init__()
        self._best = 0.0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """See `keras.callbacks.Callback`."""
        assert logs is not None
        self._best = max(self._best, logs["val_accuracy"])

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """See `keras.callbacks.Callback`."""
        with Path(RESULTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps([time.time(), self._best]) + "\n")


def add(hp: Any, name: str, limits: Mapping[str, Any]) -> None:
    """Add one hyperparameter to the space."""
    low, high = limits["min"], limits["max"]
    if "step" in limits:
        hp.Int(name, low, high, step=limits["step"])
    else:
        hp.Float(name, low, high, sampling="log" if limits.get("log") else "linear")


def main() -> None:
    """Search the job's space until somebody stops it."""
    job = SearchJob.from_command_line()
    splits = load_splits(job.splits)

    def build(hp: Any) -> Any:
        for name, limits in job.space.items():
            add(hp, name, limits)
        return network.build(hp.values, splits["train_images"], splits["train_labels"])

    tuner = keras_tuner.Hyperband(
        build,
        objective="val_accuracy",
        max_epochs=job.max_epochs,
        factor=FACTOR,
        # As many as the budget allows, as its page recommends: in effect without an end.
        hyperband_iterations=job.max_trials,
        seed=job.seed,
        directory="keras_tuner",
    )
    tuner.search(
        splits["train_images"],
        splits["train_labels"],
        batch_size=job.batch_size,
        validation_data=(splits["validation_images"], splits["validation_labels"]),
        callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=PATIENCE), Scores()],
        verbose=0,
    )


if __name__ == "__main__":
    main()
