"""Fashion-MNIST: Zalando's pictures of clothes, from a file or by Keras's own loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.datasets import mnist
from tuner.datasets.images import LabelledImages

if TYPE_CHECKING:
    from tuner.config.schema import DataConfig

CLASS_NAMES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def load(config: DataConfig) -> LabelledImages:
    """Return 60,000 training and 10,000 test images of 28 x 28, in ten classes of clothes.

    Args:
        config: The group `data`. Its `path` is an `.npz` in the form of Keras's MNIST; if it is
            None, Keras's loader finds its own copy or downloads one.

    Raises:
        DataError: If the file at `path` is not of that form.
        UnavailableError: If there is no copy and it cannot be downloaded.
    """
    return mnist.load_like_mnist(config, "Fashion-MNIST", "fashion_mnist", CLASS_NAMES)
