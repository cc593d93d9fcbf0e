"""Confusion matrices, and how two of them differ."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import seaborn
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image

from tuner.evaluation.measures import Counts
from tuner.figures.drawing import Template, new_figure, save, write
from tuner.wording import shortened

MAX_ANNOTATED = 20
"""Largest number of classes for which every cell shows its count."""

MAX_GRID = 100
"""Largest number of classes with lines between the cells, which would hide smaller cells."""

_MAX_NAMES = 40
"""Largest number of classes for which every row has its name."""

_MAX_UPRIGHT = 3
"""Largest length of names that fit side by side below the columns."""

_PALE = 1.6
"""End of a colour scale, as a multiple of its largest value: numbers must stay readable."""

_FOR_THE_WORSE, _FOR_THE_BETTER = (
    colormaps[name](np.linspace(0, 1, 128)) for name in ("Oranges", "Blues")
)
_PALETTE = ListedColormap(np.vstack([_FOR_THE_WORSE[::-1], _FOR_THE_BETTER]))
"""From -1 to 1: two scales that meet at white."""

_DARK = 0.78
"""Absolute value from which a cell is so dark that its number is white."""


def confusion_matrix(confusion: Counts, class_names: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix as a PNG.

    A cell's colour is its share of its true class. Diagonal and mistakes have separate scales,
    since a reader looks for mistakes of one percent next to a diagonal of 99.

    Args:
        confusion: Counts `(classes, classes)`: rows are true classes, columns predicted ones.
        class_names: One name per class.
        path: File to write.
    """
    is_hit = np.eye(len(class_names), dtype=bool)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    is_fault = ~is_hit & (confusion > 0)
    worst = float(shares[is_fault].max()) if is_fault.any() else 1.0
    values = np.where(is_hit, shares, np.where(is_fault, -shares / worst, np.nan))
    num_right, total = int(np.trace(confusion)), int(confusion.sum())
    title = (
        f"{num_right:,} of {total:,} right ({num_right / max(total, 1):.2%}), "
        f"{total - num_right:,} wrong"
    )
    matrix = _matrix(tuple(class_names))
    picture = matrix.draw(values, title)
    matrix.annotate(picture, values, confusion, "{:,}")
    save(picture, path)


def confusion_difference(
    before: Counts, after: Counts, class_names: Sequence[str], path: Path
) -> None:
    """Draw the cells in which two confusion matrices of the same images differ, as a PNG.

    Blue cells are better (more hits or fewer mistakes), orange cells are worse.

    Args:
        before: Counts `(classes, classes)` of the earlier model.
        after: Counts of the model that is compared with it.
        class_names: One name per class.
        path: File to write.
    """
    change = after - before
    is_hit = np.eye(len(class_names), dtype=bool)
    gain = np.where(is_hit, change, -change)
    values = np.where(change, gain / max(np.abs(gain).max(), 1), np.nan)
    total = int(np.trace(change))
    title = f"{total:+,} right; blue: better than before, orange: worse"
    matrix = _matrix(tuple(class_names))
    picture = matrix.draw(values, title, points=10)
    matrix.annotate(picture, values, change, "{:+,}")
    save(picture, path)


class _Matrix:
    """A matrix of true classes against predicted ones, to be drawn with any cells.

    Args:
        class_names: One name per class.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        num_classes = len(class_names)
        figure, axes = _class_pairs(class_names)
        seaborn.heatmap(
            np.zeros((num_classes, num_classes)), vmin=-_PALE, vmax=_PALE, cmap=_PALETTE,
            cbar=False, xticklabels=False, yticklabels=False, ax=axes,
        )  # fmt: skip
        (self._cells,) = axes.collections
        _name_classes(axes, class_names)
        self._template = Template(figure, axes)

    def draw(
        self, values: npt.NDArray[np.float64], title: str, points: float = 12
    ) -> Image.Image:
        """Return a picture of the matrix with a colour for each value.

        Args:
            values: From -1 to 1, `(classes, classes)`; NaN for a cell without a colour.
            title: Text above the matrix.
            points: Size of its letters.
        """
        self._cells.set_array(np.ma.masked_invalid(values))
        return self._template.draw(title, points)

    def annotate(
        self, picture: Image.Image, values: npt.NDArray[np.float64], counts: Counts, form: str
    ) -> None:
        """Write the counts other than 0 in their cells, unless there are too many classes.

        Args:
            picture: A picture of the matrix.
            values: The values that it was drawn with.
            counts: Shape `(classes, classes)`.
            form: How a count is written.
        """
        if len(counts) > MAX_ANNOTATED:
            return
        rows, columns = np.nonzero(counts)
        texts = [form.format(count) for count in counts[rows, columns].tolist()]
        points = 8 if max(map(len, texts), default=0) > 4 else 9
        places = self._template.places(np.stack([columns, rows], axis=1) + 0.5)
        is_dark = np.abs(values[rows, columns]) >= _DARK
        for (x, y), text, dark in zip(places, texts, is_dark, strict=True):
            colour = "white" if dark else "#262626"
            write(picture, (x, y), text, points, anchor="mm", colour=colour)


# A process draws those of one data set, whose pixels take up to 16 MB.
@functools.lru_cache(maxsize=2)
def _matrix(class_names: tuple[str, ...]) -> _Matrix:
    return _Matrix(class_names)


def _class_pairs(class_names: Sequence[str]) -> tuple[Figure, Axes]:
    """Return a figure with axes for a matrix of true classes against predicted ones."""
    longest = max(map(len, _names(class_names).values()))
    side = float(np.clip(0.5 * len(class_names) + 1.6, 4.5, 14))
    # Space for the names, in inches.
    text = 0.1 * longest
    below = 0.55 + (text if longest > _MAX_UPRIGHT else 0.15)
    left, right, bottom, top = 0.5 + text, 0.15, below, 0.45
    width = side - max(left + right, bottom + top)
    return new_figure(side, side, (left, bottom, side - left - width, side - bottom - width))


def _name_classes(axes: Axes, class_names: Sequence[str]) -> None:
    """Label the rows and columns of a matrix, and draw lines between its cells."""
    num_classes, names = len(class_names), _names(class_names)
    ticks = [number + 0.5 for number in names]
    is_long = max(map(len, names.values())) > _MAX_UPRIGHT
    axes.set_box_aspect(1)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    # A name is plain text, even if it contains the dollar signs of a formula.
    axes.set_xticks(ticks, [*names.values()], rotation=90 if is_long else 0, parse_math=False)
    axes.set_yticks(ticks, [*names.values()], rotation=0, parse_math=False)
    if num_classes <= MAX_GRID:
        between = np.arange(num_classes + 1)
        axes.vlines(between, 0, num_classes, color="0.92", linewidth=0.6)
        axes.hlines(between, 0, num_classes, color="0.92", linewidth=0.6)
    axes.tick_params(length=0)


def _names(class_names: Sequence[str]) -> dict[int, str]:
    """Return the names to write, by class: with many classes, all of them would overlap."""
    every = -(-len(class_names) // _MAX_NAMES)
    return {i: shortened(class_names[i]) for i in range(0, len(class_names), every)}
