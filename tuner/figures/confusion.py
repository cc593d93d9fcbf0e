"""Confusion matrices, and how two of them differ."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.evaluation.measures import Counts
from tuner.figures.canvas import new_figure, save, shortened

MAX_ANNOTATED = 20
"""Classes up to which every cell has its count written in it."""

MAX_GRID = 100
"""Classes up to which cells are told apart by lines, which would hide smaller ones."""


def confusion_matrix(confusion: Counts, class_names: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix as a PNG.

    A cell's colour is its share of its true class; diagonal and faults have scales of their
    own, since a fault of one percent is what a reader looks for beside a diagonal of 99.

    Args:
        confusion: Counts `(classes, classes)`: rows are true classes, columns predicted ones.
        class_names: One name a class.
        path: File to write.
    """
    num_classes = len(class_names)
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    hits = np.where(np.eye(num_classes, dtype=bool), shares, np.nan)
    faults = np.where(np.isnan(hits) & (confusion > 0), shares, np.nan)
    figure, axes = _class_pairs(class_names)
    axes.imshow(hits, cmap="Blues", vmin=0, vmax=1.6)
    worst = float(np.nanmax(faults)) if np.isfinite(faults).any() else 1.0
    axes.imshow(faults, cmap="Oranges", vmin=0, vmax=1.6 * worst)

    num_right, total = int(np.trace(confusion)), int(confusion.sum())
    axes.set_title(
        f"{num_right:,} of {total:,} right ({num_right / max(total, 1):.2%}), "
        f"{total - num_right:,} wrong"
    )
    if num_classes <= MAX_ANNOTATED:
        for row, column in np.argwhere(confusion > 0):
            count = int(confusion[row, column])
            axes.text(
                column, row, f"{count:,}", ha="center", va="center",
                fontsize=8 if count > 999 else 9,
                color="white" if row == column and shares[row, column] > 0.85 else "0.15",
            )  # fmt: skip
    save(figure, path)


def confusion_difference(
    before: Counts, after: Counts, class_names: Sequence[str], path: Path
) -> None:
    """Draw in which cells two confusion matrices of the same images differ, as a PNG.

    Blue is for the better: more hits, or fewer faults; orange is for the worse.

    Args:
        before: Counts `(classes, classes)` of the model that was there.
        after: Those of the model that is compared with it.
        class_names: One name a class.
        path: File to write.
    """
    change = after - before
    is_hit = np.eye(len(class_names), dtype=bool)
    gain = np.where(is_hit, change, -change).astype(np.float64)
    figure, axes = _class_pairs(class_names)
    most = max(float(np.abs(gain).max()), 1.0)
    # Pale enough for the numbers to be read on it.
    axes.imshow(np.where(gain > 0, gain, np.nan), cmap="Blues", vmin=0, vmax=1.6 * most)
    axes.imshow(np.where(gain < 0, -gain, np.nan), cmap="Oranges", vmin=0, vmax=1.6 * most)
    total = int(np.trace(change))
    axes.set_title(f"{total:+,} right; blue: better than before, orange: worse", fontsize=10)
    if len(class_names) <= MAX_ANNOTATED:
        for row, column in np.argwhere(change):
            axes.text(
                column, row, f"{int(change[row, column]):+,}", ha="center", va="center",
                fontsize=9, color="0.15",
            )  # fmt: skip
    save(figure, path)


def _class_pairs(class_names: Sequence[str]) -> tuple[Figure, Axes]:
    """Return a figure with axes for a matrix of true classes against predicted ones."""
    num_classes = len(class_names)
    # Names would run into each other where there are many.
    every = -(-num_classes // 40)
    ticks = list(range(0, num_classes, every))
    names = [shortened(class_names[i]) for i in ticks]
    longest = max(len(name) for name in names)
    is_long = longest > 3

    side = float(np.clip(0.5 * num_classes + 1.6, 4.5, 14))
    # Room for the names, in inches.
    text = 0.1 * longest
    left, right, bottom, top = 0.5 + text, 0.15, 0.55 + (text if is_long else 0.15), 0.45
    width = side - max(left + right, bottom + top)
    figure, axes = new_figure(
        side, side, (left, bottom, side - left - width, side - bottom - width)
    )
    axes.set_box_aspect(1)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    # A name is text, even if it has the dollars of a formula.
    axes.set_xticks(ticks, names, rotation=90 if is_long else 0, parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    axes.set_xlim(-0.5, num_classes - 0.5)
    axes.set_ylim(num_classes - 0.5, -0.5)
    if num_classes <= MAX_GRID:
        axes.set_xticks(np.arange(num_classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(num_classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="0.92", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure, axes
