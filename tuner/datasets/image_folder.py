"""Image files in folders that are named by their classes.

Decoding tens of thousands of files takes most of a minute, so the pixels are kept in a cache
that is found again by the files' names, sizes and times, and mapped into memory from there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.model_selection import train_test_split

from tuner import images
from tuner.datasets.images import LabelledImages, Split
from tuner.errors import DataError

if TYPE_CHECKING:
    from tuner.schema import DataConfig

logger = logging.getLogger(__name__)

MAX_ODD_SHARE = 0.01
"""Share of the files that may be no images of the data set; more of them are an error."""

_MAX_NAMED = 10
_SPLIT_SEED = 0
# Of an older form would be read wrongly.
_CACHE_VERSION = 1
_GREY_MODES = ("1", "L", "LA")
_PIXELS, _INDEX = "images.npy", "odd.json"

Size = tuple[int, int]
"""Height and width."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _File:
    """A file in the folder of a class.

    Attributes:
        path: Where it is.
        split: `train`, `test`, or empty where there is one root for both.
        class_name: The folder's name.
        stamp: Size in bytes and time of the last change in nanoseconds.
    """

    path: Path
    split: str
    class_name: str
    stamp: tuple[int, int]


def load(config: DataConfig) -> LabelledImages:
    """Read the images in `train/<class>/` and `test/<class>/`, or in `<class>/` alone.

    The classes are the folders' names in alphabetical order. All images become grey if all
    files are, else RGB. They are brought to `image_size`; without it those are odd that are not
    of the size that most are of. Odd files, which also are those that cannot be read, that have
    several frames or more than 8 bits a channel, are left out and named in a warning; if they
    are more than `MAX_ODD_SHARE`, that is an error. Hidden files are passed over.

    Args:
        config: `path`; `image_size`, one number or height and width, or None; and `test_split`,
            the share of the images that judges where no folder `test` says which do.

    Raises:
        DataError: If the folders are not as they must be, or too many files are odd.
    """
    root = Path(str(config.path))
    size = _size(config.image_size)
    files = _files(root)
    cache = cache_dir() / _key(files, root, size)
    if not cache.exists():
        _decode(files, size, cache)
    odd = {int(i): why for i, why in json.loads((cache / _INDEX).read_text()).items()}
    _judge_odd(list(odd.values()), len(files), root)
    pixels = np.load(cache / _PIXELS, mmap_mode="r")
    return _labelled(
        pixels, [file for i, file in enumerate(files) if i not in odd], config.test_split
    )


def cache_dir() -> Path:
    """Return the folder of the caches; `GLASSY_CACHE` names another one than the user's."""
    if named := os.environ.get("GLASSY_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "glassy" / "image_folder"


def _size(given: Any) -> Size | None:
    if given is None:
        return None
    sides = given if isinstance(given, list | tuple) else [given, given]
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise DataError(
            f"`data.image_size` must be a whole number above 0, height and width "
            f"[height, width], or null, but got {given!r}."
        )
    return sides[0], sides[1]


def _files(root: Path) -> list[_File]:
    """Return all files in the folders of classes, in alphabetical order."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(
            f"`data.path` must be a folder with train/<class>/ and test/<class>/, or with "
            f"<class>/, but {root} {what}."
        )
    names = {entry.name for entry in os.scandir(root) if entry.is_dir()}
    splits = ("train", "test") if {"train", "test"} <= names else ("",)
    files: list[_File] = []
    classes: dict[str, set[str]] = {}
    for split in splits:
        folders = sorted(_visible(root / split), key=lambda entry: entry.name)
        folders = [folder for folder in folders if folder.is_dir()]
        if len(folders) < 2:
            raise DataError(
                f"{root / split} must hold a folder for each of at least two classes, but "
                f"holds {len(folders)}."
            )
        classes[split] = {folder.name for folder in folders}
        for folder in folders:
            found = sorted(_walk(folder.path), key=lambda entry: entry.path)
            if not found:
                raise DataError(
                    f"{folder.path} must hold images of the class {folder.name!r}, but is "
                    f"empty."
                )
            for entry in found:
                status = entry.stat()
                stamp = (status.st_size, status.st_mtime_ns)
                files.append(_File(Path(entry.path), split, folder.name, stamp))
    if unknown := sorted(classes.get("test", set()) - classes[splits[0]]):
        raise DataError(
            f"{root / 'test'} has the class {unknown[0]!r}, which {root / 'train'} lacks: "
            f"nothing could learn it."
        )
    return files


def _visible(folder: str | Path) -> Iterable[os.DirEntry[str]]:
    hidden = ("Thumbs.db", "desktop.ini")
    return (e for e in os.scandir(folder) if e.name[0] != "." and e.name not in hidden)


def _walk(folder: str | Path) -> Iterable[os.DirEntry[str]]:
    for entry in _visible(folder):
        if entry.is_dir():
            yield from _walk(entry.path)
        else:
            yield entry


def _key(files: Sequence[_File], root: Path, size: Size | None) -> str:
    sha = hashlib.sha256(f"{_CACHE_VERSION}{root.resolve()}{size}".encode())
    for file in files:
        sha.update(os.fsencode(f"{file.path.relative_to(root)}\0{file.stamp}"))
    return sha.hexdigest()[:32]


def _decode(files: Sequence[_File], size: Size | None, cache: Path) -> None:
    """Read all files into a cache, which is there as a whole or not at all."""
    logger.info("Reading %d files, once: they are kept in %s.", len(files), cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(dir=cache.parent, prefix=f"{cache.name}."))
    try:
        (begun / _INDEX).write_text(json.dumps(_decode_into(begun, files, size)))
        try:
            begun.rename(cache)
        except OSError:
            # Another process was faster, and has written the same.
            if not cache.exists():
                raise
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def _decode_into(folder: Path, files: Sequence[_File], size: Size | None) -> dict[int, str]:
    """Write the images, and return why files were left out, by their numbers."""
    heads = _each(lambda file: images.open_image(file.path, _head), files)
    odd = {i: str(head) for i, head in enumerate(heads) if isinstance(head, DataError)}
    known = {i: head for i, head in enumerate(heads) if not isinstance(head, DataError)}
    if not known:
        return odd
    if size is None:
        [(size, _)] = Counter(size for size, _ in known.values()).most_common(1)
        for i in [i for i, (own, _) in known.items() if own != size]:
            (height, width), _ = known.pop(i)
            odd[i] = (
                f"{files[i].path} is {height} pixels high and {width} wide, unlike most, which "
                f"are {size[0]} high and {size[1]} wide (data.image_size brings all to one "
                f"size)"
            )
    shape = size if all(is_grey for _, is_grey in known.values()) else (*size, 3)
    path = folder / _PIXELS
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (len(known), *shape))

    def read(place_and_number: tuple[int, int]) -> None:
        place, number = place_and_number
        pixels[place] = images.open_image(
            files[number].path, lambda image: images.resized(image, shape)
        )

    outcomes = _each(read, list(enumerate(known)))
    bad = [place for place, outcome in enumerate(outcomes) if outcome is not None]
    numbers = list(known)
    odd |= {numbers[place]: str(outcomes[place]) for place in bad}
    pixels.flush()
    if bad:
        np.save(path, np.delete(pixels, bad, axis=0))
    return dict(sorted(odd.items()))


def _each(use: Callable[[T], R], items: Sequence[T]) -> list[R | DataError]:
    """Call `use` with every item, on all cores, and return what it returns or raises."""

    def caught(item: T) -> R | DataError:
        try:
            return use(item)
        except DataError as error:
            return error

    with images.without_pillow_limit(), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(caught, items))


def _head(image: Image.Image) -> tuple[Size, bool]:
    """Return height and width of an opened image, and whether it is grey."""
    images.check_kind(image)
    width, height = image.size
    return (height, width), image.mode in _GREY_MODES


def _judge_odd(odd: Sequence[str], num_files: int, root: Path) -> None:
    """Warn of files that are left out, or refuse a folder with too many of them."""
    if not odd:
        return
    more = f"\n  … and {len(odd) - _MAX_NAMED} more" if len(odd) > _MAX_NAMED else ""
    named = "\n  ".join(odd[:_MAX_NAMED]) + more
    if len(odd) > MAX_ODD_SHARE * num_files:
        raise DataError(
            f"At most {MAX_ODD_SHARE:.0%} of the {num_files} files in {root} may be left out, "
            f"but {len(odd)} cannot be used:\n  {named}"
        )
    logger.warning("%d of %d files are left out:\n  %s", len(odd), num_files, named)


def _labelled(
    pixels: npt.NDArray[np.uint8], files: Sequence[_File], test_split: float
) -> LabelledImages:
    """Put pixels and files together, and set aside what judges."""
    names = tuple(sorted({file.class_name for file in files}))
    numbers = {name: i for i, name in enumerate(names)}
    whole = Split(pixels, np.array([numbers[file.class_name] for file in files], np.int64))
    if files[0].split:
        is_test = np.array([file.split == "test" for file in files])
        train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    else:
        # The same in every study, whatever its seed, so that test accuracies can be compared.
        try:
            train, test = train_test_split(
                np.arange(len(files)),
                test_size=test_split,
                stratify=whole.labels,
                random_state=_SPLIT_SEED,
            )
        except ValueError as error:
            raise DataError(
                f"`data.test_split={test_split}` cannot be taken from {len(files)} images in "
                f"{len(names)} classes: {error}"
            ) from error
        train, test = np.sort(train), np.sort(test)
    return LabelledImages(whole.take(train), whole.take(test), names)
