"""Images of your own, in an `.npz` file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.datasets.images import LabelledImages
from tuner.errors import DataError

if TYPE_CHECKING:
    from tuner.schema import DataConfig

# What a damaged archive makes zipfile, zlib and NumPy raise.
_CORRUPT = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load(config: DataConfig) -> LabelledImages:
    """Read `config.path`, an archive of the arrays in `ARRAYS` and maybe `class_names`.

    Raises:
        DataError: If it is no such archive, naming the file and what is wrong with it.
    """
    return read(Path(str(config.path)))


def read(path: Path) -> LabelledImages:
    """Read an archive; without pickle, which would run what the file says.

    Args:
        path: A file written by `numpy.savez` or `numpy.savez_compressed`.

    Raises:
        DataError: If it is no such archive, naming the file and what is wrong with it.
    """
    check_file(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if missing := [name for name in ARRAYS if name not in archive]:
                raise DataError(
                    f"{path} must hold the arrays {', '.join(ARRAYS)}, but lacks "
                    f"{', '.join(missing)}; it has {', '.join(archive.files) or 'none'}."
                )
            x_train, y_train, x_test, y_test = (_array(path, archive, name) for name in ARRAYS)
            names = _array(path, archive, "class_names") if "class_names" in archive else None
    except _CORRUPT as error:
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}.") from error
    try:
        class_names = None if names is None else _class_names(names)
        return LabelledImages.from_arrays(x_train, y_train, x_test, y_test, class_names)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _class_names(names: npt.NDArray[Any]) -> tuple[str, ...]:
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


def check_file(path: Path) -> None:
    """Refuse what cannot be an `.npz` file, without reading it.

    Raises:
        DataError: If it does not exist, is a folder, is empty or is of another format.
    """
    what = "an .npz file made by numpy.savez"
    if not path.exists():
        raise DataError(f"`data.path` must be {what}, but {path} does not exist.")
    if path.is_dir():
        raise DataError(f"`data.path` must be {what}, but {path} is a folder.")
    if path.stat().st_size == 0:
        raise DataError(f"`data.path` must be {what}, but {path} is empty.")
    if not zipfile.is_zipfile(path):
        raise DataError(f"`data.path` must be {what}, but {path} is of another format.")


def _array(path: Path, archive: Any, name: str) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(
            f"{path}: `{name}` must be a plain array, but cannot be read without pickle, which "
            f"could run code of the file's: {error}."
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: `{name}` must be an array.")
    return array
