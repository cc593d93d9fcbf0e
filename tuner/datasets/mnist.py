"""MNIST, from a file or by Keras's own loader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuner.datasets import npz
from tuner.datasets.images import LabelledImages
from tuner.errors import DataError, UnavailableError

if TYPE_CHECKING:
    from tuner.schema import DataConfig

SHAPE = (28, 28)


def load(config: DataConfig) -> LabelledImages:
    """Return 60,000 training and 10,000 test images of 28 x 28.

    Args:
        config: With `path`, an `.npz` in the form of Keras's; without, Keras's loader finds its
            own copy or downloads it.

    Raises:
        DataError: If the file at `path` is not MNIST's form.
        UnavailableError: If there is no copy and it cannot be downloaded.
    """
    if config.path is not None:
        data = npz.read(Path(config.path))
        if data.train.images.shape[1:] != SHAPE or len(data.class_names) != 10:
            raise DataError(
                f"{config.path} must hold images of 28 x 28 in 10 classes to be MNIST, but has "
                f"{data.train.images.shape[1:]} in {len(data.class_names)}; for other images "
                f"use data=npz."
            )
        return data
    import keras

    try:
        (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    except Exception as error:
        # Keras raises a bare Exception for a failed download.
        raise UnavailableError(
            f"MNIST is not among Keras's downloads and cannot be downloaded ({error}). Name a "
            f"copy of mnist.npz with data.path=…, or use data=digits, which needs none."
        ) from error
    return LabelledImages.from_arrays(x_train, y_train, x_test, y_test)
