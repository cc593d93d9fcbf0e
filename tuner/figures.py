"""The pictures that go with a trial: the only import of matplotlib."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tuner import images
from tuner.datasets import Split
from tuner.evaluation import NUM_BINS, Calibration, Counts, Probabilities
from tuner.images import ImageFiles

MAX_ANNOTATED = 20
"""Classes up to which every cell has its count written in it."""

MAX_GRID = 100
"""Classes up to which cells are told apart by lines, which would hide smaller ones."""

MAX_ROWS = 20
"""Classes whose wrong predictions are shown, those with most of them."""

MAX_COLUMNS = 10
"""Wrong predictions of a class that are shown, the most confident ones."""

MAX_CHANGED = 4
"""Rows of images that are shown of those newly right, and of those newly wrong."""

MAX_FILES = 200
"""Image files whose predictions are shown."""

_TILE = 56


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
    _save(figure, path)


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
    _save(figure, path)


def _class_pairs(class_names: Sequence[str]) -> tuple[Figure, Any]:
    """Return a figure with axes for a matrix of true classes against predicted ones."""
    num_classes = len(class_names)
    # Names would run into each other where there are many.
    every = -(-num_classes // 40)
    ticks = list(range(0, num_classes, every))
    names = [_shortened(class_names[i]) for i in ticks]
    longest = max(len(name) for name in names)
    is_long = longest > 3

    side = float(np.clip(0.5 * num_classes + 1.6, 4.5, 14))
    # Room for the names, in inches.
    text = 0.1 * longest
    left, right, bottom, top = 0.5 + text, 0.15, 0.55 + (text if is_long else 0.15), 0.45
    width = side - max(left + right, bottom + top)
    figure, axes = _figure(
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


def calibration(found: Calibration, path: Path) -> None:
    """Draw how often a model is right where it is so confident, as a PNG.

    Args:
        found: Of the model's predictions.
        path: File to write.
    """
    figure, axes = _figure(4.8, 4.2)
    edges = np.linspace(0, 1, NUM_BINS + 1)
    share = found.counts / found.counts.sum()
    axes.plot((0, 1), (0, 1), color="0.6", linestyle="--", linewidth=1)
    filled = found.counts > 0
    axes.bar(
        edges[:-1][filled], found.accuracies[filled], 1 / NUM_BINS, align="edge",
        color="#9ecae1", edgecolor="white", label="accuracy",
    )  # fmt: skip
    axes.plot(
        found.confidences[filled], found.accuracies[filled], "o", color="#08519c", markersize=4
    )
    axes.step(
        edges, np.append(share, share[-1]), where="post", color="#e6550d", linewidth=1.2,
        label="share of the images",
    )  # fmt: skip
    axes.set_title(f"expected calibration error {found.error:.4f}")
    axes.set_xlabel("confidence: probability of the predicted class")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of the predictions that are right")
    axes.legend(loc="upper left", framealpha=0.9, edgecolor="white")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


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
            shown = images.tile(wrong.images[index], _TILE)
            top, left = row * height + 2, column * width + (width - shown.shape[1]) // 2
            canvas[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
            said = _prediction(probabilities[index], class_names, 6)
            captions.append((column * width + width / 2, top + _TILE + 2, said))
    names = [f"{_shortened(class_names[label])}\n{counts[label]:,} wrong" for label in rows]
    margin = 0.25 + 0.085 * max((len(line) for n in names for line in n.split("\n")), default=0)
    figure, axes = _figure(
        canvas.shape[1] / 80 + margin + 0.1, canvas.shape[0] / 80 + 0.6,
        (margin, 0.05, 0.1, 0.55),
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
    axes.set_title(what, fontsize=10)
    axes.set_yticks(np.arange(len(rows)) * height + 2 + _TILE / 2, names, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    _save(figure, path)


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
    figure, axes = _figure(size[1] / 80 + 0.2, size[0] / 80 + 0.2, (0.1, 0.1, 0.1, 0.1))
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
            tile = images.tile(test.images[index], _TILE)
            canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
            true = _shortened(class_names[test.labels[index]], 6)
            caption = f"{true}, not {_prediction(said[index], class_names, 6)}"
            axes.text(
                x + _TILE / 2, y + _TILE + 2, caption, ha="center", va="top", fontsize=6,
                color="0.25", parse_math=False,
            )  # fmt: skip
        top += 30 + rows * height
    axes.imshow(canvas, interpolation="nearest")
    axes.set_axis_off()
    _save(figure, path)


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
    figure, axes = _figure(
        canvas.shape[1] / 80 + 0.2, canvas.shape[0] / 80 + 0.2, (0.1, 0.1, 0.1, 0.1)
    )
    for i in range(num_shown):
        top, left = i // num_columns * height, i % num_columns * width
        before = images.thumbnail(files.paths[i], _TILE)
        for image, x in ((before, left + 4), (files.images[i], left + _TILE + 12)):
            shown = images.tile(image, _TILE)
            # A white drawing on a white page needs a frame.
            canvas[top + 19 : top + 21 + shown.shape[0], x - 1 : x + 1 + shown.shape[1]] = 200
            canvas[top + 20 : top + 20 + shown.shape[0], x : x + shown.shape[1]] = shown
        said = _prediction(probabilities[i], class_names)
        name = _shortened(files.paths[i].name, 22)
        axes.text(left + 2, top + 4, name, va="top", fontsize=7, color="0.4", parse_math=False)
        axes.text(
            left + 2, top + 22 + _TILE, said, va="top", fontsize=8, fontweight="bold",
            parse_math=False,
        )  # fmt: skip
    axes.imshow(canvas, interpolation="nearest")
    axes.set_axis_off()
    _save(figure, path)


def _prediction(
    probabilities: Probabilities, class_names: Sequence[str], length: int = 14
) -> str:
    """Say what an image was taken for, and how surely: `7, 99 %`."""
    predicted = int(probabilities.argmax())
    probability = probabilities[predicted]
    percent = min(int(probability * 100), 99) if probability < 1 else 100
    return f"{_shortened(class_names[predicted], length)}, {percent} %"


def _figure(
    width: float, height: float, margins: tuple[float, float, float, float] | None = None
) -> tuple[Figure, Any]:
    """Return a figure of so many inches, and axes in it with these margins.

    Matplotlib's own layouts draw everything twice, and a trial of a second should not spend a
    third of one on its pictures.
    """
    figure = Figure(figsize=(width, height), dpi=100)
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


def _save(figure: Figure, path: Path) -> None:
    with warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box; once for every trial is too much to say.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        figure.savefig(path)


def _shortened(name: str, length: int = 14) -> str:
    if len(name) <= length:
        return name
    # The end often tells names apart.
    end = length // 3
    return f"{name[: length - end - 1]}…{name[-end:]}"
