"""`python -m tuner.predict`: classify image files with a model of the registry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from tuner import cli, terminal
from tuner.config import load_predict, to_dict
from tuner.escapes import visible
from tuner.schema import PredictConfig

if TYPE_CHECKING:
    from tuner.loading import FilePredictions

SHEET = Path("predictions.png")
"""What `show=true` writes, into the current folder."""

MAX_MATRIX_CLASSES = 20
"""Classes up to which the confusion matrix is printed."""


def main(composed: DictConfig) -> None:
    """Print what a model takes each image file for, and how often it is right."""
    config = load_predict(composed)
    from tuner import images
    from tuner.logs import native_noise_to

    root = Path(config.images)
    paths = images.find(root)
    images.check(paths)
    with native_noise_to(Path(os.devnull)):
        from tuner import drawings, loading

        classifier = loading.load(config.model, tracking_uri=config.tracking.uri)
        steps = drawings.Steps(**to_dict(config.prepare))
        predictions = classifier.predict_files(paths, steps)
    console = terminal.console()
    _print_predictions(console, root, predictions)
    _print_score(console, predictions)
    if config.show:
        from tuner.figures import sheets

        sheets.predictions(
            predictions.files, predictions.probabilities, predictions.classes, SHEET
        )
        left_out = len(paths) - sheets.MAX_FILES
        more = f" (without the last {left_out:,})" if left_out > 0 else ""
        console.print(f"\nBefore, after and prediction of each image: {SHEET}{more}")


def _print_predictions(console: Console, root: Path, predictions: FilePredictions) -> None:
    table = Table("file", "predicted", "probability", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    table.columns[2].justify = "right"
    for path, name, row in zip(
        predictions.files.paths, predictions.names, predictions.probabilities, strict=True
    ):
        shown = path.relative_to(root) if root.is_dir() else path
        table.add_row(visible(str(shown)), visible(name), f"{row.max():.3f}")
    console.print(table)


def _print_score(console: Console, predictions: FilePredictions) -> None:
    """Compare with the classes that the files' names or folders say, where they do."""
    from tuner import evaluation, images

    class_names = predictions.classes
    said = [images.class_of(path, class_names) for path in predictions.files.paths]
    known = np.array([i for i, name in enumerate(said) if name is not None], dtype=np.intp)
    if not len(known):
        return
    labels = np.array([class_names.index(name) for name in said if name is not None])
    result = evaluation.evaluate(predictions.probabilities[known], labels)
    hits = int(np.trace(result.confusion))
    console.print(
        f"\nOf {len(known)} files whose name or folder says a class: {hits} right, "
        f"{len(known) - hits} wrong, accuracy {result.accuracy:.4f}"
    )
    if len(class_names) > MAX_MATRIX_CLASSES:
        return
    shown = [visible(name) for name in class_names]
    table = Table("true", *shown, box=None, pad_edge=False, title="predicted")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in zip(shown, result.confusion, strict=True):
        table.add_row(name, *(str(count) if count else "·" for count in row))
    console.print(table)


if __name__ == "__main__":
    cli.run(main, "commands/predict", PredictConfig)
