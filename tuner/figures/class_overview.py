"""The classes of a data set: how many images each has, and what they look like."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas
import seaborn
from matplotlib.axes import Axes

from tuner.datasets.exploration import SPLITS, TILE, Overview
from tuner.figures.drawing import DPI, new_figure, rendered, save
from tuner.wording import shortened

_GAP = 3
"""Pixels between two images."""

_ROW = TILE + 2 * _GAP
"""Pixels from one class to the next."""

_TOP = 62
"""Pixels above the first class."""

_BARS = 120
"""Width of the counts, in pixels."""

_MIN_WIDTH = 640
"""Width that the title needs in pixels, however few images there are."""

_LETTER = 7.5
"""Approximate width in pixels of a letter in a class's name."""

_COLOURS = dict(zip(SPLITS, ("#3182bd", "#6baed6", "#e6550d"), strict=True))


def draw(overview: Overview, path: Path) -> None:
    """Draw a PNG with a row per class: its counts, its mean image, its first images.

    Args:
        overview: The content of the picture.
        path: File to write.
    """
    names = [shortened(name, 22) for name in overview.names]
    left = round(max(map(len, names)) * _LETTER) + 4 * _GAP
    sheet = _sheet(overview.tiles)
    width = max(left + _BARS + sheet.shape[1] + _GAP, _MIN_WIDTH)
    height = _TOP + sheet.shape[0] + _GAP
    right = width - left - _BARS + 4 * _GAP
    figure, axes = new_figure(
        width / DPI, height / DPI, (left / DPI, _GAP / DPI, right / DPI, _TOP / DPI)
    )
    _draw_counts(axes, overview.counts)
    axes.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
    # Drawn pixel for pixel, unlike an image in axes.
    figure.figimage(sheet[::-1], left + _BARS, _GAP, origin="lower")
    small: dict[str, Any] = {"fontsize": 7, "color": "0.4", "va": "top", "parse_math": False}
    for x, y, text, style in (
        (_GAP, _GAP, overview.title, small | {"fontsize": 9, "color": "black"}),
        (_GAP, 22, overview.note, small),
        (left + _BARS, 44, "mean", small),
        (left + _BARS + TILE + 4 * _GAP, 44, "training images", small),
    ):
        figure.text(x / width, 1 - y / height, text, **style)
    for split, x in zip(SPLITS, (0, 27, 80), strict=True):
        place, style = (left + x) / width, small | {"color": _COLOURS[split]}
        figure.text(place, 1 - 44 / height, split, **style)
    save(rendered(figure), path)


def _draw_counts(axes: Axes, counts: npt.NDArray[np.int64]) -> None:
    """Draw a bar per class, with one part per split, and write the counts above it."""
    num_rows = counts.shape[1]
    long = pandas.DataFrame(
        {
            "class": np.tile(np.arange(num_rows), len(SPLITS)),
            "split": np.repeat(SPLITS, num_rows),
            "images": counts.ravel(),
        }
    )
    seaborn.histplot(
        long,
        y="class",
        weights="images",
        hue="split",
        # seaborn draws the last one first, from the left.
        hue_order=SPLITS[::-1],
        palette=_COLOURS,
        multiple="stack",
        discrete=True,
        shrink=0.2,
        alpha=1,
        linewidth=0,
        legend=False,
        ax=axes,
    )
    for row in range(num_rows):
        text = " / ".join(f"{count:,}" for count in counts[:, row])
        axes.text(0, row - 0.2, text, fontsize=7, color="0.2", va="bottom")
    axes.set(xlim=(0, counts.sum(axis=0).max()), ylim=(num_rows - 0.5, -0.5))
    axes.set(xlabel=None, ylabel=None, xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _sheet(tiles: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return all images as one, with a row per class and the mean images set apart."""
    num_rows, num_tiles = tiles.shape[:2]
    sheet = np.full((num_rows * _ROW, num_tiles * (TILE + _GAP) + 3 * _GAP, 3), 255, np.uint8)
    for row in range(num_rows):
        for place in range(num_tiles):
            x = place * (TILE + _GAP) + (3 * _GAP if place else 0)
            y = row * _ROW + _GAP
            sheet[y : y + TILE, x : x + TILE] = tiles[row, place]
    return sheet
