"""A training that stops and is resumed equals one that never stopped, to the last bit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from support.continued_trainings import fitted, outcome
from support.paths import with_support
from tuner import training
from tuner.datasets import ImageData
from tuner.runtime import tensorflow_setup
from tuner.training.state import capture, restore

# Before TensorFlow starts, in the processes made here too.
tensorflow_setup.set_threads(1)

ENGINES = ("graph", "keras")
MODELS = ("mlp", "dropout_and_batch_norm", "small_cnn", "unseeded_noise", "averaged_weights")

# Stops after epoch 4, or is resumed up to epoch 9, in a process of its own.
PART = """
import sys
from support.continued_trainings import part
part(*sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("mlp", "xla"),
        ("mlp", "graph"),
        ("dropout_and_batch_norm", "keras"),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (
                ("mlp", "keras"),
                ("dropout_and_batch_norm", "graph"),
                ("small_cnn", "graph"),
                ("small_cnn", "keras"),
            )
        ),
    ],
)
def test_nine_epochs_are_four_and_five_in_another_process(
    digits: ImageData, tmp_path: Path, name: str, engine: str
) -> None:
    whole = outcome(*fitted(digits, name, engine, 9), digits)
    for epochs in ("4", "9"):
        subprocess.run(
            [sys.executable, "-c", PART, str(tmp_path), name, engine, epochs],
            env=with_support(),
            check=True,
        )
    assert json.loads((tmp_path / "outcome").read_text()) == whole
    assert len(whole["metrics"]) == 9


def both_callbacks() -> list[Any]:
    return [
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=0, min_delta=0.2),
        keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_callbacks_go_on_too(few_digits: ImageData, name: str, engine: str) -> None:
    whole = fitted(few_digits, name, engine, 6, both_callbacks)
    _, first = fitted(few_digits, name, engine, 3, both_callbacks)
    parts = fitted(few_digits, name, engine, 6, both_callbacks, first)
    assert outcome(*parts, few_digits) == outcome(*whole, few_digits)
    rates = [epoch.metrics["learning_rate"] for epoch in parts[1].epochs]
    # Else nothing was shown.
    assert len(set(rates)) > 2


@pytest.mark.parametrize("engine", ENGINES)
def test_training_that_was_stopped_does_not_go_on(few_digits: ImageData, engine: str) -> None:
    def stop() -> list[Any]:
        # No epoch is ever that much better than the first.
        return [
            keras.callbacks.EarlyStopping(
                "val_loss", min_delta=100, patience=2, restore_best_weights=True
            )
        ]

    whole = fitted(few_digits, "mlp", engine, 9, stop)
    assert len(whole[1].epochs) == 3
    assert whole[1].state.is_stopped
    again = fitted(few_digits, "mlp", engine, 9, stop, whole[1])
    assert outcome(*again, few_digits) == outcome(*whole, few_digits)


@pytest.mark.parametrize("name", MODELS)
def test_training_of_no_more_epochs_ends_as_it_did(few_digits: ImageData, name: str) -> None:
    whole = fitted(few_digits, name, "graph", 3)
    again = fitted(few_digits, name, "graph", 3, found=whole[1])
    assert outcome(*again, few_digits) == outcome(*whole, few_digits)


def test_state_of_another_model_is_refused(few_digits: ImageData) -> None:
    _, checkpoint = fitted(few_digits, "mlp", "keras", 1)
    model, _ = fitted(few_digits, "dropout_and_batch_norm", "keras", 1)
    before = [weight.tolist() for weight in model.get_weights()]
    with pytest.raises(ValueError, match="of a model with other variables"):
        restore(model, checkpoint.state)
    assert [weight.tolist() for weight in model.get_weights()] == before


def test_state_holds_what_a_callback_of_a_users_own_keeps(few_digits: ImageData) -> None:
    class Own(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.count, self.pair, self.seen = 1, (2, [3.5]), {"a": np.arange(3)}
            self.function = print
            self.none = None

    model, _ = fitted(few_digits, "mlp", "keras", 1)
    state = capture(model, [Own()])
    restored = Own()
    restored.count, restored.pair, restored.seen, restored.none = 0, (), {}, 5
    training.state.restore_callbacks([restored], state)
    assert (restored.count, restored.pair, restored.none) == (1, (2, [3.5]), None)
    assert restored.seen["a"].tolist() == [0, 1, 2]
