"""The epochs themselves: train a compiled Keras model, the same way every time."""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from tuner.datasets import Split


def fit(
    model: Any,
    train: Split,
    validation: Split,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    callbacks: Iterable[Any] = (),
    initial_epoch: int = 0,
) -> Any:
    """Train a model and validate it after every epoch.

    The order of the images in an epoch follows from `seed` and the epoch's number alone, so
    that five epochs in one call and two calls of two and three are the same training.

    Args:
        model: A compiled `keras.Model` that takes the images as they are, uint8.
        train: What it learns.
        validation: What `val_…` is measured on.
        epochs: Number of the last epoch, counted from 1.
        batch_size: Images a step; the last step of an epoch takes what is left.
        seed: In `[0, 2**31)`.
        callbacks: Keras callbacks.
        initial_epoch: Epochs the model has been trained before.

    Returns:
        Keras's `History`.
    """
    num_steps = -(-len(train) // batch_size)
    return model.fit(
        _batches(train, epochs, batch_size, seed, initial_epoch),
        validation_data=_in_order(validation, batch_size),
        initial_epoch=initial_epoch,
        epochs=epochs,
        steps_per_epoch=num_steps,
        callbacks=list(callbacks),
        shuffle=False,
        verbose=0,
    )


def predict(model: Any, split: Split, batch_size: int = 1024) -> Any:
    """Return the model's output for every image, float32 `(num_images, classes)`."""
    return model.predict(split.images, batch_size=batch_size, verbose=0)


def seed_everything(seed: int) -> None:
    """Seed what a model's initial weights and dropout masks are drawn from.

    Args:
        seed: In `[0, 2**31)`.
    """
    keras.utils.set_random_seed(seed)


def set_threads(threads: int) -> None:
    """Fix how many threads an operation uses, which the last bits of its result depend on.

    Args:
        threads: At least 1.

    Raises:
        RuntimeError: If TensorFlow has started already with another number.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)


def forget_models() -> None:
    """Free what Keras keeps of models built before in this process."""
    keras.backend.clear_session()


def _batches(train: Split, epochs: int, batch_size: int, seed: int, initial_epoch: int) -> Any:
    """Yield the batches of all epochs still to come, one after another."""
    images, labels = tf.constant(train.images), tf.constant(train.labels)
    indices = tf.range(len(train))

    def one_epoch(epoch: Any) -> Any:
        order = tf.random.experimental.stateless_shuffle(indices, seed=[seed, epoch])
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    def gather(chosen: Any) -> Any:
        return tf.gather(images, chosen), tf.gather(labels, chosen)

    epoch_numbers = tf.data.Dataset.range(initial_epoch + 1, epochs + 1, output_type=tf.int32)
    batches = epoch_numbers.flat_map(one_epoch).map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def _in_order(split: Split, batch_size: int) -> Any:
    # Validation has no gradients to keep, so it takes larger batches at the same memory.
    return tf.data.Dataset.from_tensor_slices((split.images, split.labels)).batch(
        max(batch_size, 256)
    )
