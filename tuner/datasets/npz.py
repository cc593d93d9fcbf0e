"""Images of your own, in an `.npz` file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.datasets.images import LabelledImages
from tuner.errors import DataError

if TYPE_CHECKING:
    from tuner.config import DataConfig

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
        with np.load(path, allow_pickle=False) as archive:
            if missing := [name for name in ARRAYS if name not in archive]:
                raise DataError(
                    f"{path} must hold the arrays {', '.join(ARRAYS)}, but lacks "
                    f"{', '.join(missing)}; it has {', '.join(archive.files) or 'none'}."
                )
            x_train, y_train, x_test, y_test = (_array(path, archive, name) for name in ARRAYS)
            names = _array(path, archive, "class_names") if "class_names" in archive else None
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    try:
        class_names = None if names is None else tuple(str(name) for name in names)
        return LabelledImages.from_arrays(x_train, y_train, x_test, y_test, class_names)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


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
        raise DataError(
            f"{path}: `{name}` must be a plain array, but cannot be read without pickle, which "
            f"could run code of the file's: {error}."
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: `{name}` must be an array.")
    return array
