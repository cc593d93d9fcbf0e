"""The pictures that go with a trial: the only import of matplotlib."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tuner.evaluation import Counts

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

    # Names would run into each other where there are many.
    every = -(-num_classes // 40)
    ticks = list(range(0, num_classes, every))
    names = [_shortened(class_names[i]) for i in ticks]
    longest = max(len(name) for name in names)
    is_long = longest > 3

    side = float(np.clip(0.5 * num_classes + 1.6, 4.5, 14))
    figure = Figure(figsize=(side, side), dpi=100)
    FigureCanvasAgg(figure)
    # Room for the names, in inches: matplotlib's own layouts draw everything twice, and a trial
    # of a second should not spend a third of one on its picture.
    text = 0.1 * longest
    left, right, bottom, top = 0.5 + text, 0.15, 0.55 + (text if is_long else 0.15), 0.45
    width = side - max(left + right, bottom + top)
    axes = figure.add_axes(
        (left / side, bottom / side, width / side, width / side), box_aspect=1
    )
    axes.imshow(hits, cmap="Blues", vmin=0, vmax=1.6)
    worst = float(np.nanmax(faults)) if np.isfinite(faults).any() else 1.0
    axes.imshow(faults, cmap="Oranges", vmin=0, vmax=1.6 * worst)

    num_right, total = int(np.trace(confusion)), int(confusion.sum())
    axes.set_title(
        f"{num_right:,} of {total:,} right ({num_right / max(total, 1):.2%}), "
        f"{total - num_right:,} wrong"
    )
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    # A name is text, even if it has the dollars of a formula.
    axes.set_xticks(ticks, names, rotation=90 if is_long else 0, parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    if num_classes <= MAX_GRID:
        axes.set_xticks(np.arange(num_classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(num_classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="0.92", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    if num_classes <= MAX_ANNOTATED:
        for row, column in np.argwhere(confusion > 0):
            count = int(confusion[row, column])
            axes.text(
                column, row, f"{count:,}", ha="center", va="center",
                fontsize=8 if count > 999 else 9,
                color="white" if row == column and shares[row, column] > 0.85 else "0.15",
            )  # fmt: skip
    with warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box; once for every trial is too much to say.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        figure.savefig(path)


def _shortened(name: str) -> str:
    # The end often tells names apart.
    return name if len(name) <= 14 else f"{name[:8]}…{name[-5:]}"
