"""The types of every data set, their checks, and the split for validation."""

from __future__ import annotations

import dataclasses
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

from tuner.datasets import splitting
from tuner.datasets.arrays import check_brightness, checked_images, checked_labels
from tuner.errors import DataError
from tuner.images import folders
from tuner.runtime.user_code import call_loader

if TYPE_CHECKING:
    from tuner.config.schema import DataConfig

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

_COPIED = 1024
"""Number of images copied at a time, since not all may fit into memory."""


@dataclass(frozen=True)
class Split:
    """Images and their classes.

    Attributes:
        images: uint8, shape `(num_images, height, width)` or `(num_images, height, width,
            channels)`, raw: nothing is rescaled.
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

    def joined(self, *others: Split) -> Split:
        """Return these images, followed by those of other splits of the same data."""
        parts = (self, *others)
        images = _room((sum(map(len, parts)), *self.images.shape[1:]), self.images)
        begin = 0
        for part in parts:
            for i in range(0, len(part), _COPIED):
                copied = part.images[i : i + _COPIED]
                images[begin + i : begin + i + len(copied)] = copied
            begin += len(part)
        return Split(images, np.concatenate([part.labels for part in parts]))


@dataclass(frozen=True)
class LabelledImages:
    """A data set as its source provides it: what a loader returns.

    However it is made, its arrays are checked and converted to the types of `Split`. Names of
    classes become valid text; see `tuner.images.folders.shown`.

    Attributes:
        train: Images to train on and, without `validation`, to choose models on.
        test: Images to judge models on.
        class_names: One name per class; label `i` is `class_names[i]`.
        validation: Images to choose models on; None to set aside a share of `train`.

    Raises:
        DataError: If the arrays are not raw pixels and class numbers, or do not fit together.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]
    validation: Split | None = None

    @classmethod
    def from_arrays(
        cls,
        x_train: npt.NDArray[Any],
        y_train: npt.NDArray[Any],
        x_test: npt.NDArray[Any],
        y_test: npt.NDArray[Any],
        class_names: tuple[str, ...] | None = None,
        x_validation: npt.NDArray[Any] | None = None,
        y_validation: npt.NDArray[Any] | None = None,
    ) -> LabelledImages:
        """Check arrays and bring them to the types used here.

        Args:
            x_train: Whole numbers in `[0, 255]` of any integer dtype, shape
                `(n, height, width)`, or `(n, height, width, channels)` with 1 or 3 channels.
            y_train: Whole numbers from 0, shape `(n,)` or `(n, 1)`.
            x_test: Like `x_train`.
            y_test: Like `y_train`.
            class_names: Names of the classes; None to use the labels themselves.
            x_validation: Like `x_train`; None if and only if `y_validation` is.
            y_validation: Like `y_train`.

        Raises:
            DataError: At the first mistake, naming the array, what was found, and what is
                allowed.
        """
        validation = None
        if x_validation is not None and y_validation is not None:
            validation = Split(x_validation, y_validation)
        elif x_validation is not None or y_validation is not None:
            raise DataError("`x_validation` and `y_validation` must be given together.")
        train, test = Split(x_train, checked_labels("y_train", y_train)), Split(x_test, y_test)
        if class_names is None:
            _check_range("y_train", train.labels, None)
            most = int(train.labels.max(initial=0))
            if most >= max(len(train), 2):
                raise DataError(
                    f"`y_train` must number the classes from 0 without gaps, but holds {most} "
                    f"with {len(train)} images."
                )
            class_names = tuple(str(i) for i in range(most + 1))
        return cls(train, test, class_names, validation)

    def __post_init__(self) -> None:
        """Check the parts, and that they fit together."""
        names = tuple(folders.shown(str(name)) for name in self.class_names)
        object.__setattr__(self, "class_names", names)
        if twice := sorted(name for name in set(names) if names.count(name) > 1):
            raise DataError(f"`class_names` must differ, but {twice[0]!r} occurs twice.")
        for name, split in self._splits().items():
            object.__setattr__(self, name, _checked(name, split))
        if len(names) < 2:
            raise DataError("`y_train` must hold at least two classes, but holds only one.")
        shape = self.train.images.shape[1:]
        for name, split in self._splits().items():
            _check_range(f"y_{name}", split.labels, len(names))
            if split.images.shape[1:] != shape:
                raise DataError(
                    f"`x_train` and `x_{name}` must hold images of one shape, but got {shape} "
                    f"and {split.images.shape[1:]}."
                )
        for name, split in self._splits().items():
            check_brightness(f"x_{name}", split.images)
        self._check_counts()

    def _splits(self) -> dict[str, Split]:
        splits = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split for name, split in splits.items() if split is not None}

    def _check_counts(self) -> None:
        least, use = (2, "s of each class, one to train on and one to validate with")
        if self.validation is not None:
            least, use = (1, " of each class to train on")
        smallest, count = splitting.smallest_class(self.train.labels, len(self.class_names))
        if count < least:
            # If the very first class is missing, somebody has counted from 1.
            hint = " Classes are numbered from 0." if (smallest, count) == (0, 0) else ""
            raise DataError(
                f"`y_train` must hold at least {least} image{use}, but has {count} of "
                f"class {self.class_names[smallest]!r}.{hint}"
            )

    def digest(self) -> str:
        """Return 32 hexadecimal digits that change with any pixel, label or name."""
        return _digest(list(self._splits().values()), self.class_names)


@dataclass(frozen=True)
class ImageData:
    """A data set ready for a study.

    Attributes:
        name: Its name in the configuration.
        class_names: One name per class; label `i` is `class_names[i]`.
        digest: 32 hexadecimal digits of the whole source, the same for every split of it.
        train: Images to train on.
        validation: Images that guide the search.
        test: Images that judge the best model; no oracle ever sees them.
        fold_sizes: Numbers of images of the folds, the validation images being the first one
            and the training images the others, one after another; empty if there are none.
    """

    name: str
    class_names: tuple[str, ...]
    digest: str
    train: Split
    validation: Split
    test: Split
    fold_sizes: tuple[int, ...] = ()

    def fold(self, number: int) -> ImageData:
        """Return the same images with another fold for validation.

        Args:
            number: Number of the fold, from 1.

        Raises:
            ValueError: If there is no such fold.
        """
        if not 1 <= number <= len(self.fold_sizes):
            raise ValueError(f"There are {len(self.fold_sizes)} folds, but got {number}.")
        if number == 1:
            return self
        begin = sum(self.fold_sizes[1 : number - 1])
        end = begin + self.fold_sizes[number - 1]
        images, labels = self.train.images, self.train.labels
        before, after = Split(images[:begin], labels[:begin]), Split(images[end:], labels[end:])
        return dataclasses.replace(
            self,
            train=self.validation.joined(before, after),
            validation=Split(images[begin:end], labels[begin:end]),
            fold_sizes=(),
        )

    @property
    def num_scored(self) -> int:
        """Number of different images that validate a trial: with folds, all of them."""
        return sum(self.fold_sizes) or len(self.validation)

    @property
    def num_bytes(self) -> int:
        """Size of the training and validation images in bytes."""
        return int(self.train.images.nbytes + self.validation.images.nbytes)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image: `(height, width)` or `(height, width, channels)`."""
        return self.train.images.shape[1:]

    def test_digest(self) -> str:
        """Return 32 hexadecimal digits of the test images and the names of the classes."""
        return _digest((self.test,), self.class_names)


def load(config: DataConfig, seed: int) -> ImageData:
    """Load the configured data and, unless they have validation images, split those off.

    The split is stratified: every class has the same share of it. It depends only on the seed
    and the labels.

    Args:
        config: The group `data`.
        seed: The study's seed.

    Raises:
        ConfigError: If `data._target_` cannot be found.
        DataError: If the data cannot be read or are not as required.
        UnavailableError: If they must be downloaded and cannot be.
    """
    source = call_loader(config._target_, config)
    if not isinstance(source, LabelledImages):
        raise DataError(
            f"{config._target_} must return tuner.datasets.LabelledImages, but returned "
            f"{type(source).__name__}."
        )
    return divide(source, config, seed)


def divide(source: LabelledImages, config: DataConfig, seed: int) -> ImageData:
    """Make a study's data of a source: its share of the training images, split; see `load`.

    Args:
        source: The data set.
        config: The group `data`.
        seed: The study's seed.

    Raises:
        DataError: If there are too few images.
    """
    labels, names = source.train.labels, source.class_names
    least = 2 if source.validation is None else 1
    chosen = splitting.choose(labels, config.train_size, seed, names, least)
    folds: list[splitting.Indices] = []
    if config.folds is not None:
        if source.validation is not None:
            raise DataError(
                f"`data.folds` must be null for {config.name}, which brings validation images "
                f"of its own, but got {config.folds}."
            )
        folds = splitting.fold(chosen, labels, config.folds, seed, names)
        train, validation = np.concatenate(folds[1:]), source.train.take(folds[0])
    elif source.validation is None:
        train, held_out = splitting.hold_out(
            chosen, labels, config.validation_split, seed, names
        )
        validation = source.train.take(held_out)
    else:
        train, validation = chosen, source.validation
    return ImageData(
        name=config.name,
        class_names=names,
        digest=source.digest(),
        train=source.train if len(train) == len(labels) else source.train.take(train),
        validation=validation,
        test=source.test,
        fold_sizes=tuple(map(len, folds)),
    )


def check_repeatable(first: ImageData, second: ImageData) -> None:
    """Refuse a loader that returns different data each time: trials could not be compared.

    Args:
        first: The data it has returned.
        second: The data it has returned when called again with the same configuration.

    Raises:
        DataError: If the two differ.
    """
    if first.digest != second.digest:
        raise DataError(
            f"The loader of {first.name} must return the same data on every call, but their "
            f"digest was first {first.digest[:8]} and then {second.digest[:8]}. If it splits "
            f"or draws at random, give it a seed, such as random_state=0."
        )


def _checked(name: str, split: Split) -> Split:
    images = checked_images(f"x_{name}", split.images)
    labels = checked_labels(f"y_{name}", split.labels)
    if len(images) != len(labels):
        raise DataError(
            f"`x_{name}` and `y_{name}` must be of one length, but have {len(images)} images "
            f"and {len(labels)} labels."
        )
    if not len(labels):
        raise DataError(f"`x_{name}` must hold images, but is empty.")
    return Split(images, labels)


def _check_range(name: str, labels: Labels, num_classes: int | None) -> None:
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if num_classes is None and low < 0:
        raise DataError(f"`{name}` must lie between 0 and the last class, but holds {low}.")
    if num_classes is not None and (low < 0 or high >= num_classes):
        raise DataError(
            f"`{name}` must lie between 0 and {num_classes - 1} (there are {num_classes} "
            f"classes), but holds {low if low < 0 else high}."
        )


def _digest(splits: Sequence[Split], class_names: Sequence[str]) -> str:
    sha = hashlib.sha256()
    for split in splits:
        for array in (split.images, split.labels):
            sha.update(f"{array.dtype}{array.shape}".encode())
            for i in range(0, len(array), _COPIED):
                sha.update(np.ascontiguousarray(array[i : i + _COPIED]).data)
    # Escapes stand for bytes that are not UTF-8: `ImageData` may hold unchecked names.
    sha.update("\0".join(class_names).encode("utf-8", "surrogatepass"))
    return sha.hexdigest()[:32]


def _taken(images: Images, indices: npt.NDArray[np.intp]) -> Images:
    """Return the images at `indices`."""
    taken = _room((len(indices), *images.shape[1:]), images)
    for i in range(0, len(indices), _COPIED):
        taken[i : i + _COPIED] = images[indices[i : i + _COPIED]]
    return taken


def _room(shape: tuple[int, ...], images: Images) -> Images:
    """Return room for images: in memory, or in a file like these if memory is short."""
    is_small = math.prod(shape) <= psutil.virtual_memory().available / 4
    if is_small or not isinstance(images, np.memmap) or images.filename is None:
        return np.empty(shape, np.uint8)
    # The file has no name, and vanishes with the last process that maps it.
    with tempfile.TemporaryFile(dir=Path(str(images.filename)).parent) as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)
