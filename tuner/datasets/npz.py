"""Images of your own, in an `.npz` file."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psutil
from numpy.lib.npyio import NpzFile

from tuner.datasets.images import LabelledImages
from tuner.errors import DataError
from tuner.images import folders
from tuner.images.folders import shown

if TYPE_CHECKING:
    from tuner.config.schema import DataConfig

# The exceptions that zipfile, zlib and NumPy raise for a damaged archive.
_CORRUPT = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, SyntaxError, TypeError,
    OverflowError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_VALIDATION = ("val", "valid", "validation")
"""Endings of `x_` and `y_` that name validation images."""

_LOOKED_AT_ABOVE = 100_000_000
_MAX_RATIO = 300
"""Unpacked bytes per byte in the file. An array of more than `_LOOKED_AT_ABOVE` bytes and above
this ratio holds no images: photographs unpack to at most 2 bytes per byte, drawings with one
bit per pixel to some 60."""


def load(config: DataConfig) -> LabelledImages:
    """Read `config.path`, an archive of the arrays in `ARRAYS`.

    There may be `class_names`, and `x_val` and `y_val` (or `…_valid`, `…_validation`).

    Raises:
        DataError: If it is not such an archive; the message names the file and the fault.
    """
    return read(Path(str(config.path)))


def read(path: Path) -> LabelledImages:
    """Read an archive, without pickle, which would run code from the file.

    Args:
        path: A file written by `numpy.savez` or `numpy.savez_compressed`.

    Raises:
        DataError: If it is not such an archive; the message names the file and the fault.
    """
    check_file(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if missing := [name for name in ARRAYS if name not in archive]:
                raise DataError(
                    f"{path} must hold the arrays {', '.join(ARRAYS)}, but lacks "
                    f"{', '.join(missing)}; it has {', '.join(archive.files) or 'none'}."
                )
            validation = _validation_names(path, archive)
            wanted = [*ARRAYS, *validation]
            wanted += ["class_names"] if "class_names" in archive else []
            _check_room(path, archive, wanted)
            arrays = {name: _array(path, archive, name) for name in wanted}
    except _CORRUPT as error:
        raise DataError(
            f"{path} cannot be read: {str(error) or type(error).__name__}."
        ) from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory.") from error
    names = arrays.pop("class_names", None)
    try:
        class_names = None if names is None else _class_names(names)
        given = dict(zip(("x_validation", "y_validation"), validation, strict=False))
        return LabelledImages.from_arrays(
            **{name: arrays[name] for name in ARRAYS},
            class_names=class_names,
            **{name: arrays[called] for name, called in given.items()},
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _class_names(names: npt.NDArray[np.generic]) -> tuple[str, ...]:
    if names.ndim != 1:
        raise DataError(
            f"`class_names` must be of shape (classes,), but is of shape {names.shape}."
        )
    try:
        return tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names.tolist())
    except UnicodeDecodeError as error:
        raise DataError(
            f"`class_names` must be text or UTF-8, but holds {error.object!r}."
        ) from error


def _validation_names(path: Path, archive: NpzFile) -> tuple[str, ...]:
    """Return the names of the validation arrays, images and labels; empty if there are none."""
    found = [
        (f"x_{end}", f"y_{end}")
        for end in _VALIDATION
        if f"x_{end}" in archive or f"y_{end}" in archive
    ]
    if len(found) > 1:
        raise DataError(f"{path} must hold one validation split, but has {found}.")
    for name in found[0] if found else ():
        if name not in archive:
            raise DataError(f"{path} must hold {' and '.join(found[0])}, but lacks {name}.")
    return found[0] if found else ()


def _check_room(path: Path, archive: Any, names: Sequence[str]) -> None:
    """Refuse, unread, arrays that claim more than they hold or more than memory holds.

    An array's header claims any shape in a few bytes, and a zip file can unpack megabytes to
    gigabytes of zeros.
    """
    total = 0
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        member = name if name in archive.zip.namelist() else f"{name}.npy"
        info = archive.zip.getinfo(member)
        with archive.zip.open(info) as file:
            header = _header(file)
        if header is None:
            raise DataError(f"{path}: `{name}` must be a plain array.")
        if header.is_pickled:
            # Reading it will be refused, with the reason.
            continue
        num_bytes, shapes[name] = header.num_bytes, header.shape
        if num_bytes + header.size != info.file_size:
            raise DataError(
                f"{path}: `{name}` claims the shape {shapes[name]}, {num_bytes:,} bytes, but "
                f"the file holds {max(info.file_size - header.size, 0):,} bytes of it."
            )
        packed = max(info.compress_size, 1)
        if num_bytes > _LOOKED_AT_ABOVE and num_bytes > _MAX_RATIO * packed:
            raise DataError(
                f"{path}: `{name}` unpacks from {packed:,} bytes to {num_bytes:,}, which no "
                f"images do. If it does hold images, write the file with numpy.savez, which "
                f"does not compress."
            )
        total += num_bytes
    if total > _LOOKED_AT_ABOVE:
        _check_shapes(path, shapes)
    free = psutil.virtual_memory().available
    if total > free:
        raise DataError(
            f"{path} needs {total:,} bytes of memory, but {free:,} are free. Give fewer or "
            f"smaller images, or a folder of image files (data=image_folder), which need not "
            f"fit into memory."
        )


def _check_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse arrays that do not fit together, which is cheaper than reading them first."""
    for x, y in (("x_train", "y_train"), ("x_test", "y_test")):
        if x in shapes and y in shapes and shapes[x][:1] != shapes[y][:1]:
            raise DataError(
                f"{path}: `{x}` and `{y}` must be of one length, but have "
                f"{(*shapes[x], 0)[0]} images and {(*shapes[y], 0)[0]} labels."
            )
    train, test = shapes.get("x_train", ()), shapes.get("x_test", ())
    if len(train) > 2 and len(test) > 2 and train[1:] != test[1:]:
        raise DataError(
            f"{path}: `x_train` and `x_test` must hold images of one shape, but got "
            f"{train[1:]} and {test[1:]}."
        )


@dataclass(frozen=True)
class _Header:
    """An array's header: its shape, the bytes of the array, and the size of the header."""

    shape: tuple[int, ...]
    num_bytes: int
    is_pickled: bool
    size: int


def _header(file: IO[bytes]) -> _Header | None:
    """Read an array's header; None if it is not that of a plain array."""
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        return None
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        return None
    num_bytes = math.prod(shape) * dtype.itemsize
    return _Header(shape, num_bytes, bool(dtype.hasobject), file.tell())


def check_file(path: Path) -> None:
    """Refuse a path that cannot be an `.npz` file, without reading it.

    Raises:
        DataError: If it does not exist, is a folder, is empty or is of another format.
    """
    what = "an .npz file made by numpy.savez"
    name = shown(path)
    kind = folders.kind_of(path)
    if kind == "folder":
        raise DataError(f"`data.path` must be {what}, but {name} is a folder.")
    if kind != "file":
        raise DataError(f"`data.path` must be {what}, but {name} {kind}.")
    try:
        is_empty, is_archive = path.stat().st_size == 0, zipfile.is_zipfile(path)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}.") from error
    if is_empty:
        raise DataError(f"`data.path` must be {what}, but {name} is empty.")
    if not is_archive:
        raise DataError(f"`data.path` must be {what}, but {name} is of another format.")


def _array(path: Path, archive: NpzFile, name: str) -> npt.NDArray[np.generic]:
    try:
        array: npt.NDArray[np.generic] = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(
            f"{path}: `{name}` must be a plain array, but cannot be read without pickle, which "
            f"could run code from the file: {error}."
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: `{name}` must be an array.")
    return array
