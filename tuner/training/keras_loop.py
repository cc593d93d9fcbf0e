"""Training with `model.fit`, batch by batch: it works with every model, but slowly."""

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from tuner.datasets import Split

Logs = Mapping[str, float] | None
"""The metrics that Keras passes to a callback."""

EVALUATION_BATCH = 1024
"""Batch size outside training, where there are no gradients to keep."""


def fit(
    model: keras.Model,
    train: Split,
    validation: Split,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    callbacks: list[keras.callbacks.Callback],
    initial_epoch: int,
    class_weight: dict[int, float] | None,
    check: Callable[[], None],
) -> keras.callbacks.History:
    """Train a model as `tuner.training.fit` does, and return Keras's `History`."""
    return model.fit(
        batches(train, epochs, batch_size, seed, initial_epoch),
        validation_data=_in_order(validation),
        initial_epoch=initial_epoch,
        epochs=epochs,
        steps_per_epoch=-(-len(train) // batch_size),
        callbacks=[*callbacks, _Check(check)],
        class_weight=class_weight,
        shuffle=False,
        verbose=0,
    )


class _Check(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._check()


def order(num_images: int, seed: int, epoch: int | tf.Tensor) -> tf.Tensor:
    """Return the order of the images in an epoch, int32 `(num_images,)`.

    Args:
        num_images: Number of images.
        seed: Seed in `[0, 2**31)`.
        epoch: Number of the epoch, from 1; an integer or an int32 tensor.
    """
    indices = tf.range(num_images)
    return tf.random.experimental.stateless_shuffle(indices, seed=[seed, epoch])


def batches(
    train: Split, epochs: int, batch_size: int, seed: int, initial_epoch: int
) -> tf.data.Dataset:
    """Yield the batches of all remaining epochs, one after another.

    Images are read when they are needed: they may be in a file that is larger than memory.
    """

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        shuffled = order(len(train), seed, epoch)
        return tf.data.Dataset.from_tensor_slices(shuffled).batch(batch_size)

    epoch_numbers = tf.data.Dataset.range(initial_epoch + 1, epochs + 1, output_type=tf.int32)
    return _read(train, epoch_numbers.flat_map(one_epoch))


def _in_order(split: Split) -> tf.data.Dataset:
    """Yield a split in batches for evaluation."""
    indices = tf.data.Dataset.range(len(split), output_type=tf.int32)
    return _read(split, indices.batch(EVALUATION_BATCH))


def _read(split: Split, chosen: tf.data.Dataset) -> tf.data.Dataset:
    """Turn batches of indices into batches of images and labels."""

    def gather(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = tf.numpy_function(
            lambda i: (split.images[i], split.labels[i]), [indices], (tf.uint8, tf.int64)
        )
        images.set_shape((None, *split.images.shape[1:]))
        labels.set_shape((None,))
        return images, labels

    return chosen.map(gather, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
