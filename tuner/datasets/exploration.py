"""A look at a data set: counts, duplicates, and what its classes look like."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tuner.escapes import visible
from tuner.images.image_files import tile

if TYPE_CHECKING:
    from tuner.datasets import ImageData, Split

NUM_SHOWN = 32
"""Number of images that are drawn of each class, the first ones."""

MAX_ROWS = 100
"""Number of classes that are drawn, the first ones."""

SPLITS = ("train", "validation", "test")

TILE = 32
"""Side of an image in the picture, in pixels."""

_CHUNK = 1024
_DARK = 64


@dataclass(frozen=True)
class Exploration:
    """Statistics of a data set.

    Attributes:
        counts: Images of each class by split, int64 `(3, classes)`, in the order of `SPLITS`.
        duplicates: For each pair of splits, how many images of the first are in the second,
            pixel for pixel.
        ranges: Darkest and brightest pixel of each split, from 0 to 255.
    """

    counts: npt.NDArray[np.int64]
    duplicates: dict[tuple[str, str], int]
    ranges: dict[str, tuple[int, int]]

    @property
    def said_of_duplicates(self) -> str:
        """One sentence about the duplicates."""
        found = [
            f"{count:,} of {first} in {second}"
            for (first, second), count in self.duplicates.items()
            if count
        ]
        return f"Duplicates between the splits: {', '.join(found) or 'none'}."

    @property
    def said_of_pixels(self) -> str:
        """One sentence about the range of the pixels, and a second if that looks wrong."""
        if len(set(self.ranges.values())) == 1:
            [(low, high)] = set(self.ranges.values())
            said = f"Pixels: {low} to {high}."
        else:
            parts = (f"{low} to {high} in {name}" for name, (low, high) in self.ranges.items())
            said = f"Pixels: {', '.join(parts)}."
        if max(high for _, high in self.ranges.values()) < _DARK:
            said += (
                " All are darker than a quarter of white: should they be scaled to 0 to 255?"
            )
        return said


def explore(data: ImageData) -> Exploration:
    """Count images, find those in more than one split, and measure their brightness."""
    splits = {name: getattr(data, name) for name in SPLITS}
    seen, ranges = {}, {}
    for name, split in splits.items():
        seen[name], ranges[name] = _look_at(split)
    return Exploration(
        counts=np.stack(
            [np.bincount(s.labels, minlength=len(data.class_names)) for s in splits.values()]
        ),
        duplicates={
            (first, second): sum(map(set(seen[second]).__contains__, seen[first]))
            for first, second in itertools.combinations(SPLITS, 2)
        },
        ranges=ranges,
    )


def _look_at(split: Split) -> tuple[list[bytes], tuple[int, int]]:
    """Return a digest of each image and the range of all pixels, reading each image once."""
    # Digests, since the images may not fit into memory.
    digests, low, high = [], 255, 0
    for i in range(0, len(split), _CHUNK):
        chunk = np.ascontiguousarray(split.images[i : i + _CHUNK])
        low, high = min(low, int(chunk.min())), max(high, int(chunk.max()))
        digests += [hashlib.blake2b(image, digest_size=16).digest() for image in chunk]
    return digests, (low, high)


@dataclass(frozen=True)
class Overview:
    """The content of a picture of a data set; `tuner.figures.draw_overview` draws it.

    Attributes:
        title: Name and size of the data set.
        note: Remarkable facts about it.
        names: The first `MAX_ROWS` classes, one per row.
        counts: Their images by split, int64 `(3, rows)`, in the order of `SPLITS`.
        tiles: The mean image and at most `NUM_SHOWN` training images per row, uint8
            `(rows, images, TILE, TILE, 3)`; white where there is none.
    """

    title: str
    note: str
    names: Sequence[str]
    counts: npt.NDArray[np.int64]
    tiles: npt.NDArray[np.uint8]


def overview(data: ImageData, found: Exploration) -> Overview:
    """Gather the content of a data set's picture.

    Args:
        data: The images.
        found: The result of `explore`.
    """
    num_rows = min(len(data.class_names), MAX_ROWS)
    totals = found.counts.sum(axis=1)
    sums = ", ".join(f"{total:,} {name}" for name, total in zip(SPLITS, totals, strict=True))
    shape = " x ".join(map(str, data.image_shape))
    left_out = len(data.class_names) - num_rows
    more = f" Only the first {num_rows} classes are drawn." if left_out else ""
    num_shown = min(int(found.counts[0].max()), NUM_SHOWN)
    tiles = np.full((num_rows, 1 + num_shown, TILE, TILE, 3), 255, np.uint8)
    for label in range(num_rows):
        images = [_mean(data.train, label), *_first(data.train, label)]
        for place, image in enumerate(images):
            shown = tile(image, TILE)
            tiles[label, place, : shown.shape[0], : shown.shape[1]] = shown
    return Overview(
        title=f"{visible(data.name)}: {sums}; {shape}",
        note=found.said_of_duplicates + more,
        names=[visible(name) for name in data.class_names[:num_rows]],
        counts=found.counts[:, :num_rows],
        tiles=tiles,
    )


def _first(split: Split, label: int) -> list[npt.NDArray[np.uint8]]:
    return [split.images[i] for i in np.flatnonzero(split.labels == label)[:NUM_SHOWN]]


def _mean(split: Split, label: int) -> npt.NDArray[np.uint8]:
    chosen = np.flatnonzero(split.labels == label)
    total = np.zeros(split.images.shape[1:])
    for i in range(0, len(chosen), _CHUNK):
        total += split.images[chosen[i : i + _CHUNK]].sum(axis=0, dtype=np.float64)
    mean: npt.NDArray[np.uint8] = np.rint(total / len(chosen)).astype(np.uint8)
    return mean


def table(data: ImageData, found: Exploration) -> Sequence[tuple[str, ...]]:
    """Return the printed rows: each class with its counts, then the totals."""
    rows = [
        (name, *(f"{count:,}" for count in found.counts[:, label]))
        for label, name in enumerate(data.class_names)
    ]
    totals = (f"{total:,}" for total in found.counts.sum(axis=1))
    return [*rows, ("all", *totals)]
