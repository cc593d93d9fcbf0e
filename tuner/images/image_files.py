"""Image files, read in the shape that a model expects."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tuner import drawings
from tuner.drawings import Form, Steps
from tuner.errors import DataError
from tuner.images import folders, pixels
from tuner.images.folders import shown
from tuner.images.pixels import flattened

__all__ = [
    "FAULTS", "MAX_PIXELS", "Chosen", "ImageFiles", "check", "find", "fitted", "flattened",
    "open_image", "read", "resized", "thumbnail", "tile", "without_pillow_limit",
]  # fmt: skip

T = TypeVar("T")

MAX_PIXELS = 100_000_000
"""Number of pixels above which a file is refused unread: a small file can claim any size."""

FAULTS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    # Raised by Pillow's readers for damaged fields, each in its own way.
    ArithmeticError,
    LookupError,
    EOFError,
    MemoryError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""Exceptions that Pillow raises for files that are damaged or exceed its own pixel limit."""


@dataclass(frozen=True)
class Chosen:
    """Image files that were chosen by one path.

    Attributes:
        root: The file or folder that was given.
        paths: The files, in alphabetical order.
        left_out: One sentence per item in the folder that cannot be read.
    """

    root: Path
    paths: tuple[Path, ...]
    left_out: tuple[str, ...] = ()

    @property
    def num_files(self) -> int:
        """Number of files, including those left out."""
        return len(self.paths) + len(self.left_out)


@dataclass(frozen=True)
class ImageFiles:
    """Image files and their content.

    Attributes:
        paths: The files, in the given order.
        images: uint8 `(num_files, *image_shape)`.
        has_ink: Whether there is anything to see, bool `(num_files,)`: false for a blank or
            black drawing, and for a picture that is fully transparent.
        left_out: One sentence per file that could not be read and was left out.
    """

    paths: tuple[Path, ...]
    images: npt.NDArray[np.uint8]
    has_ink: npt.NDArray[np.bool_]
    left_out: tuple[str, ...] = ()


def find(root: Path, key: str = "images") -> Chosen:
    """Return a file itself, or all images in a folder and those below it.

    Args:
        root: A file with any suffix, or a folder; `tuner.images.folders` says which of its
            files count.
        key: The configuration's key, for the message.

    Raises:
        DataError: If there is no such file or folder, or no image in it.
    """
    kind = folders.kind_of(root)
    if kind == "file":
        return Chosen(root, (root,))
    if kind != "folder":
        raise DataError(f"`{key}` must be an image file or a folder, but {shown(root)} {kind}.")
    found = folders.images_below(root)
    if not found.images:
        named = "".join(f"\n  {sentence}" for sentence in found.left_out[:10])
        others = f"; files of other kinds: {found.num_others}" if found.num_others else ""
        raise DataError(
            f"`{key}={shown(root)}` holds no image files (.png, .jpg, .bmp, .gif, .webp, .tif, "
            f".pgm and others){others}.{named}"
        )
    return Chosen(root, tuple(image.path for image in found.images), found.left_out)


def check(chosen: Chosen, decode: bool = False) -> Chosen:
    """Leave out files whose first bytes are not an image's: a quick check before long work.

    Args:
        chosen: The files.
        decode: Whether to read all of each file, so that truncated ones are left out too.

    Returns:
        The other files, with a sentence for each file that is left out.

    Raises:
        DataError: If none of them is an image, naming them, or if more are left out than
            `folders.refuse_left_out` allows.
    """
    good, faults = _for_each(chosen.paths, lambda image: image.load() if decode else None)
    if not good:
        raise _cannot_be_read(faults)
    left = Chosen(chosen.root, tuple(path for path, _ in good), (*chosen.left_out, *faults))
    folders.refuse_left_out(left.left_out, left.num_files, left.root)
    return left


def read(
    paths: Sequence[Path],
    image_shape: tuple[int, ...],
    form: Form | None = None,
    steps: Steps | None = None,
    *,
    may_leave_out: bool = False,
) -> ImageFiles:
    """Read image files and bring them to one shape.

    Colours become greyscale if the model takes greyscale images; `pixels.flattened` says what
    becomes of transparency and of more than 8 bits. Without a form, or with no step to take,
    images are resized by Lanczos resampling.

    Args:
        paths: The files.
        image_shape: The model's `(height, width)` or `(height, width, channels)`.
        form: Form of the drawings in the model's data set; see `tuner.drawings.prepare`.
        steps: The steps that bring them into that form; all by default.
        may_leave_out: Leave out unreadable files and name them in the result, for
            `folders.judge_left_out`.

    Raises:
        DataError: If any of them (with `may_leave_out`: all) is not an image, naming them.
    """

    def use(image: Image.Image) -> tuple[npt.NDArray[np.uint8], bool]:
        is_clear = pixels.is_clear(image)
        prepared = fitted(image, image_shape, form, steps)
        return prepared, not is_clear and (form is None or drawings.has_ink(prepared))

    found, faults = _for_each(paths, use)
    if faults and (not may_leave_out or not found):
        raise _cannot_be_read(faults)
    return ImageFiles(
        tuple(path for path, _ in found),
        np.stack([image for _, (image, _) in found]),
        np.array([has_ink for _, (_, has_ink) in found]),
        tuple(faults),
    )


def fitted(
    image: Image.Image,
    image_shape: tuple[int, ...],
    form: Form | None = None,
    steps: Steps | None = None,
) -> npt.NDArray[np.uint8]:
    """Bring one opened image to a model's shape, as `read` does with files.

    `drawings.has_ink` says whether the result has any ink.

    Raises:
        ValueError: If its pixels are not valid brightness; see `pixels.flattened`.
    """
    steps = steps or Steps()
    if form is None or not steps.any:
        return resized(image, image_shape)
    height, width = image_shape[:2]
    flat = flattened(image, "L", (height, width))
    return drawings.prepare(np.asarray(flat), image_shape, form, steps)


def thumbnail(path: Path, side: int) -> npt.NDArray[np.uint8]:
    """Return a small picture of an image file, RGB `(height, width, 3)`, no side above `side`.

    Raises:
        DataError: If it is not an image.
    """

    def use(image: Image.Image) -> npt.NDArray[np.uint8]:
        small = flattened(image, "RGB")
        small.thumbnail((side, side), Image.Resampling.BOX)
        return np.asarray(small)

    with without_pillow_limit():
        return open_image(path, use)


def _for_each(
    paths: Sequence[Path], use: Callable[[Image.Image], T]
) -> tuple[list[tuple[Path, T]], list[str]]:
    """Return the result of `use` for each file, and why the others cannot be read."""
    results, faults = [], []
    with without_pillow_limit():
        for path in paths:
            try:
                results.append((path, open_image(path, use)))
            except DataError as error:
                faults.append(str(error))
    return results, faults


def _cannot_be_read(faults: Sequence[str]) -> DataError:
    more = f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else ""
    return DataError("\n  ".join(faults[:20]) + more)


def open_image(path: Path, use: Callable[[Image.Image], T]) -> T:
    """Open an image file and return the result of `use`; call it `without_pillow_limit`.

    Args:
        path: The file.
        use: May raise Pillow's exceptions, and `ValueError` with a reason.

    Raises:
        DataError: If it is not a usable image.
    """
    name = shown(path)
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{name} must be an image, but is empty (0 bytes).")
        with Image.open(path, formats=folders.formats_of(path)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"{name} must have at most {MAX_PIXELS:,} pixels, but claims {width:,} x "
                    f"{height:,}."
                )
            return use(image)
    except UnidentifiedImageError as error:
        suffix = path.suffix.lower()
        how = f" ({suffix}: convert it to PNG)" if suffix in folders.UNREADABLE else ""
        raise DataError(f"{name} must be an image, but its format is unknown{how}.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{name} must have at most {Image.MAX_IMAGE_PIXELS:,} pixels, but claims more."
        ) from error
    except FAULTS as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{name} cannot be read as an image: {reason}.") from error


def resized(image: Image.Image, image_shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return an image in the shape of a data set's images, uint8, by Lanczos resampling."""
    height, width = image_shape[:2]
    mode = "RGB" if len(image_shape) == 3 and image_shape[2] == 3 else "L"
    flat = flattened(image, mode, (height, width)).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    return np.asarray(flat, dtype=np.uint8).reshape(image_shape)


def tile(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return an image as RGB `(height, width, 3)`, resized to a longer side of `side`.

    Args:
        image: uint8 `(height, width)` or `(height, width, 1 or 3)`.
        side: Length of the longer side, in pixels.
    """
    pixels = image[..., 0] if image.shape[2:] == (1,) else image
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).convert("RGB").resize(size, how))


@contextlib.contextmanager
def without_pillow_limit() -> Iterator[None]:
    """Suspend Pillow's limit of pixels, which only warns until an image exceeds it twofold.

    `MAX_PIXELS` replaces it. The limit is shared by all threads: suspend it around all of them.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
