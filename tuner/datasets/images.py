"""The types every data set comes as, their checks, and what is split off to validate."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psutil
from sklearn.model_selection import train_test_split

from tuner.errors import DataError
from tuner.functions import call_loader

if TYPE_CHECKING:
    from tuner.schema import DataConfig

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

_COPIED = 1024
"""Images copied at a time where they do not fit into memory."""


@dataclass(frozen=True)
class Split:
    """Images and their classes.

    Attributes:
        images: uint8, shape `(num_images, height, width)` or `(num_images, height, width,
            channels)`, as they came: nothing is rescaled.
        labels: int64, shape `(num_images,)`.
    """

    images: Images
    labels: Labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.intp]) -> Split:
        """Return the images at `indices`, in that order."""
        return Split(_taken(self.images, indices), self.labels[indices])

    def joined(self, other: Split) -> Split:
        """Return these images and, after them, those of another split of the same data."""
        images = _room((len(self) + len(other), *self.images.shape[1:]), self.images)
        for part, begin in ((self, 0), (other, len(self))):
            for i in range(0, len(part), _COPIED):
                copied = part.images[i : i + _COPIED]
                images[begin + i : begin + i + len(copied)] = copied
        return Split(images, np.concatenate([self.labels, other.labels]))


@dataclass(frozen=True)
class LabelledImages:
    """A data set as its source gives it: what a loader returns.

    Attributes:
        train: What models are trained and chosen on.
        test: What they are judged on.
        class_names: One name a class; label `i` is `class_names[i]`.

    Raises:
        DataError: When made of arrays that do not fit together.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]

    @classmethod
    def from_arrays(
        cls,
        x_train: npt.NDArray[Any],
        y_train: npt.NDArray[Any],
        x_test: npt.NDArray[Any],
        y_test: npt.NDArray[Any],
        class_names: tuple[str, ...] | None = None,
    ) -> LabelledImages:
        """Check four arrays and bring them to the types used here.

        Args:
            x_train: Whole numbers in `[0, 255]` of any integer dtype, shape
                `(n, height, width)`, or `(n, height, width, channels)` with 1 or 3 channels.
            y_train: Whole numbers from 0, shape `(n,)` or `(n, 1)`.
            x_test: As `x_train`.
            y_test: As `y_train`.
            class_names: Names of the classes; the labels themselves where None.

        Raises:
            DataError: At the first thing wrong, naming the array, what was found, and what is
                allowed.
        """
        train = Split(_checked_images("x_train", x_train), _checked_labels("y_train", y_train))
        test = Split(_checked_images("x_test", x_test), _checked_labels("y_test", y_test))
        for name, split in (("y_train", train), ("y_test", test)):
            if len(split) and (low := int(split.labels.min())) < 0:
                raise DataError(
                    f"`{name}` must lie between 0 and the last class, but holds {low}."
                )
        if class_names is None:
            most = int(train.labels.max(initial=0))
            if most >= max(len(train), 2):
                raise DataError(
                    f"`y_train` must number the classes from 0 without gaps, but holds {most} "
                    f"with {len(train)} images."
                )
            class_names = tuple(str(i) for i in range(int(train.labels.max(initial=0)) + 1))
        return cls(train, test, class_names)

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        num_classes = len(self.class_names)
        names = list(self.class_names)
        if twice := sorted(name for name in set(names) if names.count(name) > 1):
            raise DataError(f"`class_names` must differ, but {twice[0]!r} is there twice.")
        for name, split in (("train", self.train), ("test", self.test)):
            if len(split.images) != len(split.labels):
                raise DataError(
                    f"`x_{name}` and `y_{name}` must be of one length, but have "
                    f"{len(split.images)} images and {len(split.labels)} labels."
                )
            if not len(split):
                raise DataError(f"`x_{name}` must hold images, but is empty.")
        if num_classes < 2:
            raise DataError("`y_train` must hold at least two classes, but there is one only.")
        for name, split in (("train", self.train), ("test", self.test)):
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= num_classes:
                raise DataError(
                    f"`y_{name}` must lie between 0 and {num_classes - 1} (there are "
                    f"{num_classes} classes), but holds {low if low < 0 else high}."
                )
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise DataError(
                f"`x_train` and `x_test` must hold images of one shape, but got "
                f"{self.train.images.shape[1:]} and {self.test.images.shape[1:]}."
            )
        counts = np.bincount(self.train.labels, minlength=num_classes)
        short = int(counts.argmin())
        if counts[short] < 2:
            raise DataError(
                "`y_train` must hold at least 2 images of each class, one to train on and one "
                f"to validate with, but has {counts[short]} of class "
                f"{self.class_names[short]!r}."
            )

    def digest(self) -> str:
        """Return 32 hexadecimal digits that change when any pixel, label or name does."""
        return _digest((self.train, self.test), self.class_names)


@dataclass(frozen=True)
class ImageData:
    """A data set ready for a study.

    Attributes:
        name: What it is called in the configuration.
        class_names: One name a class; label `i` is `class_names[i]`.
        digest: 32 hexadecimal digits of the whole source, the same for every split of it.
        train: What is trained on.
        validation: What guides the search.
        test: What judges; no oracle ever sees it.
    """

    name: str
    class_names: tuple[str, ...]
    digest: str
    train: Split
    validation: Split
    test: Split

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image: `(height, width)` or `(height, width, channels)`."""
        return self.train.images.shape[1:]

    def test_digest(self) -> str:
        """Return 32 hexadecimal digits of what judges, and of the names of its classes."""
        return _digest((self.test,), self.class_names)


def load(config: DataConfig, seed: int) -> ImageData:
    """Load the configured data and split off what validates.

    The split is stratified: every class has the same share of it. It depends on the seed and
    the labels, and on nothing else.

    Args:
        config: The group `data`.
        seed: The study's seed.

    Raises:
        ConfigError: If `data._target_` cannot be found.
        DataError: If the data cannot be read or are not what they must be.
        UnavailableError: If they would have to be downloaded and cannot be.
    """
    source = call_loader(config._target_, config)
    if not isinstance(source, LabelledImages):
        raise DataError(
            f"{config._target_} must return tuner.datasets.LabelledImages, but returned "
            f"{type(source).__name__}."
        )
    labels = source.train.labels
    indices = np.arange(len(labels))
    num_classes = len(source.class_names)
    if config.train_size is not None and config.train_size < len(indices):
        _check_share("data.train_size", config.train_size, num_classes)
        indices = _share(indices, labels, seed, config.train_size, num_classes)
        _check_classes("data.train_size", labels[indices], num_classes, least=2)
    elif config.train_size is not None and config.train_size > len(indices):
        raise DataError(
            f"`data.train_size` must be at most {len(indices)}, the number of training images, "
            f"but got {config.train_size}."
        )
    num_validation = round(len(indices) * config.validation_split)
    for what, count in (
        ("validation", num_validation),
        ("training", len(indices) - num_validation),
    ):
        _check_share(
            f"data.validation_split={config.validation_split}: {what}", count, num_classes
        )
    train, validation = _stratified(indices, labels, seed, test_size=num_validation)
    for part in (train, validation):
        key = f"data.validation_split={config.validation_split}"
        _check_classes(key, labels[part], num_classes, least=1)
    return ImageData(
        name=config.name,
        class_names=source.class_names,
        digest=source.digest(),
        train=source.train.take(train),
        validation=source.train.take(validation),
        test=source.test,
    )


def _digest(splits: Sequence[Split], class_names: Sequence[str]) -> str:
    sha = hashlib.sha256()
    for split in splits:
        for array in (split.images, split.labels):
            sha.update(f"{array.dtype}{array.shape}".encode())
            for i in range(0, len(array), _COPIED):
                sha.update(np.ascontiguousarray(array[i : i + _COPIED]).data)
    sha.update("\0".join(class_names).encode())
    return sha.hexdigest()[:32]


def _taken(images: Images, indices: npt.NDArray[np.intp]) -> Images:
    """Return the images at `indices`."""
    taken = _room((len(indices), *images.shape[1:]), images)
    for i in range(0, len(indices), _COPIED):
        taken[i : i + _COPIED] = images[indices[i : i + _COPIED]]
    return taken


def _room(shape: tuple[int, ...], images: Images) -> Images:
    """Return room for images: if these are of a file and memory is short, in another one."""
    is_small = math.prod(shape) <= psutil.virtual_memory().available / 4
    if is_small or not isinstance(images, np.memmap) or images.filename is None:
        return np.empty(shape, np.uint8)
    # It has no name, and is gone with the last process that maps it.
    with tempfile.TemporaryFile(dir=Path(str(images.filename)).parent) as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _stratified(
    indices: npt.NDArray[np.intp], labels: Labels, seed: int, **sizes: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Split indices in two, each class in the same proportion, both in ascending order."""
    first, second = train_test_split(
        indices, stratify=labels[indices], random_state=seed, **sizes
    )
    return np.sort(first), np.sort(second)


def _share(
    indices: npt.NDArray[np.intp], labels: Labels, seed: int, size: int, num_classes: int
) -> npt.NDArray[np.intp]:
    """Draw `size` of the indices, each class in proportion."""
    if len(indices) - size < num_classes:
        # scikit-learn wants to leave one image of each class; so few make no difference.
        return np.sort(np.random.RandomState(seed).permutation(indices)[:size])
    return _stratified(indices, labels, seed, train_size=size)[0]


def _check_classes(key: str, labels: Labels, num_classes: int, least: int) -> None:
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < least:
        raise DataError(
            f"`{key}` must leave at least {'one image' if least == 1 else f'{least} images'} "
            f"of each of the {num_classes} classes on either side, but leaves {counts.min()} "
            f"of class {int(counts.argmin())}."
        )


def _check_share(key: str, count: int, num_classes: int) -> None:
    if count < num_classes:
        raise DataError(
            f"`{key}` must leave at least one image of each of the {num_classes} classes, but "
            f"leaves {count} images."
        )


def _checked_images(name: str, array: npt.NDArray[Any]) -> Images:
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise DataError(
            f"`{name}` must be of shape (images, height, width) or (images, height, width, 1 "
            f"or 3), but is of shape {array.shape}."
        )
    if 0 in array.shape[1:]:
        raise DataError(f"`{name}` must hold images, but is of shape {array.shape}.")
    if not np.issubdtype(array.dtype, np.integer):
        num_nan = int(np.isnan(array).sum()) if np.issubdtype(array.dtype, np.floating) else 0
        found = f"{array.dtype}" + (f" with {num_nan} NaN" if num_nan else "")
        raise DataError(
            f"`{name}` must be uint8, raw pixels from 0 to 255 (the model rescales them "
            f"itself), but is {found}."
        )
    if array.dtype != np.uint8 and array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise DataError(
                f"`{name}` must hold pixels from 0 to 255, but holds "
                f"{low if low < 0 else high}."
            )
    return array.astype(np.uint8, copy=False)


def _checked_labels(name: str, array: npt.NDArray[Any]) -> Labels:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"`{name}` must be of shape (images,), one class number each, but is of shape "
            f"{array.shape}."
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"`{name}` must hold whole numbers, but is {array.dtype}.")
    return array.astype(np.int64)
