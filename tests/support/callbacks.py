"""Callbacks of a user's own: some that work, and every way in which one may not."""

import functools
import logging
import pathlib
import random
from collections import deque
from typing import Any

import keras
import numpy as np

Callback = keras.callbacks.Callback


class Falling(Callback):  # type: ignore[misc]
    """Multiplies the learning rate by what it has seen, and reports the worst loss so far."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, float] = {}
        self.factors = np.array([0.9, 0.8, 0.7])
        self.kinds: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen[epoch] = logs["val_loss"]
        self.kinds.add(f"fold {epoch % 2}")
        self.factors = np.roll(self.factors, len(self.seen))
        rate = float(self.model.optimizer.learning_rate)
        self.model.optimizer.learning_rate = rate * float(self.factors[0])
        logs["val_worst"] = max(self.seen.values()) * len(self.kinds)


def falling() -> list[Callback]:
    return [Falling()]


def patient() -> tuple[Callback, ...]:
    return (keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True),)


class StopsAtThree(Callback):  # type: ignore[misc]
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = epoch == 2


class ForBatches(Callback):  # type: ignore[misc]
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


class ReadsEpochs(Callback):  # type: ignore[misc]
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.is_late = epoch > self.params["epochs"] / 2


class ReadsSteps(Callback):  # type: ignore[misc]
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.num_steps = self.params["steps"]


class KeepsLater(Callback):  # type: ignore[misc]
    """Keeps from the second epoch on what no checkpoint can hold."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            self.drawn = random.Random(0)


class Keeps(Callback):  # type: ignore[misc]
    """Keeps what it is given."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def compare(self) -> None:
        pass


def _closure() -> Any:
    count = 0

    def counts(*_: Any) -> int:
        nonlocal count
        count += 1
        return count

    return counts


KEPT = {
    "plain": {"a": [1, 2.5, (None, "x")], "b": True},
    "numbers as keys": {3: "x", (1, 2): "y"},
    "set": {"a", "b"},
    "array": np.arange(3, dtype=np.float32),
    "number of NumPy": np.float32(0.1),
    "path": pathlib.Path("logs") / "x",
    "function": print,
    "function of its own": np.less,
    "lambda": lambda epoch, rate: rate / 2,
    "class": Keeps,
    "module": random,
    "logger": logging.getLogger("x"),
}
"""What a checkpoint holds, or what is found again without one."""

NOT_KEPT = {
    "object": object(),
    "state of random numbers": random.Random(0),
    "queue": deque([1]),
    "closure": _closure(),
    "partial": functools.partial(print, []),
    "method of another": [].append,
    "among others": [1, object()],
    "array of objects": np.array([object()]),
}
"""What would be lost: the name of its type is said."""


# What is wrong with an entry of `training.callbacks`.

_SHARED = Falling()


def shared() -> Callback:
    return _SHARED


def text() -> str:
    return "early"


def list_of_text() -> list[Any]:
    return [Falling(), "early"]


def needs_argument(patience: int) -> Callback:
    return Falling()


def raises() -> Callback:
    raise KeyError("no such file")
