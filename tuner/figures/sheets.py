"""Sheets of images with their predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.datasets import Split
from tuner.drawings import NO_INK
from tuner.evaluation.measures import Probabilities
from tuner.figures.drawing import new_figure, save
from tuner.images import image_files
from tuner.images.image_files import ImageFiles
from tuner.wording import plural, shortened

MAX_ROWS = 20
"""Number of classes whose wrong predictions are shown, those with most of them."""

MAX_COLUMNS = 10
"""Number of wrong predictions shown per class, the most confident ones."""

MAX_CHANGED = 4
"""Number of rows of newly right images that are shown, and of newly wrong ones."""

MAX_FILES = 200
"""Number of image files whose predictions are shown."""

_TILE = 56
"""Side of an image on a sheet, in pixels of the sheet."""

_PER_INCH = 80
"""Pixels of a sheet per inch of its figure."""

_TITLE_INCHES = 4.6
"""Width of the title of a sheet of wrong predictions."""

_HEADING = 30
"""Height of a heading between rows of images, in pixels of the sheet."""


class _Sheet:
    """A white page of cells, each with room for images and text.

    Args:
        num_rows: Rows of cells.
        num_columns: Columns of cells.
        cell: Height and width of a cell, in pixels.
        extra: Additional height of the page, in pixels.
    """

    def __init__(
        self, num_rows: int, num_columns: int, cell: tuple[int, int], extra: int = 0
    ) -> None:
        self._cell = cell
        self._texts: list[tuple[float, float, str, dict[str, object]]] = []
        height, width = cell
        self.pixels = np.full(
            (num_rows * height + extra, num_columns * width, 3), 255, np.uint8
        )

    @property
    def inches(self) -> tuple[float, float]:
        """Width and height in the figure."""
        height, width = self.pixels.shape[:2]
        return width / _PER_INCH, height / _PER_INCH

    def corner(self, row: int, column: int, below: int = 0) -> tuple[int, int]:
        """Return the upper left corner `(y, x)` of a cell, with rows moved down by `below`."""
        return below + row * self._cell[0], column * self._cell[1]

    def put(
        self, image: npt.NDArray[np.uint8], y: int, x: int, frame: int | None = None
    ) -> None:
        """Put a tile of an image on the page, with a frame of this brightness if any."""
        tile = image_files.tile(image, _TILE)
        height, width = tile.shape[:2]
        if frame is not None:
            self.pixels[y - 1 : y + 1 + height, x - 1 : x + 1 + width] = frame
        self.pixels[y : y + height, x : x + width] = tile

    def write(self, y: float, x: float, text: str, **style: object) -> None:
        """Write text with its upper left end at a place, unless the style says otherwise."""
        self._texts.append((x, y, text, {"va": "top", "parse_math": False, **style}))

    def draw_in(self, axes: Axes) -> None:
        """Draw the page in axes."""
        axes.imshow(self.pixels, interpolation="nearest")
        for x, y, text, style in self._texts:
            axes.text(x, y, text, None, **style)

    def figure(self) -> Figure:
        """Return a figure of nothing but the page."""
        edge = 0.1
        width, height = self.inches
        figure, axes = new_figure(width + 2 * edge, height + 2 * edge, (edge,) * 4)
        self.draw_in(axes)
        axes.set_axis_off()
        return figure


def wrong_predictions(
    wrong: Split, probabilities: Probabilities, class_names: Sequence[str], path: Path
) -> None:
    """Draw the wrong predictions, a row per true class, as a PNG.

    Below each image are the predicted class and its probability. If there are many, the most
    confident `MAX_COLUMNS` of a class are shown, and the `MAX_ROWS` classes with most mistakes.

    Args:
        wrong: The images, the most confident mistakes first.
        probabilities: Their predictions, `(num_wrong, classes)`.
        class_names: One name per class.
        path: File to write.
    """
    counts = np.bincount(wrong.labels, minlength=len(class_names))
    rows = np.sort(np.argsort(-counts, kind="stable")[:MAX_ROWS])
    rows = rows[counts[rows] > 0]
    num_columns = int(min(counts.max(initial=0), MAX_COLUMNS))
    gap, caption, side = 2, 20, 10
    sheet = _Sheet(
        max(len(rows), 1), max(num_columns, 4), (gap + _TILE + caption, _TILE + side)
    )
    num_shown = 0
    for row, label in enumerate(rows):
        for column, index in enumerate(np.flatnonzero(wrong.labels == label)[:MAX_COLUMNS]):
            y, x = sheet.corner(row, column)
            width = image_files.tile(wrong.images[index], _TILE).shape[1]
            sheet.put(wrong.images[index], y + gap, x + (_TILE + side - width) // 2)
            said = _prediction(probabilities[index], class_names, 6)
            sheet.write(
                y + 2 * gap + _TILE, x + (_TILE + side) / 2, said,
                ha="center", fontsize=7, color="0.25",
            )  # fmt: skip
            num_shown += 1
    names = [f"{shortened(class_names[label])}\n{counts[label]:,} wrong" for label in rows]
    width, height = sheet.inches
    left = 0.25 + 0.085 * max((len(line) for n in names for line in n.split("\n")), default=0)
    # With few classes the sheet is narrow, but the title must still fit.
    right = max(_TITLE_INCHES - width - left, 0.1)
    bottom, top = 0.05, 0.55
    figure, axes = new_figure(
        left + width + right, bottom + height + top, (left, bottom, right, top)
    )
    sheet.draw_in(axes)
    what = _title(counts, len(rows), num_columns, num_shown)
    axes.text(
        (0.1 - left) / width, 1.02, what, transform=axes.transAxes, fontsize=10,
        parse_math=False,
    )  # fmt: skip
    middles = [sheet.corner(row, 0)[0] + gap + _TILE / 2 for row in range(len(rows))]
    axes.set_yticks(middles, names, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    save(figure, path)


def _title(
    counts: npt.NDArray[np.int64], num_rows: int, num_columns: int, num_shown: int
) -> str:
    """Say how many wrong predictions there are, and which of them are shown."""
    total = int(counts.sum())
    if not total:
        return "no wrong predictions"
    said = f"{plural(total, 'wrong prediction')}, with the predicted class"
    if total > num_shown:
        said += f"\nshown: the {num_columns} most confident per class"
        if num_rows < np.count_nonzero(counts):
            said += f", for the {num_rows} classes with most"
    return said


def changed_predictions(
    test: Split,
    before: Probabilities,
    after: Probabilities,
    class_names: Sequence[str],
    path: Path,
) -> None:
    """Draw the images that one of two models gets right and the other wrong, as a PNG.

    Below each are its true class, and the wrong prediction with its probability. The most
    confident mistakes come first.

    Args:
        test: The images that both were tested on.
        before: The earlier model's predictions, `(num_test, classes)`.
        after: The predictions of the model that is compared with it.
        class_names: One name per class.
        path: File to write.
    """
    was, is_now = (p.argmax(axis=1) == test.labels for p in (before, after))
    parts = [("newly right", is_now & ~was, before), ("newly wrong", was & ~is_now, after)]
    caption, side = 26, 26
    num_rows = [
        min(-(-int(np.count_nonzero(of)) // MAX_COLUMNS), MAX_CHANGED) for _, of, _ in parts
    ]
    cell = (_TILE + caption, _TILE + side)
    sheet = _Sheet(max(sum(num_rows), 1), MAX_COLUMNS, cell, len(parts) * _HEADING)
    top = 0
    for (title, of, said), rows in zip(parts, num_rows, strict=True):
        chosen = np.flatnonzero(of)
        chosen = chosen[np.argsort(-said[chosen].max(axis=1), kind="stable")]
        shown = chosen[: rows * MAX_COLUMNS]
        more = f", the {len(shown)} most confident" if len(shown) < len(chosen) else ""
        sheet.write(
            top + _HEADING / 2, 2, f"{len(chosen):,} {title}{more}", va="center", fontsize=10,
            fontweight="bold",
        )  # fmt: skip
        for place, index in enumerate(shown):
            y, x = sheet.corner(*divmod(place, MAX_COLUMNS), below=top + _HEADING)
            sheet.put(test.images[index], y, x + side // 2)
            true = shortened(class_names[test.labels[index]], 6)
            sheet.write(
                y + _TILE + 2, x + (_TILE + side) / 2,
                f"{true}, not {_prediction(said[index], class_names, 6)}",
                ha="center", fontsize=6, color="0.25",
            )  # fmt: skip
        top += _HEADING + rows * cell[0]
    save(sheet.figure(), path)


def predictions(
    files: ImageFiles, probabilities: Probabilities, class_names: Sequence[str], path: Path
) -> None:
    """Draw image files, the images shown to the model, and its predictions, as a PNG.

    Args:
        files: The files; the first `MAX_FILES` are drawn.
        probabilities: The predictions, `(num_files, classes)`.
        class_names: One name per class.
        path: File to write.
    """
    num_shown = min(len(files.paths), MAX_FILES)
    num_columns = min(num_shown, 5)
    name_above, said_below, gap = 20, 20, 8
    sheet = _Sheet(
        -(-num_shown // num_columns),
        num_columns,
        (name_above + _TILE + said_below, 2 * _TILE + 4 * gap + 4),
    )
    for i in range(num_shown):
        y, x = sheet.corner(*divmod(i, num_columns))
        before = image_files.thumbnail(files.paths[i], _TILE)
        # A white drawing on a white page needs a frame.
        sheet.put(before, y + name_above, x + gap // 2, frame=200)
        sheet.put(files.images[i], y + name_above, x + _TILE + 3 * gap // 2, frame=200)
        name = shortened(files.paths[i].name, 22)
        sheet.write(y + 4, x + 2, name, fontsize=7, color="0.4")
        said = _prediction(probabilities[i], class_names) if files.has_ink[i] else NO_INK
        sheet.write(y + name_above + _TILE + 2, x + 2, said, fontsize=8, fontweight="bold")
    save(sheet.figure(), path)


def _prediction(
    probabilities: Probabilities, class_names: Sequence[str], length: int = 14
) -> str:
    """Return the predicted class with its probability: `7, 99 %`."""
    predicted = int(probabilities.argmax())
    probability = probabilities[predicted]
    percent = min(int(probability * 100), 99) if probability < 1 else 100
    return f"{shortened(class_names[predicted], length)}, {percent} %"
