"""Makes the figure of a picture, writes text on it, and saves its file."""

import functools
import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from tuner.runtime import files

DPI = 100
"""Pixels per inch of every picture."""

_TITLE_ABOVE = 8
"""Pixels between axes and their title."""

_EDGE = 5
"""Pixels between a title and the edge of a picture."""


class Template:
    """A figure that is drawn many times, each time with other content.

    Its ticks, labels and ground are drawn once, since they take most of the time. The artists
    within the axes (bars, lines, cells, a legend) are drawn every time, over the ticks and
    labels, so lines between cells must be artists instead of the grid of an axis. A caller
    sets everything about an artist that it ever sets, so that no picture depends on another.

    Args:
        figure: The figure; it has no title.
        axes: Its axes.
    """

    def __init__(self, figure: Figure, axes: Axes) -> None:
        self._axes = axes
        kept = (axes.patch, axes.xaxis, axes.yaxis)
        artists = [artist for artist in axes.get_children() if artist not in kept]
        self._artists = sorted(artists, key=lambda artist: artist.get_zorder())
        for artist in self._artists:
            artist.set_animated(True)
        self._canvas = _drawn(figure)
        self._ground = self._canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]

    def draw(self, title: str, points: float = 12) -> Image.Image:
        """Return a picture with the artists as they are now, RGB.

        Args:
            title: Text above the axes.
            points: Size of its letters.
        """
        self._canvas.restore_region(self._ground)  # type: ignore[no-untyped-call]
        for artist in self._artists:
            self._axes.draw_artist(artist)
        picture = _pixels(self._canvas)
        middle, y = self._axes.transAxes.transform((0.5, 1))
        # Above a small matrix with long names on its left, a title must not be cut off.
        x = min(middle, picture.width - _EDGE - _font(points, False).getlength(title) / 2)
        write(picture, (x, picture.height - y - _TITLE_ABOVE), title, points, anchor="ms")
        return picture

    def places(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return where points of the axes lie in the picture, `(num_points, 2)`, in pixels.

        Args:
            points: Coordinates `(x, y)` of the axes, `(num_points, 2)`.
        """
        places = self._axes.transData.transform(points)
        _, height = self._canvas.get_width_height()
        return np.stack([places[:, 0], height - places[:, 1]], axis=1)


def new_figure(
    width: float, height: float, margins: tuple[float, float, float, float]
) -> tuple[Figure, Axes]:
    """Return a figure of this size, and axes in it with these margins.

    Matplotlib's own layouts draw everything twice.

    Args:
        width: Width in inches.
        height: Height in inches.
        margins: On the left, below, on the right and above, in inches.
    """
    figure = Figure(figsize=(width, height), dpi=DPI)
    left, bottom, right, top = margins
    axes = figure.add_axes(
        (
            left / width,
            bottom / height,
            (width - left - right) / width,
            (height - bottom - top) / height,
        )
    )
    return figure, axes


def rendered(figure: Figure) -> Image.Image:
    """Return a figure as a picture, RGB."""
    return _pixels(_drawn(figure))


def write(
    picture: Image.Image,
    place: tuple[float, float],
    text: str,
    points: float,
    *,
    anchor: str = "la",
    colour: str = "black",
    is_bold: bool = False,
) -> None:
    """Write text on a picture, in the font of the figures.

    Pillow takes a tenth of the time that matplotlib takes, 0.1 ms for a short text.

    Args:
        picture: Changed in place.
        place: `(x, y)` in pixels from the upper left corner.
        text: One line or more.
        points: Size of the letters.
        anchor: The point of the text that lies at `place`, in Pillow's letters: `la` is its
            upper left corner, `mm` its middle.
        colour: A name or `#rrggbb`.
        is_bold: Whether letters are bold.
    """
    x, y = place
    ImageDraw.Draw(picture).text(
        # Letters between two pixels are blurred.
        (round(x), round(y)), text, colour, _font(points, is_bold), anchor,
        align="right" if anchor.startswith("r") else "left",
    )  # fmt: skip


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as a PNG, in a folder whose files are copied from there."""
    # A tenth larger than by default, in two thirds of the time.
    picture.save(content := io.BytesIO(), "png", compress_level=1)
    files.write_scratch(path, content.getvalue())


@functools.cache
def _font(points: float, is_bold: bool) -> ImageFont.FreeTypeFont:
    # Part of matplotlib, which draws with it by default.
    weight = "bold" if is_bold else "normal"
    file = findfont(FontProperties(family="DejaVu Sans", weight=weight))
    return ImageFont.truetype(file, points * DPI / 72)


def _drawn(figure: Figure) -> FigureCanvasAgg:
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A character that the font lacks is drawn as a box; a warning per trial is too much.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        canvas.draw()  # type: ignore[no-untyped-call]
    return canvas


def _pixels(canvas: FigureCanvasAgg) -> Image.Image:
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels).convert("RGB")
