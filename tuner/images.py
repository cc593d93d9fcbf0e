"""Image files, read as a model of the registry wants its images."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from tuner.drawings import Form, Steps, prepare
from tuner.errors import DataError

T = TypeVar("T")

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
MAX_PIXELS = 100_000_000
"""Pixels above which a file is refused unread: a small file can claim to be enormous."""

FAULTS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for files that are damaged, or too large where its own limit holds."""


@dataclass(frozen=True)
class ImageFiles:
    """Image files and what is in them.

    Attributes:
        paths: The files, in alphabetical order.
        images: uint8 `(num_files, *image_shape)`.
    """

    paths: tuple[Path, ...]
    images: npt.NDArray[np.uint8]


def find(root: Path, key: str = "images") -> list[Path]:
    """Return a file itself, or all image files in a folder and its subfolders.

    Args:
        root: A file, of any ending, or a folder, of which files with other endings than
            `SUFFIXES` are passed over.
        key: The configuration's, for the message.

    Raises:
        DataError: If there is no such file or folder, or no image in it.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(
            f"`{key}` must be an image file or a folder, but {root} does not exist."
        )
    found = sorted(
        path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not found:
        raise DataError(f"`{key}={root}` holds no image file ({', '.join(SUFFIXES)}).")
    return found


def check(paths: Sequence[Path]) -> None:
    """Refuse files that are no images, by their first bytes: a quick look before long work.

    Args:
        paths: The files.

    Raises:
        DataError: If any of them is none, naming all that are not.
    """
    _for_each(paths, lambda image: None)


def read(
    paths: Sequence[Path],
    image_shape: tuple[int, ...],
    form: Form | None = None,
    steps: Steps | None = None,
) -> ImageFiles:
    """Read image files and bring them to one shape.

    Transparent pixels become white, as on paper. Colours become grey where the model takes grey
    images. Without a form, or with no step to take, sizes are changed by Lanczos resampling.

    Args:
        paths: The files.
        image_shape: `(height, width)` or `(height, width, channels)`, of the model.
        form: How drawings look in the model's data set; see `tuner.drawings.prepare`.
        steps: Which steps are taken to bring them to that form; all by default.

    Raises:
        DataError: If any of them is no image, naming all that are not; none is left out
        silently.
    """

    def use(image: Image.Image) -> npt.NDArray[np.uint8]:
        return fitted(image, image_shape, form, steps)

    return ImageFiles(tuple(paths), np.stack(_for_each(paths, use)))


def fitted(
    image: Image.Image,
    image_shape: tuple[int, ...],
    form: Form | None = None,
    steps: Steps | None = None,
) -> npt.NDArray[np.uint8]:
    """Bring one opened image to a model's shape, as `read` does with files.

    Raises:
        ValueError: If it has more than one frame, or more than 8 bits a channel.
    """
    steps = steps or Steps()
    if form is None or not steps.any:
        return resized(image, image_shape)
    return prepare(np.asarray(flattened(image, "L")), image_shape, form, steps)


def thumbnail(path: Path, side: int) -> npt.NDArray[np.uint8]:
    """Return a small picture of an image file, RGB `(height, width, 3)`, no side above `side`.

    Raises:
        DataError: If it is no image.
    """

    def use(image: Image.Image) -> npt.NDArray[np.uint8]:
        small = flattened(image, "RGB")
        small.thumbnail((side, side), Image.Resampling.BOX)
        return np.asarray(small)

    with without_pillow_limit():
        return open_image(path, use)


def class_of(path: Path, class_names: Sequence[str]) -> str | None:
    """Return the class that a file's folder or, failing that, its name says; None without one.

    The folder comes first: files in the folder of a class are often numbered.
    """
    for name in (path.resolve().parent.name, path.stem):
        if name in class_names:
            return name
    return None


def _for_each(paths: Sequence[Path], use: Callable[[Image.Image], T]) -> list[T]:
    results, faults = [], []
    with without_pillow_limit():
        for path in paths:
            try:
                results.append(open_image(path, use))
            except DataError as error:
                faults.append(str(error))
    if faults:
        more = f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise DataError("\n  ".join(faults[:20]) + more)
    return results


def open_image(path: Path, use: Callable[[Image.Image], T]) -> T:
    """Open an image file and return what `use` makes of it; call it `without_pillow_limit`.

    Args:
        path: The file.
        use: May raise what Pillow does, and `ValueError` with a reason.

    Raises:
        DataError: If it is no image that can be used.
    """
    if path.stat().st_size == 0:
        raise DataError(f"{path} must be an image, but is empty (0 bytes).")
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"{path} must have at most {MAX_PIXELS:,} pixels, but claims {width:,} x "
                    f"{height:,}."
                )
            return use(image)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path} must be an image, but is of no format that is known."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path} must have at most {Image.MAX_IMAGE_PIXELS:,} pixels, but claims more."
        ) from error
    except FAULTS as error:
        raise DataError(f"{path} cannot be read as an image: {error}.") from error


def resized(image: Image.Image, image_shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return an image in the shape of a data set's, uint8, by Lanczos resampling."""
    height, width = image_shape[:2]
    mode = "RGB" if len(image_shape) == 3 and image_shape[2] == 3 else "L"
    flat = flattened(image, mode).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(flat, dtype=np.uint8).reshape(image_shape)


def tile(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return an image as RGB `(height, width, 3)`, with its longer side of so many pixels.

    Args:
        image: uint8 `(height, width)` or `(height, width, 1 or 3)`.
        side: In pixels.
    """
    pixels = image[..., 0] if image.shape[2:] == (1,) else image
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).convert("RGB").resize(size, how))


def check_kind(image: Image.Image) -> None:
    """Refuse an opened image that is not one picture of 8 bits a channel.

    Raises:
        ValueError: If it has more than one frame, or more than 8 bits a channel.
    """
    if (num_frames := getattr(image, "n_frames", 1)) > 1:
        raise ValueError(f"it has {num_frames} frames")
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise ValueError(f"it has more than 8 bits a channel (mode {image.mode})")


def flattened(image: Image.Image, mode: str) -> Image.Image:
    """Return an image the way up it was taken, without transparency, grey or in colours.

    Args:
        image: As it was opened.
        mode: `L` or `RGB`.

    Raises:
        ValueError: If it has more than one frame, or more than 8 bits a channel.
    """
    check_kind(image)
    # A camera says beside the pixels which way is up.
    image = ImageOps.exif_transpose(image)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert(mode)


@contextlib.contextmanager
def without_pillow_limit() -> Iterator[None]:
    """Set Pillow's limit of pixels aside, which warns first and allows twice as much.

    `MAX_PIXELS` stands in for it. It is one for all threads: set it aside around them all.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
