"""Transforms: the first step inside a model, one layer each.

Each is a `keras.Model` that consists only of Keras's own operations, so that a model with one
can be loaded in Keras's safe mode where this package is not installed. All of them take raw
images, and none has weights.
"""

import functools
from collections.abc import Callable, Mapping

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

MAX_THINNING = 16
"""Largest number of thinning rounds: strokes up to twice as many pixels wide become lines."""

INK = 128
"""Lowest brightness of ink: strokes are light on a dark background."""

# A pixel's eight neighbours as (row, column), clockwise from the upper left: the bits that
# number a neighbourhood.
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))

# Neighbourhoods where scikit-image's `skeletonize(method="zhang")` departs from the paper's
# conditions, so that stairs and corners become one pixel wide. The key says in which passes the
# centre pixel is removed: none, the first, the second, or both.
_DEPARTURES = {
    0: (48, 129),
    1: (3, 6, 11, 12, 14, 131, 134, 161, 194, 198),
    2: (24, 26, 56, 96, 104, 108, 176, 192, 224),
    3: (10, 40, 130, 160),
}


def transform(name: str, image_shape: tuple[int, ...]) -> keras.Model:
    """Return the layer of a transform.

    Args:
        name: A key of `TRANSFORMS`.
        image_shape: `(height, width)` or `(height, width, channels)`.

    Returns:
        A layer from images `(n, *image_shape)`, uint8 or float32 in `[0, 255]`, to float32
        `(n, height, width, channels)`; images without channels get one.
    """
    images = keras.Input(shape=image_shape, name="images")
    return keras.Model(images, TRANSFORMS[name](with_channels(images)), name=name)


def with_channels(images: keras.KerasTensor) -> keras.KerasTensor:
    """Give images `(n, height, width)` a channel; others are returned as they are."""
    return images if len(images.shape) == 4 else ops.expand_dims(images, -1)


def rescale(images: keras.KerasTensor) -> keras.KerasTensor:
    """Bring pixels from `[0, 255]` to `[0, 1]`."""
    return keras.layers.Rescaling(1 / 255)(images)


def standardize(images: keras.KerasTensor) -> keras.KerasTensor:
    """Bring each image to mean 0 and standard deviation 1; a uniform image becomes 0."""
    normalize = keras.layers.LayerNormalization(
        axis=(1, 2, 3), epsilon=1e-6, center=False, scale=False
    )
    return normalize(rescale(images))


def l2_columns(images: keras.KerasTensor) -> keras.KerasTensor:
    """Give every column of pixels an L2 norm of 1; a column of zeros stays zero.

    The same as `keras.utils.normalize(images, axis=1)`.
    """
    return keras.layers.UnitNormalization(axis=1)(rescale(images))


def thin(images: keras.KerasTensor) -> keras.KerasTensor:
    """Make strokes one pixel wide: 1 on their middle lines, otherwise 0; channels separately.

    Zhang and Suen, "A fast parallel algorithm for thinning digital patterns", CACM 27 (3),
    1984. The result is that of scikit-image's `skeletonize(method="zhang")` for strokes up to
    2 * `MAX_THINNING` pixels wide. A stroke is at least as bright as `INK`.
    """
    height, width, channels = images.shape[1:]
    ink = ops.cast(ops.cast(images, "float32") >= INK, "int32")
    # One layer, called repeatedly: the model's file describes it only once.
    thinner = _round_of_thinning(height, width, channels)
    for _ in range(min(-(-min(height, width) // 2), MAX_THINNING)):
        ink = thinner(ink)
    return ops.cast(ink, "float32")


def _round_of_thinning(height: int, width: int, channels: int) -> keras.Model:
    """Return a Keras layer that removes one layer of pixels from all sides of all strokes."""
    given = ink = keras.Input(shape=(height, width, channels), dtype="int32")
    for kept in _tables():
        padded = ops.pad(ink, ((0, 0), (1, 1), (1, 1), (0, 0)))
        number = ops.zeros_like(ink)
        for bit, (down, right) in enumerate(_NEIGHBOURS):
            rows = slice(1 + down, 1 + down + height)
            columns = slice(1 + right, 1 + right + width)
            number = number + padded[:, rows, columns] * (1 << bit)
        ink = ink * ops.take(ops.convert_to_tensor(kept), number)
    return keras.Model(given, ink, name="thinner")


@functools.cache
def _tables() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return, for both passes and each of the 256 neighbourhoods, whether a pixel is kept."""
    kept = np.ones((2, 256), np.int32)
    for number in range(256):
        bits = [number >> bit & 1 for bit in range(8)]
        _, north, _, east, _, south, _, west = bits
        num_entries = sum(bits[i - 1] < bits[i] for i in range(8))
        if 2 <= sum(bits) <= 6 and num_entries == 1:
            kept[0, number] = north * east * south or east * south * west
            kept[1, number] = north * east * west or north * south * west
    for passes, numbers in _DEPARTURES.items():
        kept[0, numbers], kept[1, numbers] = not passes & 1, not passes & 2
    return kept[0], kept[1]


def deslant(images: keras.KerasTensor) -> keras.KerasTensor:
    """Shear each image so that its strokes stand upright, and bring pixels to `[0, 1]`.

    Every row is moved sideways, in proportion to its distance from the centre of mass, so that
    the covariance of rows and columns, weighted by brightness, vanishes. Bright pixels count as
    ink. Pixels that move in from outside repeat the border.
    """
    scaled = rescale(images)
    height, width = scaled.shape[1:3]
    rows, columns = np.meshgrid(
        np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij"
    )
    mass = ops.sum(scaled, axis=3)

    def mean(of: keras.KerasTensor) -> keras.KerasTensor:
        total = ops.sum(mass * of, axis=(1, 2), keepdims=True)
        return total / ops.maximum(ops.sum(mass, axis=(1, 2), keepdims=True), 1e-6)

    # A minus sign cannot subtract a KerasTensor from a NumPy array.
    down, right = ops.subtract(rows, mean(rows)), ops.subtract(columns, mean(columns))
    slant = mean(down * right) / ops.maximum(mean(down * down), 1e-6)
    sources = ops.clip(slant * down + columns, 0, width - 1)
    left = ops.floor(sources)
    share = ops.expand_dims(sources - left, -1)
    first = ops.expand_dims(ops.cast(left, "int32"), -1)
    second = ops.minimum(first + 1, width - 1)
    return (1 - share) * ops.take_along_axis(scaled, first, axis=2) + (
        share * ops.take_along_axis(scaled, second, axis=2)
    )


TRANSFORMS: Mapping[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "rescale": rescale,
    "standardize": standardize,
    "l2_columns": l2_columns,
    "thin": thin,
    "deslant": deslant,
}
"""All transforms: functions of symbolic images `(n, height, width, channels)`."""
