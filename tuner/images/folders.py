"""Which files in a folder are images: one rule for training, prediction, reports and the page.

A file counts as an image by its suffix or, if that is unknown, by its first bytes. Files that
the system or another program has left among the images are skipped silently; a file that seems
to be an image but cannot be used is left out and named.
"""

import logging
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tuner.errors import DataError

logger = logging.getLogger(__name__)

FORMATS = (
    "PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX",
    "SGI", "QOI", "DDS", "PSD",
)  # fmt: skip
"""Pillow's formats that are read, all recognised by their first bytes. The other formats that
it knows are documents, need a separate program (PostScript), or would take text for an image.
Among those, TGA is read if the suffix says so."""

SUFFIXES = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib", ".gif", ".webp",
    ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".jpx", ".avif",
    ".avifs", ".ico", ".pcx", ".sgi", ".qoi", ".dds", ".psd", ".tga",
})  # fmt: skip
"""Suffixes of these formats, in upper or lower case: such a file must be an image."""

UNREADABLE = frozenset({
    ".heic", ".heif", ".hif", ".jxl", ".svg", ".xcf", ".eps", ".exr", ".hdr", ".dng", ".cr2",
    ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dcm", ".fits", ".djvu", ".wmf", ".emf",
})  # fmt: skip
"""Suffixes of images that Pillow does not read: left out and named, with a remedy."""

_NO_IMAGES = frozenset({
    ".txt", ".md", ".rst", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml",
    ".ini", ".cfg", ".html", ".htm", ".log", ".py", ".ipynb", ".pdf", ".npy", ".npz", ".pkl",
    ".mat", ".h5", ".hdf5", ".zip", ".gz", ".tar", ".rar", ".7z", ".db", ".sqlite", ".doc",
    ".docx", ".xls", ".xlsx", ".lnk", ".url", ".sh", ".bat", ".mp4", ".mov", ".avi", ".mp3",
    ".wav",
})  # fmt: skip
"""Suffixes of files that are never opened: they may lie among the images, one for each."""

_PASSED_OVER = frozenset({
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "__pycache__", "@eadir",
    "$recycle.bin", "system volume information", "lost+found", "icon\r",
})  # fmt: skip
"""Names, in lower case, of files that systems leave; hidden names begin with a full stop."""

MAX_LEFT_OUT_SHARE = 0.01
MIN_LEFT_OUT = 3
"""It is an error to leave out at least this many files if they exceed the share above."""

_MAX_NAMED = 10
_MAX_LINKS = 4
"""Depth to which nested links to folders are followed: a web of links has too many paths."""

Identity = tuple[int, int]
"""Device and inode of a folder, the same whatever path leads to it."""


@dataclass(frozen=True)
class FoundImage:
    """A file that counts as an image.

    Attributes:
        path: Path of the file.
        stamp: Size in bytes and time of the last change in nanoseconds.
    """

    path: Path
    stamp: tuple[int, int]


@dataclass(frozen=True)
class Found:
    """The content of a folder and those below it.

    Attributes:
        images: The images, in the order of their folders and names.
        left_out: One sentence per item that seems to be an image but cannot be used.
        num_others: Number of files of other kinds that were skipped, hidden ones not counted.
    """

    images: tuple[FoundImage, ...]
    left_out: tuple[str, ...]
    num_others: int = 0


def images_below(folder: Path, above: Sequence[Path] = ()) -> Found:
    """Look for images in a folder and those below it; links are followed, but not in a cycle.

    Args:
        folder: The folder.
        above: Folders through which it was reached: a link to one of them, or to a parent of
            `folder`, would be a cycle.
    """
    holders = (*above, *Path(os.path.realpath(folder)).parents)
    chain = frozenset(filter(None, map(_identity, holders)))
    return _search([_Step(folder, chain, 0)])


@dataclass(frozen=True)
class Children:
    """The direct content of one folder.

    Attributes:
        folders: Folders and links to folders, in natural order of their names.
        loose: Images and items left out that are in none of these folders.
    """

    folders: tuple[Path, ...]
    loose: Found


def children(folder: Path) -> Children:
    """Return the direct content of a folder, without the names that are skipped.

    Raises:
        DataError: If the folder cannot be read.
    """
    try:
        names = sorted(_visible(folder), key=natural)
    except OSError as error:
        raise DataError(f"{shown(folder)} cannot be read: {_reason(error)}.") from error
    paths = [folder / name for name in names]
    folders = tuple(path for path in paths if _is_folder(path))
    rest = [_Step(path, frozenset(), 0) for path in paths if path not in set(folders)]
    return Children(folders, _search(rest))


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts names as people do: `2` before `10`, `img9` before `img10`."""
    parts: list[str | int] = [*re.split(r"([0-9]+)", name)]
    parts[1::2] = [int(str(part)) for part in parts[1::2]]
    return parts, name


def shown(name: str | Path) -> str:
    r"""Return a file's or a folder's name as valid text, so that it can be printed and kept.

    Bytes that are not UTF-8 appear as `\xfc`. Letters with accents are composed: macOS
    decomposes them.
    """
    try:
        content = os.fsencode(name)
    except UnicodeEncodeError:
        # Text that is not from the file system, where file names are ASCII or UTF-16.
        content = str(name).encode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", content.decode("utf-8", "backslashreplace"))


def kind_of(path: Path) -> str:
    """Return `file`, `folder`, or why the path is neither, such as `does not exist`."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        return _why_not(path, error)
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "is neither a file nor a folder"


def formats_of(path: Path) -> tuple[str, ...]:
    """Return the formats, as Pillow calls them, that a file may be of."""
    return (*FORMATS, "TGA") if path.suffix.lower() == ".tga" else FORMATS


def refuse_left_out(left_out: Sequence[str], num_files: int, root: Path) -> None:
    """Refuse a folder if too many of its files would be left out.

    Args:
        left_out: One sentence per file that is left out.
        num_files: Number of all files, these included.
        root: The folder.

    Raises:
        DataError: If they are more than one in a hundred, and at least three.
    """
    if len(left_out) >= MIN_LEFT_OUT and len(left_out) > MAX_LEFT_OUT_SHARE * num_files:
        raise DataError(
            f"At most {MAX_LEFT_OUT_SHARE:.0%} of the {num_files} files in {shown(root)} may "
            f"be left out (or {MIN_LEFT_OUT - 1} files), but {len(left_out)} cannot be used:"
            f"{_named(left_out)}\nRepair them, or remove them from the folder."
        )


def judge_left_out(left_out: Sequence[str], num_files: int, root: Path) -> None:
    """Warn of files that are left out, or refuse a folder with too many of them.

    Arguments and errors are those of `refuse_left_out`.
    """
    refuse_left_out(left_out, num_files, root)
    if left_out:
        logger.warning("Left out %d of %d files:%s", len(left_out), num_files, _named(left_out))


def _named(left_out: Sequence[str]) -> str:
    more = [f"… and {len(left_out) - _MAX_NAMED} more"] if len(left_out) > _MAX_NAMED else []
    return "".join(f"\n  {sentence}" for sentence in [*left_out[:_MAX_NAMED], *more])


@dataclass(frozen=True)
class _Step:
    """A path still to be searched, the folders above it, and the number of links among them."""

    path: Path
    chain: frozenset[Identity]
    num_links: int


def _search(steps: Sequence[_Step]) -> Found:
    """Search paths and everything below them, in order."""
    found: list[FoundImage] = []
    left_out: list[str] = []
    num_others = 0
    # No recursion: folders may be nested more deeply than Python calls functions.
    waiting = list(reversed(steps))
    while waiting:
        step = waiting.pop()
        try:
            status = os.stat(step.path)
            if stat.S_ISDIR(status.st_mode):
                below = _below(step, (status.st_dev, status.st_ino))
                waiting.extend(reversed(list(below)))
            elif not _is_image(step.path, status.st_mode):
                num_others += 1
            elif not stat.S_ISREG(status.st_mode):
                left_out.append(f"{shown(step.path)} must be a file, but is not.")
            else:
                stamp = (status.st_size, status.st_mtime_ns)
                found.append(FoundImage(step.path, stamp))
        except OSError as error:
            if step.path.suffix.lower() in _NO_IMAGES:
                num_others += 1
            else:
                left_out.append(f"{shown(step.path)} {_why_not(step.path, error)}.")
        except _NotFollowed as error:
            left_out.append(f"{shown(step.path)} {error}.")
    return Found(tuple(found), tuple(left_out), num_others)


class _NotFollowed(Exception):
    """Why a link to a folder is not followed."""


def _below(step: _Step, identity: Identity) -> Iterator[_Step]:
    if identity in step.chain:
        raise _NotFollowed("is a link to a folder that contains it")
    num_links = step.num_links + step.path.is_symlink()
    if num_links > _MAX_LINKS:
        raise _NotFollowed(f"is a link within {_MAX_LINKS} others, so it is not followed")
    chain = step.chain | {identity}
    names = sorted(_visible(step.path))
    return (_Step(step.path / name, chain, num_links) for name in names)


def _visible(folder: Path) -> list[str]:
    return [
        name
        for name in os.listdir(folder)
        if not name.startswith(".") and name.lower() not in _PASSED_OVER
    ]


def _is_folder(path: Path) -> bool:
    return kind_of(path) == "folder"


def _identity(folder: Path) -> Identity | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_image(path: Path, mode: int) -> bool:
    """Say whether a file counts as an image, so that being unreadable is an error."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or suffix in UNREADABLE:
        return True
    if suffix in _NO_IMAGES or not stat.S_ISREG(mode):
        return False
    try:
        with Image.open(path, formats=formats_of(path)):
            return True
    except Exception:
        # Any exception: the file may hold anything, and does not claim to be an image.
        return False


def _why_not(path: Path, error: OSError | ValueError) -> str:
    if os.path.islink(path) and not os.path.lexists(os.path.realpath(path)):
        return f"is a link to {shown(os.readlink(path))}, which does not exist"
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return f"cannot be read ({_reason(error)})"


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
