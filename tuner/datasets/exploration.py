"""What is in a data set: counts, duplicates, and a picture of its classes.

Drawn by Pillow alone, since every study draws it while its workers start: matplotlib would take
longer to import than the picture takes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from tuner.escapes import visible
from tuner.images.image_files import tile
from tuner.runtime import files

if TYPE_CHECKING:
    from tuner.datasets import ImageData, Split

NUM_SHOWN = 32
"""Images of each class that are drawn, the first ones."""

MAX_ROWS = 100
"""Classes that are drawn, the first ones."""

SPLITS = ("train", "validation", "test")

_TILE = 32
_GAP = 3
_CHUNK = 1024
_DARK = 64


@dataclass(frozen=True)
class Exploration:
    """What there is to know of a data set.

    Attributes:
        counts: Images of each class by split, int64 `(3, classes)`, in the order of `SPLITS`.
        duplicates: For each two splits, how many images of the first are in the second, pixel
            for pixel.
        ranges: For each split the darkest and the brightest pixel, from 0 to 255.
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
        """One sentence about the range of the pixels, one more if it looks like a mistake."""
        if len(set(self.ranges.values())) == 1:
            [(low, high)] = set(self.ranges.values())
            said = f"Pixels: {low} to {high}."
        else:
            parts = (f"{low} to {high} in {name}" for name, (low, high) in self.ranges.items())
            said = f"Pixels: {', '.join(parts)}."
        if max(high for _, high in self.ranges.values()) < _DARK:
            said += " Nothing is brighter than a quarter of white: are they scaled to 0 to 255?"
        return said


def explore(data: ImageData) -> Exploration:
    """Count images, find those that are in more than one split, and how bright they are."""
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
    # Digests, since the images may be more than memory holds.
    digests, low, high = [], 255, 0
    for i in range(0, len(split), _CHUNK):
        chunk = np.ascontiguousarray(split.images[i : i + _CHUNK])
        low, high = min(low, int(chunk.min())), max(high, int(chunk.max()))
        digests += [hashlib.blake2b(image, digest_size=16).digest() for image in chunk]
    return digests, (low, high)


def draw(data: ImageData, found: Exploration, path: Path) -> None:
    """Draw a row for each class: its counts, its mean image, its first images; as a PNG.

    Args:
        data: The images.
        found: What `explore` has found.
        path: File to write.
    """
    num_rows = min(len(data.class_names), MAX_ROWS)
    font, small = _font(13), _font(10)
    names = [visible(name) for name in data.class_names[:num_rows]]
    margin = min(math.ceil(max(font.getlength(name) for name in names)), 160) + 6 * _GAP
    bars = margin + 120
    top, height = 58, _TILE + 2 * _GAP
    width = bars + (NUM_SHOWN + 1) * (_TILE + _GAP) + 4 * _GAP
    canvas = Image.new("RGB", (width, top + num_rows * height + _GAP), "white")
    pen = ImageDraw.Draw(canvas)
    totals = found.counts.sum(axis=1)
    sums = ", ".join(f"{total:,} {name}" for name, total in zip(SPLITS, totals, strict=True))
    left_out = len(data.class_names) - num_rows
    more = f" The last {left_out} classes are not drawn." if left_out else ""
    shape = " x ".join(map(str, data.image_shape))
    pen.text((_GAP, _GAP), f"{visible(data.name)}: {sums}; {shape}", "black", font)
    pen.text((_GAP, 22), found.said_of_duplicates + more, "#666666", small)
    pen.text((margin, 40), " / ".join(SPLITS), "#666666", small)
    pen.text((bars, 40), "mean", "#666666", small)
    pen.text((bars + _TILE + 4 * _GAP, 40), "training images", "#666666", small)
    most = int(found.counts.sum(axis=0).max())
    for label, name in enumerate(names):
        y = top + label * height
        pen.text((_GAP, y + 8), _fitting(name, font, margin - 4 * _GAP), "black", font)
        _draw_counts(pen, found.counts[:, label], most, margin, y, small)
        x = bars
        for image in (_mean(data.train, label), *_first(data.train, label)):
            shown = Image.fromarray(tile(image, _TILE))
            canvas.paste(shown, (x, y + _GAP))
            x += _TILE + (4 * _GAP if x == bars else _GAP)
    canvas.save(picture := io.BytesIO(), format="PNG")
    files.write(path, picture.getvalue())


def _draw_counts(
    pen: ImageDraw.ImageDraw,
    counts: npt.NDArray[np.int64],
    most: int,
    x: int,
    y: int,
    font: ImageFont.FreeTypeFont,
) -> None:
    pen.text((x, y + 4), " / ".join(f"{count:,}" for count in counts), "#333333", font)
    left = float(x)
    for count, colour in zip(counts, ("#3182bd", "#9ecae1", "#e6550d"), strict=True):
        right = left + 108 * count / most
        pen.rectangle((left, y + 20, right, y + 27), fill=colour)
        left = right


def _first(split: Split, label: int) -> list[npt.NDArray[np.uint8]]:
    return [split.images[i] for i in np.flatnonzero(split.labels == label)[:NUM_SHOWN]]


def _mean(split: Split, label: int) -> npt.NDArray[np.uint8]:
    chosen = np.flatnonzero(split.labels == label)
    total = np.zeros(split.images.shape[1:])
    for i in range(0, len(chosen), _CHUNK):
        total += split.images[chosen[i : i + _CHUNK]].sum(axis=0, dtype=np.float64)
    mean: npt.NDArray[np.uint8] = np.rint(total / len(chosen)).astype(np.uint8)
    return mean


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font that comes with matplotlib, which has more signs than Pillow's own."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, size)


def _fitting(name: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Shorten a name until it is no wider than so many pixels."""
    if font.getlength(name) <= width:
        return name
    for length in range(len(name), 0, -1):
        if font.getlength(shortened := f"{name[:length]}…") <= width:
            return shortened
    return "…"


def table(data: ImageData, found: Exploration) -> Sequence[tuple[str, ...]]:
    """Return rows of class and counts, and of totals, as they are printed."""
    rows = [
        (name, *(f"{count:,}" for count in found.counts[:, label]))
        for label, name in enumerate(data.class_names)
    ]
    totals = (f"{total:,}" for total in found.counts.sum(axis=1))
    return [*rows, ("all", *totals)]
