"""Sheets of images with what was predicted of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuner.datasets import Split
from tuner.drawings import NO_INK
from tuner.evaluation.measures import Probabilities
from tuner.figures.drawing import new_figure, save, shortened
from tuner.images import image_files
from tuner.images.image_files import ImageFiles

MAX_ROWS = 20
"""Classes whose wrong predictions are shown, those with most of them."""

MAX_COLUMNS = 10
"""Wrong predictions of a class that are shown, the most confident ones."""

MAX_CHANGED = 4
"""Rows of images that are shown of those newly right, and of those newly wrong."""

MAX_FILES = 200
"""Image files whose predictions are shown."""

_TILE = 56

_TITLE_INCHES = 4.6
"""Width that the title of a sheet of wrong predictions takes."""


def wrong_predictions(
    wrong: Split, probabilities: Probabilities, class_names: Sequence[str], path: Path
) -> None:
    """Draw what was predicted wrong, a row for each true class, as a PNG.

    Under each image is what it was taken for, and with what probability. Of many, the most
    confident `MAX_COLUMNS` of a class are shown, and the `MAX_ROWS` classes with most mistakes.

    Args:
        wrong: The images, the most confident mistakes first.
        probabilities: What was predicted, `(num_wrong, classes)`.
        class_names: One name a class.
        path: File to write.
    """
    counts = np.bincount(wrong.labels, minlength=len(class_names))
    rows = np.sort(np.argsort(-counts, kind="stable")[:MAX_ROWS])
    rows = rows[counts[rows] > 0]
    num_columns = int(min(counts.max(initial=0), MAX_COLUMNS))
    height, width = _TILE + 22, _TILE + 10
    canvas = np.full(
        (max(len(rows), 1) * height, max(num_columns, 4) * width, 3), 255, np.uint8
    )
    captions = []
    for row, label in enumerate(rows):
        chosen = np.flatnonzero(wrong.labels == label)[:MAX_COLUMNS]
        for column, index in enumerate(chosen):
            shown = image_files.tile(wrong.images[index], _TILE)
            top, left = row * height + 2, column * width + (width - shown.shape[1]) // 2
            canvas[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
            said = _prediction(probabilities[index], class_names, 6)
            captions.append((column * width + width / 2, top + _TILE + 2, said))
    names = [f"{shortened(class_names[label])}\n{counts[label]:,} wrong" for label in rows]
    margin = 0.25 + 0.085 * max((len(line) for n in names for line in n.split("\n")), default=0)
    # Few classes make a narrow sheet, on which the title must fit all the same.
    right = max(_TITLE_INCHES - canvas.shape[1] / 80 - margin, 0.1)
    figure, axes = new_figure(
        canvas.shape[1] / 80 + margin + right, canvas.shape[0] / 80 + 0.6,
        (margin, 0.05, right, 0.55),
    )  # fmt: skip
    axes.imshow(canvas, interpolation="nearest")
    for x, y, text in captions:
        axes.text(x, y, text, ha="center", va="top", fontsize=7, color="0.25", parse_math=False)
    total = int(counts.sum())
    what = "no wrong predictions"
    if total:
        what = f"{total:,} wrong predictions, with what was predicted instead"
    if total > len(captions):
        what += f"\nshown: the {num_columns} most confident of each class"
        if len(rows) < np.count_nonzero(counts):
            what += f", of the {len(rows)} classes with most"
    left = (0.1 - margin) * 80 / canvas.shape[1]
    axes.text(left, 1.02, what, transform=axes.transAxes, fontsize=10, parse_math=False)
    axes.set_yticks(np.arange(len(rows)) * height + 2 + _TILE / 2, names, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    save(figure, path)


def changed_predictions(
    test: Split,
    before: Probabilities,
    after: Probabilities,
    class_names: Sequence[str],
    path: Path,
) -> None:
    """Draw the images that one of two models gets right and the other wrong, as a PNG.

    Under each is its true class, and what the model that gets it wrong takes it for, and how
    surely: the surest first.

    Args:
        test: The images that both were tested on.
        before: What the model that was there says of them, `(num_test, classes)`.
        after: What the model that is compared with it says.
        class_names: One name a class.
        path: File to write.
    """
    was, is_now = (p.argmax(axis=1) == test.labels for p in (before, after))
    parts = [("newly right", is_now & ~was, before), ("newly wrong", was & ~is_now, after)]
    height, width = _TILE + 26, _TILE + 26
    num_rows = [
        min(-(-int(np.count_nonzero(of)) // MAX_COLUMNS), MAX_CHANGED) for _, of, _ in parts
    ]
    size = (2 * 30 + max(sum(num_rows), 1) * height, MAX_COLUMNS * width, 3)
    canvas = np.full(size, 255, np.uint8)
    figure, axes = new_figure(size[1] / 80 + 0.2, size[0] / 80 + 0.2, (0.1, 0.1, 0.1, 0.1))
    top = 0
    for (title, of, said), rows in zip(parts, num_rows, strict=True):
        chosen = np.flatnonzero(of)
        chosen = chosen[np.argsort(-said[chosen].max(axis=1), kind="stable")]
        shown = chosen[: rows * MAX_COLUMNS]
        more = f", the {len(shown)} surest mistakes" if len(shown) < len(chosen) else ""
        axes.text(
            2, top + 15, f"{len(chosen):,} {title}{more}", va="center", fontsize=10,
            fontweight="bold",
        )  # fmt: skip
        for place, index in enumerate(shown):
            y = top + 30 + place // MAX_COLUMNS * height
            x = place % MAX_COLUMNS * width + (width - _TILE) // 2
            tile = image_files.tile(test.images[index], _TILE)
            canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
            true = shortened(class_names[test.labels[index]], 6)
            caption = f"{true}, not {_prediction(said[index], class_names, 6)}"
            axes.text(
                x + _TILE / 2, y + _TILE + 2, caption, ha="center", va="top", fontsize=6,
                color="0.25", parse_math=False,
            )  # fmt: skip
        top += 30 + rows * height
    axes.imshow(canvas, interpolation="nearest")
    axes.set_axis_off()
    save(figure, path)


def predictions(
    files: ImageFiles, probabilities: Probabilities, class_names: Sequence[str], path: Path
) -> None:
    """Draw image files, what the model was shown of them, and what it took them for, as a PNG.

    Args:
        files: The files; the first `MAX_FILES` are drawn.
        probabilities: What was predicted, `(num_files, classes)`.
        class_names: One name a class.
        path: File to write.
    """
    num_shown = min(len(files.paths), MAX_FILES)
    num_columns = min(num_shown, 5)
    num_rows = -(-num_shown // num_columns)
    height, width = _TILE + 40, 2 * _TILE + 36
    canvas = np.full((num_rows * height, num_columns * width, 3), 255, np.uint8)
    figure, axes = new_figure(
        canvas.shape[1] / 80 + 0.2, canvas.shape[0] / 80 + 0.2, (0.1, 0.1, 0.1, 0.1)
    )
    for i in range(num_shown):
        top, left = i // num_columns * height, i % num_columns * width
        before = image_files.thumbnail(files.paths[i], _TILE)
        for image, x in ((before, left + 4), (files.images[i], left + _TILE + 12)):
            shown = image_files.tile(image, _TILE)
            # A white drawing on a white page needs a frame.
            canvas[top + 19 : top + 21 + shown.shape[0], x - 1 : x + 1 + shown.shape[1]] = 200
            canvas[top + 20 : top + 20 + shown.shape[0], x : x + shown.shape[1]] = shown
        said = _prediction(probabilities[i], class_names) if files.has_ink[i] else NO_INK
        name = shortened(files.paths[i].name, 22)
        axes.text(left + 2, top + 4, name, va="top", fontsize=7, color="0.4", parse_math=False)
        axes.text(
            left + 2, top + 22 + _TILE, said, va="top", fontsize=8, fontweight="bold",
            parse_math=False,
        )  # fmt: skip
    axes.imshow(canvas, interpolation="nearest")
    axes.set_axis_off()
    save(figure, path)


def _prediction(
    probabilities: Probabilities, class_names: Sequence[str], length: int = 14
) -> str:
    """Say what an image was taken for, and how surely: `7, 99 %`."""
    predicted = int(probabilities.argmax())
    probability = probabilities[predicted]
    percent = min(int(probability * 100), 99) if probability < 1 else 100
    return f"{shortened(class_names[predicted], length)}, {percent} %"
