"""Decoded images of a folder, cached until a file in it changes, and memory-mapped.

Decoding tens of thousands of files takes most of a minute. A copy is an array and an index. It
is found again by the files' names, sizes and times, and used only if its checksum is right: a
damaged copy is made again.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tuner.datasets.class_folders import ClassFile
from tuner.errors import DataError
from tuner.runtime import files

logger = logging.getLogger(__name__)

# Raise it when the format changes: a copy in an older format would be misread.
_VERSION = 2
_PIXELS, _INDEX, _PART = "images.npy", "index.json", ".part"
_CHUNK = 16_000_000
_COPIED = 1024
_CANNOT_ALLOCATE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems that cannot allocate room beforehand."""
_ABANDONED_AFTER = 24 * 3600.0
"""Age in seconds after which an incomplete copy must be that of a killed process."""


@dataclass(frozen=True)
class Index:
    """Facts about decoded files besides their pixels.

    Attributes:
        left_out: Why files could not be used, by their numbers.
        remarks: Sentences on how files that were used were changed.
    """

    left_out: dict[int, str]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """The images of files.

    Attributes:
        pixels: uint8, one image for each file that is not left out; memory-mapped.
        index: Facts about the files besides their pixels.
    """

    pixels: npt.NDArray[np.uint8]
    index: Index


Decode = Callable[[Path], Index]
"""Writes the pixels to this `.npy` file; writes none if no image file can be used."""


def cached(
    root: Path, class_files: Sequence[ClassFile], settings: str, decode: Decode
) -> Decoded:
    """Return the decoded images of files from their copy, which is made if there is none.

    Older copies of the same folder with the same settings are removed. If the cache cannot be
    written, a temporary folder takes its place until this process ends.

    Args:
        root: The folder.
        class_files: The files in it.
        settings: Everything else that the pixels depend on.
        decode: Reads the files.

    Raises:
        DataError: If there is no room for them.
    """
    place = hashlib.sha256(os.fsencode(f"{os.path.realpath(root)}\0{settings}"))
    name = f"{place.hexdigest()[:16]}-{_key(root, class_files)}"
    try:
        folder = cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _without_cache(name, class_files, decode, error)
    if (kept := _read(folder / name)) is not None:
        return kept
    try:
        return _make(folder, name, class_files, decode)
    except OSError as error:
        return _without_cache(name, class_files, decode, error)


def cache_dir() -> Path:
    """Return the folder of the caches: `GLASSY_CACHE`, or one in the user's own cache.

    Raises:
        OSError: If the user has no home.
    """
    if named := os.environ.get("GLASSY_CACHE"):
        return Path(named).expanduser()
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError(str(error)) from error
    return Path(base) / "glassy" / "image_folder"


def _key(root: Path, class_files: Sequence[ClassFile]) -> str:
    sha = hashlib.sha256(f"{_VERSION}".encode())
    for file in class_files:
        sha.update(os.fsencode(f"{file.path.relative_to(root)}\0{file.stamp}\0{file.split}\0"))
    return sha.hexdigest()[:32]


def _read(copy: Path) -> Decoded | None:
    """Return a copy; None if there is none, or it is damaged."""
    try:
        if not copy.exists():
            return None
        said = json.loads((copy / _INDEX).read_bytes())
        pixels = np.load(copy / _PIXELS, mmap_mode="r", allow_pickle=False)
        if said["shape"] != list(pixels.shape) or said["crc32"] != _checksum(pixels):
            raise ValueError("its checksum is wrong")
        left_out = {int(number): why for number, why in said["left_out"].items()}
        return Decoded(pixels, Index(left_out, tuple(said["remarks"])))
    except (OSError, ValueError, EOFError, LookupError, TypeError, AttributeError) as error:
        if not copy.exists():
            # Another process has just put a newer one in its place.
            return None
        logger.warning(
            "The copy of the images in %s is damaged (%s): the files are read again.",
            copy,
            error,
        )
        shutil.rmtree(copy, ignore_errors=True)
        return None


def _make(folder: Path, name: str, class_files: Sequence[ClassFile], decode: Decode) -> Decoded:
    """Decode all files into a copy, which appears complete or not at all."""
    copy = folder / name
    logger.info("Reading %d files once; they are then kept in %s.", len(class_files), copy)
    begun = Path(tempfile.mkdtemp(dir=folder, prefix=f"{name}.", suffix=_PART))
    try:
        index = decode(begun / _PIXELS)
        if not (begun / _PIXELS).exists():
            return Decoded(np.empty((0, 1, 1), np.uint8), index)
        pixels = np.load(begun / _PIXELS, mmap_mode="r", allow_pickle=False)
        said = {"shape": pixels.shape, "crc32": _checksum(pixels), **asdict(index)}
        files.write(begun / _INDEX, json.dumps(said))
        files.sync_tree(begun)
        try:
            files.rename(begun, copy)
        except OSError:
            # Another process was faster, and has written the same.
            if not copy.exists():
                raise
        _remove_older(folder, name)
        return Decoded(np.load(copy / _PIXELS, mmap_mode="r", allow_pickle=False), index)
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def _remove_older(folder: Path, name: str) -> None:
    """Remove other copies of the same folder; processes that have mapped one keep it."""
    place, _, _ = name.partition("-")
    for other in folder.glob(f"{place}-*"):
        if other.name == name:
            continue
        try:
            is_abandoned = time.time() - other.stat().st_mtime > _ABANDONED_AFTER
        except OSError:
            continue
        if other.suffix != _PART or is_abandoned:
            shutil.rmtree(other, ignore_errors=True)


def _without_cache(
    name: str, class_files: Sequence[ClassFile], decode: Decode, error: OSError
) -> Decoded:
    """Decode into a temporary folder that is gone when this process ends."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="glassy-images-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        logger.warning(
            "The images cannot be kept in the cache (%s), so they will be read again next "
            "time. Name another folder for it in the environment variable GLASSY_CACHE.",
            error,
        )
        return _make(folder, name, class_files, decode)
    except OSError as second:
        raise DataError(
            f"The decoded images can be written neither to the cache ({error}) nor to a "
            f"temporary folder ({second}). Make room, or name a writable folder in the "
            f"environment variable GLASSY_CACHE."
        ) from second


def _checksum(pixels: npt.NDArray[np.uint8]) -> int:
    """Return a checksum; it takes a second per gigabyte or two, mostly reading the disk."""
    flat = pixels.reshape(-1)
    checksum = 0
    for begin in range(0, len(flat), _CHUNK):
        checksum = zlib.crc32(flat[begin : begin + _CHUNK].data, checksum)
    return checksum


def room_for(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Make a `.npy` file of uint8 and map it; its room on the disk is allocated at once.

    Raises:
        OSError: If there is no room. Later, a mapped page without room would kill the process.
    """
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno not in _CANNOT_ALLOCATE:
                    raise
    return pixels


def drop(pixels: npt.NDArray[np.uint8], path: Path, places: Sequence[int]) -> None:
    """Remove images from the file that `room_for` made, or the file if no image is left."""
    kept = np.delete(np.arange(len(pixels)), places)
    if not len(kept):
        path.unlink()
    elif len(kept) < len(pixels):
        other = path.with_name(f"other-{path.name}")
        others = room_for(other, (len(kept), *pixels.shape[1:]))
        for i in range(0, len(kept), _COPIED):
            others[i : i + _COPIED] = pixels[kept[i : i + _COPIED]]
        files.rename(other, path)
