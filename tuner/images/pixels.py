"""Converts any image to greyscale or RGB of 8 bits: depth, transparency, orientation, size.

Everything here works on an image that Pillow has opened, and gives the same pixels to training
and to prediction.
"""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

REDUCED_ABOVE = 16_000_000
"""Number of pixels above which an image is first reduced, to about a quarter of that number."""

_STRIP = 4_000_000
"""Number of pixels reduced at a time, so that an enormous image is never copied whole."""

_GREY_MODES = ("1", "L", "LA", "La")

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that turns an image upright, by its EXIF orientation; from 5 on it is rotated
by a right angle."""

_VISIBLE = 64
"""Lowest opacity of a visible pixel."""

_HIDDEN = 64
"""Contrast with white, out of 255, below which a pixel is practically invisible on it."""


def size_of(image: Image.Image) -> tuple[int, int]:
    """Return height and width of an opened image the way up it was taken, without its pixels.

    A camera stores the orientation next to the pixels.
    """
    width, height = image.size
    return (width, height) if _orientation(image) >= 5 else (height, width)


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(_ORIENTATION)
    return found if found in _TURNS else 1


def is_grey(image: Image.Image) -> bool:
    """Say whether an opened image is greyscale, by its mode."""
    return image.mode in _GREY_MODES or _is_deep(image)


def is_clear(image: Image.Image) -> bool:
    """Say whether an image is fully transparent, so that nothing of it is visible."""
    if not image.has_transparency_data:
        return False
    opacity = image if "A" in image.getbands() else image.convert("RGBA")
    return not _extremes(opacity.getchannel("A"))[1]


def flattened(image: Image.Image, mode: str, least: tuple[int, int] = (1, 1)) -> Image.Image:
    """Return an image the way up it was taken, with 8 bits per channel, without transparency.

    If there are several frames, the first is used. Whole numbers of more than 8 bits are
    divided by 257, since 65535 is white in a file of 16 bits. In a file of floating-point
    numbers, white is 1 if no number is above 1, otherwise 255 if none is above 255, otherwise
    65535. Transparent pixels become white, as on paper, unless nothing of the image would be
    visible on white: then they become black.

    Args:
        image: The image as opened.
        mode: `L` or `RGB`.
        least: Smallest height and width of the result, if the image has them: an image of more
            than `REDUCED_ABOVE` pixels is reduced by a whole factor.

    Raises:
        ValueError: If any pixel is negative, above 65535, infinite or NaN.
    """
    turn = _TURNS.get(_orientation(image))
    image = _reduced(image, least[::-1] if size_of(image) != image.size[::-1] else least)
    if turn is not None:
        image = image.transpose(turn)
    if image.has_transparency_data:
        image = _on_ground(image.convert("RGBA"))
    flat = image.convert(mode)
    # Its stored orientation no longer holds: applied again, it would turn the image again.
    flat.info.clear()
    return flat


def white_of(image: Image.Image) -> float | None:
    """Return the value of white in an image of more than 8 bits; None for other images."""
    if not _is_deep(image):
        return None
    if image.mode != "F":
        return 65535.0
    brightest = image.getextrema()[1]
    assert isinstance(brightest, int | float)
    return next((white for white in (1.0, 255.0) if brightest <= white), 65535.0)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def _reduced(image: Image.Image, least: tuple[int, int]) -> Image.Image:
    """Return an image with 8 bits per channel; an enormous one is reduced by a whole factor."""
    white = white_of(image)
    width, height = image.size
    by = 1
    if width * height > REDUCED_ABOVE:
        by = math.isqrt(4 * width * height // REDUCED_ABOVE)
        # Keep twice the wanted size, so that the final resampling loses no quality.
        by = min(by, height // (2 * least[0]), width // (2 * least[1]))
    if by < 2:
        return image if white is None else _of_8_bits(image, white)
    mode = "RGBA" if image.has_transparency_data else image.mode
    mode = "L" if white is not None else {"P": "RGB", "1": "L"}.get(mode, mode)
    small = Image.new(mode, (-(-width // by), -(-height // by)))
    rows = max(_STRIP // (width * by), 1) * by
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        strip = strip.convert(mode) if white is None else _of_8_bits(strip, white)
        small.paste(strip.reduce(by), (0, top // by))
    return small


def _of_8_bits(image: Image.Image, white: float) -> Image.Image:
    numbers = np.asarray(image, np.float32)
    low, high = float(numbers.min()), float(numbers.max())
    # NaN fails both comparisons.
    if not (low >= 0 and high <= 65535):
        raise ValueError(
            f"its pixels must lie between 0 and 65535, but go from {low:g} to {high:g}; "
            f"convert it to 8 bits"
        )
    return Image.fromarray(np.rint(numbers * (255 / white)).astype(np.uint8))


def _on_ground(layer: Image.Image) -> Image.Image:
    """Put an RGBA image on white, or on black if white would hide all of it."""
    pixels = np.asarray(layer)
    opacity = pixels[..., 3]
    darkness = 255 - np.asarray(layer.convert("RGB").convert("L"))
    seen = opacity >= _VISIBLE
    is_hidden = seen.any() and _most(darkness[seen], opacity[seen]) < _HIDDEN
    ground = Image.new("RGBA", layer.size, "black" if is_hidden else "white")
    return Image.alpha_composite(ground, layer)


def _most(darkness: npt.NDArray[np.uint8], opacity: npt.NDArray[np.uint8]) -> float:
    """Return the contrast with white that only a few pixels, such as specks, exceed."""
    contrast = darkness.astype(np.uint16) * opacity // 255
    return float(np.percentile(contrast, 99.5))


def _extremes(channel: Image.Image) -> tuple[int, int]:
    low, high = channel.getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return int(low), int(high)
