"""Pixels of any kind of file as grey or RGB of 8 bits: depth, transparency, orientation, size.

Everything here works on an image that Pillow has opened, and gives the same pixels to training
and to prediction.
"""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

REDUCED_ABOVE = 16_000_000
"""Pixels above which an image is reduced before it is worked on, to a quarter of them or so."""

_STRIP = 4_000_000
"""Pixels that are reduced at a time, so that an enormous image is copied in parts only."""

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
"""What brings an image up again, by its orientation in EXIF; from 5 on it lies on its side."""

_VISIBLE = 64
"""Opacity from which a pixel is seen."""

_HIDDEN = 64
"""Contrast with white, of 255, below which a pixel is as good as not seen on it."""


def size_of(image: Image.Image) -> tuple[int, int]:
    """Return height and width of an opened image the way up it was taken, without its pixels.

    A camera says beside the pixels which way is up.
    """
    width, height = image.size
    return (width, height) if _orientation(image) >= 5 else (height, width)


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(_ORIENTATION)
    return found if found in _TURNS else 1


def is_grey(image: Image.Image) -> bool:
    """Say whether an opened image has no colours, by its mode."""
    return image.mode in _GREY_MODES or _is_deep(image)


def is_clear(image: Image.Image) -> bool:
    """Say whether an image is transparent throughout: nothing can be seen of it."""
    if not image.has_transparency_data:
        return False
    opacity = image if "A" in image.getbands() else image.convert("RGBA")
    return not _extremes(opacity.getchannel("A"))[1]


def flattened(image: Image.Image, mode: str, least: tuple[int, int] = (1, 1)) -> Image.Image:
    """Return an image the way up it was taken, of 8 bits, without transparency.

    Of several frames the first is taken. Whole numbers of more than 8 bits are divided by 257,
    since 65535 is white in a file of 16 bits. In a file of floating-point numbers white is 1
    where none is above 1, else 255 where none is above that, else 65535. Transparent pixels
    become white, as on paper, unless nothing of the image could be seen on it: then they become
    black.

    Args:
        image: As it was opened.
        mode: `L` or `RGB`.
        least: Height and width that the result must at least have, if the image has them: one
            of more than `REDUCED_ABOVE` pixels is reduced by a whole number.

    Raises:
        ValueError: If it has negative or infinite pixels, NaN, or some above 65535.
    """
    turn = _TURNS.get(_orientation(image))
    image = _reduced(image, least[::-1] if size_of(image) != image.size[::-1] else least)
    if turn is not None:
        image = image.transpose(turn)
    if image.has_transparency_data:
        image = _on_ground(image.convert("RGBA"))
    flat = image.convert(mode)
    # What it says of its orientation is no longer so: done twice, it would be turned twice.
    flat.info.clear()
    return flat


def white_of(image: Image.Image) -> float | None:
    """Return which number is white in an image of more than 8 bits; None for other images."""
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
    """Return an image of 8 bits a channel, an enormous one reduced by a whole number."""
    white = white_of(image)
    width, height = image.size
    by = 1
    if width * height > REDUCED_ABOVE:
        by = math.isqrt(4 * width * height // REDUCED_ABOVE)
        # Twice what is wanted, so that resampling has something to choose from.
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
    # NaN is neither.
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
    """Return the contrast with white that all but a few pixels, such as specks, stay below."""
    contrast = darkness.astype(np.uint16) * opacity // 255
    return float(np.percentile(contrast, 99.5))


def _extremes(channel: Image.Image) -> tuple[int, int]:
    low, high = channel.getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return int(low), int(high)
