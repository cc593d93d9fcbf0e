"""Image files in folders that are named after their classes.

`class_folders` finds the files, this module turns them into images, and `image_cache` keeps
these.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.model_selection import train_test_split

from tuner.datasets import class_folders, image_cache
from tuner.datasets.class_folders import ClassFile
from tuner.datasets.image_cache import Index
from tuner.datasets.images import LabelledImages, Split
from tuner.errors import DataError
from tuner.images import folders, image_files, pixels
from tuner.images.folders import shown
from tuner.wording import plural

if TYPE_CHECKING:
    from tuner.config.schema import DataConfig

logger = logging.getLogger(__name__)

_SPLIT_SEED = 0

Size = tuple[int, int]
"""Height and width."""
T = TypeVar("T")
R = TypeVar("R")


def load(config: DataConfig) -> LabelledImages:
    """Read the images in `<split>/<class>/`, or in `<class>/` alone.

    The classes are the folders' names in natural order. A folder of validation images, if there
    is one, is the validation split. If every file is greyscale, so is the data set; otherwise
    it is RGB. Images are resized to `image_size`; if that is None, images that do not have the
    most frequent size are left out. Sizes are those of the images turned the way up they were
    taken. Files that cannot be used are left out and named in a warning; more of them than
    `folders.judge_left_out` allows are an error. `pixels.flattened` describes what becomes of
    several frames, transparency and more than 8 bits.

    Args:
        config: The group `data`: `path`; `image_size`, one number or height and width, or
            None; and `test_split`, the share of test images where there is no test folder.

    Raises:
        DataError: If the folders are not laid out as required, or too many files are unusable.
    """
    root = Path(str(config.path))
    size = _size(config.image_size)
    found = class_folders.read(root)

    def decode(path: Path) -> Index:
        return _decode(path, found.files, size)

    decoded = image_cache.cached(root, found.files, f"{size}", decode)
    left_out = [*found.left_out, *decoded.index.left_out.values()]
    folders.judge_left_out(left_out, len(found.files) + len(found.left_out), root)
    for remark in decoded.index.remarks:
        logger.warning("%s", remark)
    used = [file for i, file in enumerate(found.files) if i not in decoded.index.left_out]
    _check_classes(used, found.class_names, left_out)
    return _labelled(decoded.pixels, used, found.class_names, config.test_split)


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


@dataclass(frozen=True)
class _Head:
    """Facts about a file that are known before its pixels are read."""

    size: Size
    is_grey: bool
    has_more: bool


def _head(image: Image.Image) -> _Head:
    size, is_grey = pixels.size_of(image), pixels.is_grey(image)
    # `is_animated` comes last, since it moves to the second frame of a GIF.
    return _Head(size, is_grey, getattr(image, "is_animated", False))


def _decode(path: Path, files: Sequence[ClassFile], size: Size | None) -> Index:
    """Write the images as one array, and return the files left out and the remarks."""
    heads = _each(lambda file: image_files.open_image(file.path, _head), files)
    left_out = {i: str(head) for i, head in enumerate(heads) if isinstance(head, DataError)}
    known = {i: head for i, head in enumerate(heads) if isinstance(head, _Head)}
    if known and size is None:
        [(size, _)] = Counter(head.size for head in known.values()).most_common(1)
        for i in [i for i, head in known.items() if head.size != size]:
            height, width = known.pop(i).size
            left_out[i] = (
                f"{shown(files[i].path)} is {height} pixels high and {width} wide, unlike "
                f"most, which are {size[0]} high and {size[1]} wide (data.image_size resizes "
                f"all to one size)"
            )
    if not known or size is None:
        return Index(left_out)
    shape = size if all(head.is_grey for head in known.values()) else (*size, 3)
    room = image_cache.room_for(path, (len(known), *shape))

    def read(place_and_number: tuple[int, int]) -> float | None:
        """Fill in one image, and return its value of white if it had more than 8 bits."""
        place, number = place_and_number

        def use(image: Image.Image) -> float | None:
            room[place] = image_files.resized(image, shape)
            return pixels.white_of(image)

        return image_files.open_image(files[number].path, use)

    numbers = list(known)
    whites = _each(read, list(enumerate(numbers)))
    bad = [place for place, white in enumerate(whites) if isinstance(white, DataError)]
    for place in bad:
        left_out[numbers[place]] = str(whites[place])
        known.pop(numbers[place])
    image_cache.drop(room, path, bad)
    good = [white for white in whites if isinstance(white, float)]
    return Index(dict(sorted(left_out.items())), _remarks(list(known.values()), good))


def _remarks(heads: Sequence[_Head], whites: Sequence[float]) -> tuple[str, ...]:
    """Say how files were changed that could not be used as they were."""
    remarks = []
    if several := sum(head.has_more for head in heads):
        noun = plural(several, "file")
        remarks.append(f"{noun} with several pictures: only the first of each is used.")
    remarks += [
        f"{plural(count, 'file')} with more than 8 bits per channel: {white:g} counts as white."
        for white, count in sorted(Counter(whites).items())
    ]
    return tuple(remarks)


def _each(use: Callable[[T], R], items: Sequence[T]) -> list[R | DataError]:
    """Call `use` with every item, on all cores, and return its results or errors."""

    def caught(item: T) -> R | DataError:
        try:
            return use(item)
        except DataError as error:
            return error

    with image_files.without_pillow_limit(), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(caught, items))


def _check_classes(
    used: Sequence[ClassFile], class_names: Sequence[str], left_out: Sequence[str]
) -> None:
    """Refuse data in which a class has no training image left."""
    having = {file.class_name for file in used if file.split == "train"}
    if missing := [name for name in class_names if name not in having]:
        named = "".join(f"\n  {sentence}" for sentence in left_out[:10])
        raise DataError(f"None of the files of the class {missing[0]!r} can be used:{named}")


def _labelled(
    decoded: npt.NDArray[np.uint8],
    files: Sequence[ClassFile],
    names: tuple[str, ...],
    test_split: float,
) -> LabelledImages:
    """Put pixels and labels together, and set test images aside where no folder holds them."""
    numbers = {name: i for i, name in enumerate(names)}
    whole = Split(decoded, np.array([numbers[file.class_name] for file in files], np.int64))
    of = {
        split: np.array([i for i, file in enumerate(files) if file.split == split], np.intp)
        for split in class_folders.SPLIT_NAMES
    }
    if not len(of["test"]):
        # The same in every study, whatever its seed, so that test accuracies can be compared.
        try:
            train, test = train_test_split(
                of["train"],
                test_size=test_split,
                stratify=whole.labels[of["train"]],
                random_state=_SPLIT_SEED,
            )
        except ValueError as error:
            raise DataError(
                f"`data.test_split={test_split}` must leave each of the {len(names)} classes "
                f"an image to train on and one to test on, but there are {len(of['train'])} "
                f"images in all: add images, change the share, or put test images into test/."
            ) from error
        of |= {"train": np.sort(train), "test": np.sort(test)}
    return LabelledImages(
        whole.take(of["train"]),
        whole.take(of["test"]),
        names,
        whole.take(of["validation"]) if len(of["validation"]) else None,
    )
