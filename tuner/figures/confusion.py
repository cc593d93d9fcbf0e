"""Confusion matrices, and how two of them differ."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import seaborn
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from tuner.evaluation.measures import Counts
from tuner.figures.drawing import new_figure, save
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
    figure, axes = _class_pairs(class_names)
    _heatmap(
        axes,
        np.where(is_hit, shares, -shares / worst),
        is_hit | is_fault,
        _written(confusion, "{:,}"),
    )
    _name_classes(axes, class_names)
    num_right, total = int(np.trace(confusion)), int(confusion.sum())
    axes.set_title(
        f"{num_right:,} of {total:,} right ({num_right / max(total, 1):.2%}), "
        f"{total - num_right:,} wrong"
    )
    save(figure, path)


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
    gain = np.where(is_hit, change, -change).astype(np.float64)
    most = max(float(np.abs(gain).max()), 1.0)
    figure, axes = _class_pairs(class_names)
    _heatmap(axes, gain / most, change != 0, _written(change, "{:+,}"))
    _name_classes(axes, class_names)
    total = int(np.trace(change))
    axes.set_title(f"{total:+,} right; blue: better than before, orange: worse", fontsize=10)
    save(figure, path)


def _heatmap(
    axes: Axes,
    values: npt.NDArray[np.float64],
    drawn: npt.NDArray[np.bool_],
    said: npt.NDArray[np.str_],
) -> None:
    """Draw some cells of a matrix of values from -1 to 1, with text in them."""
    num_classes = len(values)
    is_annotated = num_classes <= MAX_ANNOTATED
    # Before the labels: seaborn draws the figure once to check them for overlap.
    seaborn.heatmap(
        values,
        mask=~drawn,
        vmin=-_PALE,
        vmax=_PALE,
        cmap=_PALETTE,
        annot=said if is_annotated else None,
        fmt="",
        annot_kws={"fontsize": 8 if max(map(len, said.ravel())) > 4 else 9},
        cbar=False,
        xticklabels=False,
        yticklabels=False,
        ax=axes,
    )


def _written(counts: Counts, form: str) -> npt.NDArray[np.str_]:
    """Return the text of each cell, which is empty if the count is 0."""
    texts = [[form.format(count) if count else "" for count in row] for row in counts.tolist()]
    return np.array(texts)


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
        axes.set_xticks(np.arange(num_classes + 1), minor=True)
        axes.set_yticks(np.arange(num_classes + 1), minor=True)
        axes.grid(which="minor", color="0.92", linewidth=0.6)
    axes.tick_params(which="both", length=0)


def _names(class_names: Sequence[str]) -> dict[int, str]:
    """Return the names to write, by class: with many classes, all of them would overlap."""
    every = -(-len(class_names) // _MAX_NAMES)
    return {i: shortened(class_names[i]) for i in range(0, len(class_names), every)}
