"""Chooses the training images that a study uses, and those of them for validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold, train_test_split

from tuner.errors import DataError

if TYPE_CHECKING:
    from tuner.datasets.images import Labels

Indices = npt.NDArray[np.intp]


def choose(
    labels: Labels, train_size: int | None, seed: int, class_names: Sequence[str], least: int
) -> Indices:
    """Return the training images that are used, in ascending order.

    Args:
        labels: Labels of all training images.
        train_size: `data.train_size`; None for all.
        seed: The study's seed.
        class_names: One name per class.
        least: Smallest number of images of each class.

    Raises:
        DataError: If there are fewer than `train_size`, or too few of a class.
    """
    indices = np.arange(len(labels))
    if train_size is None or train_size == len(indices):
        return indices
    if train_size > len(indices):
        raise DataError(
            f"`data.train_size` must be at most {len(indices)}, the number of training images, "
            f"but got {train_size}."
        )
    _check_share("data.train_size", train_size, len(class_names))
    indices = _share(indices, labels, seed, train_size, len(class_names))
    _check_classes("data.train_size", labels[indices], class_names, least)
    return indices


def hold_out(
    indices: Indices, labels: Labels, share: float, seed: int, class_names: Sequence[str]
) -> tuple[Indices, Indices]:
    """Split images into training and validation images, stratified by class.

    Args:
        indices: The images that are used.
        labels: Labels of all training images.
        share: `data.validation_split`.
        seed: The study's seed.
        class_names: One name per class.

    Raises:
        DataError: If either would be without a class.
    """
    key = f"data.validation_split={share}"
    num_validation = round(len(indices) * share)
    for what, count in (
        ("validation", num_validation),
        ("training", len(indices) - num_validation),
    ):
        _check_share(f"{key}: {what}", count, len(class_names))
    train, validation = _stratified(indices, labels, seed, test_size=num_validation)
    for part in (train, validation):
        _check_classes(key, labels[part], class_names, least=1)
    return train, validation


def fold(
    indices: Indices, labels: Labels, num_folds: int, seed: int, class_names: Sequence[str]
) -> list[Indices]:
    """Split images into folds of nearly one size, stratified by class, each in ascending order.

    Args:
        indices: The images that are used.
        labels: Labels of all training images.
        num_folds: `data.folds`.
        seed: The study's seed.
        class_names: One name per class.

    Raises:
        DataError: If a class has fewer images than there are folds.
    """
    smallest, count = smallest_class(labels[indices], len(class_names))
    if count < num_folds:
        raise DataError(
            f"`data.folds` must be at most {count}, the number of training images of the "
            f"smallest class ({class_names[smallest]!r}), so that every fold has one, but got "
            f"{num_folds}."
        )
    parts = StratifiedKFold(num_folds, shuffle=True, random_state=seed).split(
        indices, labels[indices]
    )
    return [indices[held_out] for _, held_out in parts]


def smallest_class(labels: Labels, num_classes: int) -> tuple[int, int]:
    """Return the class with the fewest images, the first of them in a tie, and their number."""
    counts = np.bincount(labels, minlength=num_classes)
    smallest = int(counts.argmin())
    return smallest, int(counts[smallest])


def _stratified(
    indices: Indices, labels: Labels, seed: int, **sizes: int
) -> tuple[Indices, Indices]:
    """Split indices in two, each class in the same proportion, both in ascending order."""
    first, second = train_test_split(
        indices, stratify=labels[indices], random_state=seed, **sizes
    )
    return np.sort(first), np.sort(second)


def _share(indices: Indices, labels: Labels, seed: int, size: int, num_classes: int) -> Indices:
    """Draw `size` of the indices, each class in proportion."""
    if len(indices) - size < num_classes:
        # scikit-learn insists on leaving one image per class; so few images left out do not
        # matter.
        return np.sort(np.random.RandomState(seed).permutation(indices)[:size])
    return _stratified(indices, labels, seed, train_size=size)[0]


def _check_classes(key: str, labels: Labels, class_names: Sequence[str], least: int) -> None:
    smallest, count = smallest_class(labels, len(class_names))
    if count < least:
        raise DataError(
            f"`{key}` must leave at least {'one image' if least == 1 else f'{least} images'} "
            f"of each of the {len(class_names)} classes on either side, but leaves "
            f"{count} of class {class_names[smallest]!r}."
        )


def _check_share(key: str, count: int, num_classes: int) -> None:
    if count < num_classes:
        raise DataError(
            f"`{key}` must leave at least one image of each of the {num_classes} classes, but "
            f"leaves {count} images."
        )
