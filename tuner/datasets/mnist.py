"""MNIST, from a file or by Keras's own loader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuner.datasets import npz
from tuner.datasets.images import LabelledImages
from tuner.errors import DataError, UnavailableError

if TYPE_CHECKING:
    from tuner.config.schema import DataConfig

SHAPE = (28, 28)


def load(config: DataConfig) -> LabelledImages:
    """Return 60,000 training and 10,000 test images of 28 x 28.

    Args:
        config: The group `data`. Its `path` is an `.npz` in the form of Keras's; if it is None,
            Keras's loader finds its own copy or downloads one.

    Raises:
        DataError: If the file at `path` does not have MNIST's form.
        UnavailableError: If there is no copy and it cannot be downloaded.
    """
    return load_like_mnist(config, "MNIST", "mnist", tuple("0123456789"))


def load_like_mnist(
    config: DataConfig, title: str, module: str, class_names: tuple[str, ...]
) -> LabelledImages:
    """Load a data set in MNIST's form, from a file or by one of Keras's loaders.

    Args:
        config: The group `data`.
        title: Its usual name, for messages.
        module: Name of Keras's loader in `keras.datasets`.
        class_names: One name per class.

    Raises:
        DataError: If the file at `path` does not have MNIST's form.
        UnavailableError: If there is no copy and it cannot be downloaded.
    """
    if config.path is not None:
        data = npz.read(Path(config.path))
        if data.train.images.shape[1:] != SHAPE or len(data.class_names) != len(class_names):
            raise DataError(
                f"{config.path} must hold images of 28 x 28 in 10 classes to be {title}, but "
                f"has {data.train.images.shape[1:]} in {len(data.class_names)}; for other "
                f"images use data=npz."
            )
        return LabelledImages(data.train, data.test, class_names)
    import keras

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, module).load_data()
    except Exception as error:
        # Keras raises a bare Exception for a failed download.
        raise UnavailableError(
            f"{title} is not among Keras's downloads and cannot be downloaded ({error}). Give "
            f"an .npz copy with data.path=…, or use data=digits, which needs no download."
        ) from error
    return LabelledImages.from_arrays(x_train, y_train, x_test, y_test, class_names)
