"""Sheets of images with their predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from tuner.datasets import Split
from tuner.drawings import NO_INK
from tuner.evaluation.measures import Probabilities
from tuner.figures.drawing import save, write
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

_TILE = 70
"""Side of an image on a sheet, in pixels, like all lengths here."""

_EDGE = 10
"""Space around a sheet."""

_TITLE_WIDTH = 460
"""Width of the title of a sheet of wrong predictions."""

_TITLE_HEIGHT = 57
"""Space above the images of a sheet of wrong predictions."""

_LETTER = 8.5
"""Approximate width of a letter in the names of rows."""

_HEADING = 38
"""Height of a heading between rows of images."""


class _Sheet:
    """A white page of cells, each with room for images and text.

    Args:
        num_rows: Rows of cells.
        num_columns: Columns of cells.
        cell: Height and width of a cell.
        margins: Space on the left, above, on the right and below.
    """

    def __init__(
        self,
        num_rows: int,
        num_columns: int,
        cell: tuple[int, int],
        margins: tuple[int, int, int, int] = (_EDGE,) * 4,
    ) -> None:
        self._cell = cell
        self._left, self._top, right, below = margins
        height, width = cell
        across, down = num_columns * width, num_rows * height
        size = self._left + across + right, self._top + down + below
        self.picture = Image.new("RGB", size, "white")

    def corner(self, row: int, column: int, below: int = 0) -> tuple[int, int]:
        """Return the upper left corner `(x, y)` of a cell, with rows moved down by `below`."""
        height, width = self._cell
        return self._left + column * width, self._top + below + row * height

    def show(
        self, corner: tuple[int, int], image: npt.NDArray[np.uint8], said: str, points: float
    ) -> None:
        """Put an image at the top of the cell with this corner, and write small text below."""
        tile = image_files.tile(image, _TILE)
        (x, y), width = corner, self._cell[1]
        self.put(tile, x + (width - tile.shape[1]) // 2, y)
        place = x + width / 2, y + _TILE + 2
        write(self.picture, place, said, points, anchor="ma", colour="#404040")

    def put(
        self, tile: npt.NDArray[np.uint8], x: int, y: int, frame: str | None = None
    ) -> None:
        """Put an RGB image on the page at its own size, with a frame of this colour if any."""
        image = Image.fromarray(tile)
        if frame is not None:
            image, x, y = ImageOps.expand(image, 1, frame), x - 1, y - 1
        self.picture.paste(image, (x, y))


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
    names = [f"{shortened(class_names[label])}\n{counts[label]:,} wrong" for label in rows]
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    caption, side = 27, 12
    cell = (_TILE + caption, _TILE + side)
    left = 25 + round(_LETTER * longest)
    shown_columns = max(num_columns, 4)
    # With few classes the sheet is narrow, but the title must still fit.
    right = max(_TITLE_WIDTH - left - shown_columns * cell[1], _EDGE)
    sheet = _Sheet(max(len(rows), 1), shown_columns, cell, (left, _TITLE_HEIGHT, right, 3))
    num_shown = 0
    for row, (label, name) in enumerate(zip(rows, names, strict=True)):
        middle = sheet.corner(row, 0)[1] + _TILE / 2
        write(sheet.picture, (left - 5, middle), name, 8, anchor="rm")
        for column, index in enumerate(np.flatnonzero(wrong.labels == label)[:MAX_COLUMNS]):
            said = _prediction(probabilities[index], class_names, 6)
            sheet.show(sheet.corner(row, column), wrong.images[index], said, 7)
            num_shown += 1
    what = _title(counts, len(rows), num_columns, num_shown)
    write(sheet.picture, (_EDGE, _TITLE_HEIGHT - 10), what, 10, anchor="ld")
    save(sheet.picture, path)


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
    num_rows = [
        min(-(-int(np.count_nonzero(of)) // MAX_COLUMNS), MAX_CHANGED) for _, of, _ in parts
    ]
    caption, side = 32, 32
    cell = (_TILE + caption, _TILE + side)
    margins = _EDGE, _EDGE, _EDGE, _EDGE + len(parts) * _HEADING
    sheet = _Sheet(max(sum(num_rows), 1), MAX_COLUMNS, cell, margins)
    below = 0
    for (title, of, said), rows in zip(parts, num_rows, strict=True):
        chosen = np.flatnonzero(of)
        chosen = chosen[np.argsort(-said[chosen].max(axis=1), kind="stable")]
        shown = chosen[: rows * MAX_COLUMNS]
        more = f", the {len(shown)} most confident" if len(shown) < len(chosen) else ""
        x, y = sheet.corner(0, 0, below)
        write(
            sheet.picture, (x + 2, y + _HEADING / 2), f"{len(chosen):,} {title}{more}", 10,
            anchor="lm", is_bold=True,
        )  # fmt: skip
        below += _HEADING
        for place, index in enumerate(shown):
            true = shortened(class_names[test.labels[index]], 6)
            wrong = _prediction(said[index], class_names, 6)
            corner = sheet.corner(*divmod(place, MAX_COLUMNS), below)
            sheet.show(corner, test.images[index], f"{true}, not {wrong}", 6)
        below += rows * cell[0]
    save(sheet.picture, path)


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
    name_above, said_below, gap = 25, 25, 10
    sheet = _Sheet(
        -(-num_shown // num_columns),
        num_columns,
        (name_above + _TILE + said_below, 2 * _TILE + 4 * gap + 5),
    )
    for i in range(num_shown):
        x, y = sheet.corner(*divmod(i, num_columns))
        name = shortened(files.paths[i].name, 22)
        write(sheet.picture, (x + 2, y + 5), name, 7, colour="#666666")
        images = image_files.thumbnail(files.paths[i], _TILE), files.images[i]
        for image, place in zip(images, (gap // 2, _TILE + 3 * gap // 2), strict=True):
            tile = image_files.tile(image, _TILE)
            # A white drawing on a white page needs a frame.
            sheet.put(tile, x + place, y + name_above, frame="#c8c8c8")
        said = _prediction(probabilities[i], class_names) if files.has_ink[i] else NO_INK
        write(sheet.picture, (x + 2, y + name_above + _TILE + 2), said, 8, is_bold=True)
    save(sheet.picture, path)


def _prediction(
    probabilities: Probabilities, class_names: Sequence[str], length: int = 14
) -> str:
    """Return the predicted class with its probability: `7, 99 %`."""
    predicted = int(probabilities.argmax())
    probability = probabilities[predicted]
    percent = min(int(probability * 100), 99) if probability < 1 else 100
    return f"{shortened(class_names[predicted], length)}, {percent} %"
