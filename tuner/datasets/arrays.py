"""Checks of a data set's arrays, wherever they come from: checked, never just cast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tuner.errors import DataError

if TYPE_CHECKING:
    from tuner.datasets.images import Images, Labels

_LOOKED_AT = 256
"""Number of images searched for a bright pixel at a time: the first ones mostly suffice."""


def checked_images(name: str, given: object) -> Images:
    """Return images as uint8, unchanged if they already are.

    Args:
        name: Name of the array, for messages.
        given: Whole numbers in `[0, 255]` of any integer dtype, shape `(n, height, width)`, or
            `(n, height, width, channels)` with 1 or 3 channels.

    Raises:
        DataError: If they are anything else.
    """
    # `asanyarray`, since `asarray` would turn a memory-mapped array into a plain one.
    array: npt.NDArray[np.generic] = np.asanyarray(given)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise DataError(
            f"`{name}` must be of shape (images, height, width) or (images, height, width, 1 "
            f"or 3), but is of shape {array.shape}."
        )
    if 0 in array.shape[1:]:
        raise DataError(f"`{name}` must hold images, but is of shape {array.shape}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"`{name}` must be uint8, raw pixels from 0 to 255 (the model rescales them "
            f"itself), but is {_described(array)}.{_from_booleans(array, 255)}"
        )
    if array.dtype != np.uint8 and array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise DataError(
                f"`{name}` must hold pixels from 0 to 255, but holds "
                f"{low if low < 0 else high}.{_how_to_scale(low, high)}"
            )
    return array.astype(np.uint8, copy=False)


def check_brightness(name: str, images: Images) -> None:
    """Refuse images whose brightest pixel is 1: they were scaled to 0…1 and would be black.

    Raises:
        DataError: If the brightest pixel is 1.
    """
    brightest = 0
    for i in range(0, len(images), _LOOKED_AT):
        brightest = max(brightest, int(images[i : i + _LOOKED_AT].max()))
        if brightest > 1:
            return
    if brightest == 1:
        raise DataError(
            f"`{name}` must be raw pixels from 0 to 255 (the model rescales them itself), but "
            f"its brightest is 1, so all images would be black. Multiply by 255; if they were "
            f"fractions, do so before converting them to whole numbers."
        )


def checked_labels(name: str, given: object) -> Labels:
    """Return labels as int64 of shape `(images,)`.

    Raises:
        DataError: If they are not whole numbers, one for each image.
    """
    array: npt.NDArray[np.generic] = np.asarray(given)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"`{name}` must be of shape (images,), one class number each, but is of shape "
            f"{array.shape}."
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"`{name}` must hold whole numbers, but is {array.dtype}.{_from_booleans(array, 1)}"
        )
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"`{name}` must number the classes from 0, but holds {array.max()}.")
    return array.astype(np.int64, copy=False)


def _from_booleans(array: npt.NDArray[np.generic], true: int) -> str:
    """Say how to convert booleans to numbers, if an array holds booleans."""
    if array.dtype != np.bool_:
        return ""
    factor = "" if true == 1 else f" * {true}"
    return f" Convert it: array.astype('uint8'){factor}."


def _described(array: npt.NDArray[np.generic]) -> str:
    """Describe an array's type and, for fractions, their range and how to scale them."""
    if not np.issubdtype(array.dtype, np.floating) or not array.size:
        return f"{array.dtype}"
    num_nan = int(np.isnan(array).sum())
    if num_nan:
        return f"{array.dtype} with {num_nan} NaN"
    low, high = float(array.min()), float(array.max())
    return f"{array.dtype} from {low:g} to {high:g}.{_how_to_scale(low, high)}".rstrip(".")


def _how_to_scale(low: float, high: float) -> str:
    """Say how to turn numbers in this range into raw pixels, if that is known."""
    if low < 0 or high > 65535:
        return ""
    if high > 255:
        return " Of 16 bits? Divide by 257 and round."
    return " Multiply by 255 and round." if high <= 1 else " Round them, and convert to uint8."
