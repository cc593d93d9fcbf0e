"""The epochs themselves: every image once, in an order that follows from the seed."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import models
from support.networks import NETWORK
from support.paths import with_support
from support.trainings import ENGINES, digest, fitted, state
from tuner import training
from tuner.datasets import ImageData, Split
from tuner.models import mlp
from tuner.runtime import tensorflow_setup
from tuner.training import keras_loop

# Before any test makes TensorFlow start: afterwards it cannot be set.
tensorflow_setup.set_threads(1)


# Ten images, of which image i is filled with i and of class i.
TEN = Split(np.tile(np.arange(10, dtype=np.uint8)[:, None, None], (1, 2, 2)), np.arange(10))

FRESH_PROCESS = """
from support.trainings import ENGINES, digest, fitted
from tuner.config.schema import DataConfig
from tuner.datasets import load
data = load(DataConfig("tuner.datasets.digits.load", "digits", validation_split=0.15), seed=0)
# In another order, too.
digests = {engine: digest(fitted(data, engine, dropout=0.3)[0]) for engine in ENGINES[::-1]}
print(*(digests[engine] for engine in ENGINES))
"""


def cross_entropy(model: Any, split: Split) -> float:
    probabilities = training.predict(model, split).astype(np.float64)
    return float(-np.log(probabilities[np.arange(len(split)), split.labels]).mean())


# The order of the images


@pytest.mark.parametrize("num_images", [1, 10, 1000])
def test_order_holds_every_image_once(num_images: int) -> None:
    order = np.asarray(keras_loop.order(num_images, 0, 1))
    assert sorted(order.tolist()) == list(range(num_images))


@pytest.mark.parametrize(("seed", "epoch"), [(1, 1), (0, 2), (2**31 - 1, 1)])
def test_order_follows_from_seed_and_epoch(seed: int, epoch: int) -> None:
    order = np.asarray(keras_loop.order(100, seed, epoch)).tolist()
    assert order == np.asarray(keras_loop.order(100, seed, tf.constant(epoch))).tolist()
    assert order != np.asarray(keras_loop.order(100, 0, 1)).tolist()


def test_order_ignores_global_random_state() -> None:
    training.seed_everything(1)
    before = np.asarray(keras_loop.order(100, 0, 1)).tolist()
    training.seed_everything(2)
    assert np.asarray(keras_loop.order(100, 0, 1)).tolist() == before


def epochs_of_batches(epochs: int, seed: int, initial_epoch: int = 0) -> list[list[list[int]]]:
    """Return the labels in every batch of every epoch of `TEN`, four a batch."""
    batches = list(keras_loop.batches(TEN, epochs, 4, seed, initial_epoch))
    labels = [batch_labels.numpy().tolist() for _, batch_labels in batches]
    return [labels[i : i + 3] for i in range(0, len(labels), 3)]


def test_batches_hold_every_image_once_an_epoch() -> None:
    epochs = epochs_of_batches(3, seed=5)
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[4, 4, 2]] * 3
    assert [sorted(itertools.chain(*epoch)) for epoch in epochs] == [list(range(10))] * 3
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_batches_keep_images_with_their_labels() -> None:
    for images, labels in keras_loop.batches(TEN, 2, 4, 5, 0):
        assert images.numpy()[:, 0, 0].tolist() == labels.numpy().tolist()
        assert images.dtype == tf.uint8


def test_batches_of_later_epochs_are_the_same_when_earlier_ones_are_left_out() -> None:
    assert epochs_of_batches(5, seed=5, initial_epoch=2) == epochs_of_batches(5, seed=5)[2:]


def test_batches_of_another_seed_have_another_order() -> None:
    assert epochs_of_batches(3, seed=5) != epochs_of_batches(3, seed=6)


# Training


@pytest.mark.parametrize("engine", ENGINES)
def test_fit_trains_on_images_in_a_file_as_on_those_in_memory(
    few_digits: ImageData, engine: str, tmp_path: Path
) -> None:
    def in_file(name: str, split: Split) -> Split:
        np.save(tmp_path / name, split.images)
        return Split(np.load(tmp_path / name, mmap_mode="r"), split.labels)

    filed = dataclasses.replace(
        few_digits,
        train=in_file("train.npy", few_digits.train),
        validation=in_file("validation.npy", few_digits.validation),
    )
    assert isinstance(filed.train.images, np.memmap)
    assert state(fitted(filed, engine)[0]) == state(fitted(few_digits, engine)[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_fit_five_epochs_equals_two_and_three(few_digits: ImageData, engine: str) -> None:
    whole, history = fitted(few_digits, engine, epochs=5, dropout=0.4)
    parts, first = fitted(few_digits, engine, epochs=2, dropout=0.4)
    assert state(parts) != state(whole)
    second = training.fit(
        parts,
        few_digits.train,
        few_digits.validation,
        epochs=5,
        initial_epoch=2,
        batch_size=32,
        seed=3,
        engine=engine,
    )
    # Weights, the optimiser's state and dropout's, bit for bit.
    assert state(parts) == state(whole)
    losses = history.history["val_loss"]
    assert losses == first.history["val_loss"] + second.history["val_loss"]


def test_fit_history_has_one_value_an_epoch(few_digits: ImageData) -> None:
    _, history = fitted(few_digits, "graph", epochs=3)
    assert history.epoch == [0, 1, 2]
    assert {name: len(values) for name, values in history.history.items()} == {
        "loss": 3,
        "accuracy": 3,
        "val_loss": 3,
        "val_accuracy": 3,
    }


def test_fit_learns(digits: ImageData) -> None:
    _, history = fitted(digits, "graph", epochs=3)
    # A tenth would be guessing.
    assert history.history["val_accuracy"][-1] > 0.8
    assert history.history["loss"][0] > history.history["loss"][1] > history.history["loss"][2]


@pytest.mark.parametrize("engine", ENGINES)
# One image left over, a batch for all, fewer images than a batch.
@pytest.mark.parametrize(("batch_size", "num_steps"), [(53, 4), (160, 1), (161, 1)])
def test_fit_sees_every_image_once(
    few_digits: ImageData, engine: str, batch_size: int, num_steps: int
) -> None:
    # Nothing is learnt, so the loss over an epoch is that of the whole training split.
    model, history = fitted(
        few_digits,
        engine,
        epochs=1,
        batch_size=batch_size,
        optimizer="sgd",
        learning_rate=0.0,
    )
    expected = cross_entropy(model, few_digits.train)
    assert history.history["loss"] == pytest.approx([expected], rel=1e-5)
    assert int(model.optimizer.iterations) == num_steps
    without_last = cross_entropy(model, few_digits.train.take(np.arange(159)))
    assert without_last != pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_fit_validates_on_every_image(digits: ImageData, engine: str) -> None:
    # 1,221 images are more than one batch of validation.
    turned = ImageData(
        "digits", digits.class_names, "", digits.validation, digits.train, digits.test
    )
    model, history = fitted(turned, engine, epochs=1)
    expected = cross_entropy(model, digits.train)
    assert history.history["val_loss"] == pytest.approx([expected], rel=1e-5)


def test_fit_with_other_seeds_is_another_training(few_digits: ImageData) -> None:
    first, _ = fitted(few_digits, "graph", seed=3)
    again, _ = fitted(few_digits, "graph", seed=3)
    other_order, _ = fitted(few_digits, "graph", seed=4)
    other_weights, _ = fitted(few_digits, "graph", seed=3, model_seed=2)
    assert digest(first) == digest(again)
    assert len({digest(first), digest(other_order), digest(other_weights)}) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_fit_of_fewer_images_than_a_batch_can_be_ended(
    few_digits: ImageData, engine: str
) -> None:
    def check() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fitted(few_digits, engine, batch_size=500, check=check)


@pytest.mark.parametrize(
    "build",
    [
        models.lambda_layer,
        models.own_activation,
        models.nested_and_partly_frozen,
        models.adapted_normalization,
        models.weights_without_decay,
        models.weights_without_decay_scaled,
        models.augmented,
    ],
)
def test_fit_of_any_model_is_what_keras_does(few_digits: ImageData, build: Any) -> None:
    models, losses = [], []
    for engine in ("graph", "keras"):
        training.forget_models()
        training.seed_everything(1)
        model = build()
        # As the worker does before it trains.
        model(few_digits.train.images[:2], training=False)
        history = training.fit(
            model,
            few_digits.train,
            few_digits.validation,
            epochs=2,
            batch_size=48,
            seed=3,
            engine=engine,
        )
        models.append(model)
        losses.append(history.history["loss"] + history.history["val_loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    for ours, theirs in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_fit_is_the_same_in_a_fresh_process(digits: ImageData) -> None:
    here = [digest(fitted(digits, engine, dropout=0.3)[0]) for engine in ENGINES]
    finished = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS],
        env=with_support(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.stdout.split() == here, finished.stderr


# What surrounds it


def test_seed_everything_decides_the_first_weights(few_digits: ImageData) -> None:
    weights = []
    for seed in (1, 1, 2):
        training.forget_models()
        training.seed_everything(seed)
        weights.append(mlp.build(NETWORK, (8, 8), 10).get_weights()[0].tolist())
    assert weights[0] == weights[1] != weights[2]


def test_set_threads_twice_is_allowed_until_they_differ() -> None:
    tf.constant(1)
    tensorflow_setup.set_threads(1)
    with pytest.raises(RuntimeError, match="cannot be modified after initialization"):
        tensorflow_setup.set_threads(3)
    assert tf.config.threading.get_intra_op_parallelism_threads() == 1


def test_forget_models_begins_names_anew() -> None:
    training.forget_models()
    first = keras.layers.Dense(2).name
    assert keras.layers.Dense(2).name != first
    training.forget_models()
    assert keras.layers.Dense(2).name == first


def test_forget_models_keeps_the_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        training.forget_models()
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
