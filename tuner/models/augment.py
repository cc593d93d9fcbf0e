"""Images changed at random while a model trains, and left as they are when it predicts.

Shift, rotation, zoom, shear and elastic distortion are combined into one field of
displacements, by which the image is sampled once: a chain of five layers would blur it five
times. Everything consists of Keras's own operations, which XLA compiles with the training step
and which can be loaded anywhere.
"""

import math

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from tuner.models.transforms import with_channels
from tuner.trial import Values, number

ELASTIC_SMOOTHNESS = 1 / 7
"""Standard deviation of the Gaussian that smooths elastic displacements, in sides of the image.

Four pixels of 28, as in Simard, Steinkraus and Platt, "Best practices for convolutional neural
networks applied to visual document analysis", ICDAR 2003.
"""


def augment(image_shape: tuple[int, ...], values: Values) -> keras.Model | None:
    """Return a layer that changes images at random in training, and only there.

    Args:
        image_shape: `(height, width)` or `(height, width, channels)`.
        values: The following; a missing one is 0. `augment_shift`: largest shift, vertically
            and horizontally, as a share of the side. `augment_rotation`: largest angle in
            degrees. `augment_zoom`: largest change of size, as a share. `augment_shear`:
            largest tangent of the angle. `augment_elastic`: standard deviation of the
            displacements, as a share of the side. `augment_stroke`: largest change in the width
            of light strokes, from 0 to 1 pixel on each of their sides.

    Returns:
        A layer from images `(n, *image_shape)`, uint8 or float32 in `[0, 255]`, to float32
        `(n, height, width, channels)` in `[0, 255]`; None if nothing is to be changed.
    """
    strengths = {
        name: number(values.get(f"augment_{name}", 0))
        for name in ("shift", "rotation", "zoom", "shear", "elastic", "stroke")
    }
    if not any(strengths.values()):
        return None
    images = keras.Input(shape=image_shape, name="images")
    changed = ops.cast(with_channels(images), "float32")
    if strengths.pop("stroke"):
        changed = _stroked(changed, number(values["augment_stroke"]))
    if any(strengths.values()):
        changed = _warped(changed, strengths)
    return keras.Model(images, changed, name="augment")


def _normal(zeros: keras.KerasTensor) -> keras.KerasTensor:
    """Return draws from the standard normal distribution in training, otherwise zeros."""
    return keras.layers.GaussianNoise(1.0)(zeros)


def _uniform(zeros: keras.KerasTensor) -> keras.KerasTensor:
    """Return draws from the uniform distribution on -1 to 1 in training, otherwise zeros."""
    return ops.erf(_normal(zeros) / math.sqrt(2))


def _stroked(images: keras.KerasTensor, strength: float) -> keras.KerasTensor:
    """Mix each image with itself dilated (or eroded) by a pixel."""
    amount = strength * _uniform(ops.zeros_like(images[:, :1, :1, :1]))
    wider = ops.maximum(amount, 0) * (_dilated(images) - images)
    thinner = ops.maximum(-amount, 0) * (-_dilated(-images) - images)
    return images + wider + thinner


def _dilated(images: keras.KerasTensor) -> keras.KerasTensor:
    """Return the maximum of each pixel and its four neighbours."""
    height, width = images.shape[1:3]
    padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
    most = images
    for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
        most = ops.maximum(most, padded[:, rows : rows + height, columns : columns + width])
    return most


def _warped(images: keras.KerasTensor, strengths: dict[str, float]) -> keras.KerasTensor:
    """Sample each image once, bilinearly, at its displaced positions.

    Beyond the border, the border's pixels are repeated.
    """
    height, width, channels = images.shape[1:]
    down, right = _displacements(images, strengths)
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    y = ops.clip(down + rows.astype(np.float32), 0, height - 1)
    x = ops.clip(right + columns.astype(np.float32), 0, width - 1)
    top, left = ops.floor(y), ops.floor(x)
    share_y, share_x = ops.expand_dims(y - top, -1), ops.expand_dims(x - left, -1)
    top, left = ops.cast(top, "int32"), ops.cast(left, "int32")
    bottom, beside = ops.minimum(top + 1, height - 1), ops.minimum(left + 1, width - 1)
    pixels = ops.reshape(images, (-1, height * width, channels))

    def at(row: keras.KerasTensor, column: keras.KerasTensor) -> keras.KerasTensor:
        index = ops.reshape(row * width + column, (-1, height * width, 1))
        return ops.reshape(
            ops.take_along_axis(pixels, index, axis=1), (-1, height, width, channels)
        )

    upper = (1 - share_x) * at(top, left) + share_x * at(top, beside)
    lower = (1 - share_x) * at(bottom, left) + share_x * at(bottom, beside)
    return (1 - share_y) * upper + share_y * lower


def _displacements(
    images: keras.KerasTensor, strengths: dict[str, float]
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return each pixel's displacement downwards and to the right, in pixels."""
    height, width = images.shape[1:3]
    zeros = ops.zeros_like(images[:, :, :, :1])
    drawn = _uniform(ops.tile(zeros[:, :1, :1], (1, 1, 1, 6)))
    shift_y, shift_x, angle, zoom_y, zoom_x, shear = (drawn[..., i] for i in range(6))
    angle = angle * math.radians(strengths["rotation"])
    zoom_y, zoom_x = 1 + strengths["zoom"] * zoom_y, 1 + strengths["zoom"] * zoom_x
    shear = strengths["shear"] * shear
    rows, columns = np.meshgrid(
        np.arange(height, dtype=np.float32) - (height - 1) / 2,
        np.arange(width, dtype=np.float32) - (width - 1) / 2,
        indexing="ij",
    )
    slanted = shear * rows + columns
    # From a pixel's own position to the one that is sampled: zero if all strengths are zero.
    down = zoom_y * (ops.cos(angle) * rows + ops.sin(angle) * slanted) - rows
    right = zoom_x * (ops.cos(angle) * slanted - ops.sin(angle) * rows) - columns
    down = down + strengths["shift"] * height * shift_y
    right = right + strengths["shift"] * width * shift_x
    if strengths["elastic"]:
        field = _normal(ops.tile(zeros[..., 0], (1, 2, 1)))
        # One axis after the other, as products of two plain matrices: XLA is slow on batches.
        field = ops.reshape(
            ops.matmul(ops.reshape(field, (-1, width)), _smoothing(width)),
            (-1, 2, height, width),
        )
        field = ops.transpose(field, (0, 1, 3, 2))
        field = ops.matmul(ops.reshape(field, (-1, height)), _smoothing(height))
        field = ops.transpose(ops.reshape(field, (-1, 2, width, height)), (0, 1, 3, 2))
        down = down + strengths["elastic"] * height * field[:, 0]
        right = right + strengths["elastic"] * width * field[:, 1]
    return down, right


def _smoothing(side: int) -> npt.NDArray[np.float32]:
    """Return the matrix `(side, side)` that smooths noise and keeps its standard deviation."""
    places = np.arange(side)
    distances = (places[:, None] - places[None, :]) / (ELASTIC_SMOOTHNESS * side)
    weights = np.exp(-(distances**2) / 2)
    smooth: npt.NDArray[np.float32] = weights / np.linalg.norm(weights, axis=0)
    return smooth.astype(np.float32)
