"""Makes the figure of a picture, and writes its file."""

import io
import warnings
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tuner.runtime import files

DPI = 100
"""Pixels per inch of every picture."""


def new_figure(
    width: float, height: float, margins: tuple[float, float, float, float] | None = None
) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches, and axes in it with these margins.

    Matplotlib's own layouts draw everything twice, and a trial of a second should not spend a
    third of one on its pictures.
    """
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    left, bottom, right, top = margins or (0.6, 0.6, 0.2, 0.45)
    axes = figure.add_axes(
        (
            left / width,
            bottom / height,
            (width - left - right) / width,
            (height - bottom - top) / height,
        )
    )
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, in a folder whose files are copied from there."""
    with warnings.catch_warnings():
        # A character that the font lacks is drawn as a box; a warning per trial is too much.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        figure.savefig(picture := io.BytesIO(), format="png")
    files.write_scratch(path, picture.getvalue())
