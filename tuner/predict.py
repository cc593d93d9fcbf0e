"""`python -m tuner.predict`: classify image files with a model of the registry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from tuner.cli import application
from tuner.config import printed_commands
from tuner.config.compose import load_predict, to_dict
from tuner.config.schema import PredictConfig, module_names
from tuner.escapes import visible
from tuner.runtime import terminal
from tuner.wording import plural

if TYPE_CHECKING:
    from tuner.classifier.safe_loading import FilePredictions

SHEET = Path("predictions.png")
"""The file that `show=true` writes, in the current folder."""

MAX_MATRIX_CLASSES = 20
"""Largest number of classes for which the confusion matrix is printed."""


def main(composed: DictConfig) -> None:
    """Print a model's prediction for each image file, and how often it is right."""
    config = load_predict(composed)
    from tuner.images import folders, image_files
    from tuner.runtime.logs import native_noise_to

    chosen = image_files.check(image_files.find(Path(config.images)))
    with native_noise_to(Path(os.devnull)):
        from tuner import drawings
        from tuner.classifier import lookup, safe_loading
        from tuner.runtime import tensorflow_setup
        from tuner.tracking import tracking_store

        tensorflow_setup.check_flags()
        uri = config.tracking.uri
        model = config.model or lookup.only_champion(
            tracking_store.connect_to_existing(uri),
            "tuner.predict",
            printed_commands.arguments(),
        )
        classifier = safe_loading.load(
            model, tracking_uri=uri, custom_objects=module_names(config.custom_objects)
        )
        steps = drawings.Steps(**to_dict(config.prepare))
        files = image_files.read(
            chosen.paths, classifier.image_shape, classifier.form, steps, may_leave_out=True
        )
        predictions = classifier.predict_read(files)
    left_out = [*chosen.left_out, *files.left_out]
    folders.judge_left_out(left_out, chosen.num_files, chosen.root)
    console = terminal.console()
    _print_predictions(console, chosen.root, predictions)
    _print_score(console, chosen.root, predictions)
    if config.show:
        from tuner.figures import sheets

        sheets.predictions(
            predictions.files, predictions.probabilities, predictions.classes, SHEET
        )
        not_shown = len(files.paths) - sheets.MAX_FILES
        more = f" (without the last {not_shown:,})" if not_shown > 0 else ""
        console.print(f"\nBefore, after and prediction of each image: {SHEET}{more}")


def _print_predictions(console: Console, root: Path, predictions: FilePredictions) -> None:
    from tuner.drawings import NO_INK

    table = Table("file", "predicted", "probability", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    table.columns[2].justify = "right"
    for path, name, row in zip(
        predictions.files.paths, predictions.names, predictions.probabilities, strict=True
    ):
        shown = visible(str(path.relative_to(root) if path != root else path))
        if name is None:
            table.add_row(shown, NO_INK, "")
        else:
            table.add_row(shown, visible(name), f"{row.max():.3f}")
    console.print(table)


def _print_score(console: Console, root: Path, predictions: FilePredictions) -> None:
    """Compare predictions with the classes that the files' folders or names give, if they do.

    A file without ink counts as wrong, and stands in no column of the matrix.
    """
    from tuner.datasets import class_folders
    from tuner.evaluation import measures

    class_names, files = predictions.classes, predictions.files
    said = class_folders.true_classes(files.paths, root, class_names)
    known = np.array([name is not None for name in said])
    if not known.any():
        return
    judged = np.flatnonzero(known & files.has_ink)
    labels = np.array([class_names.index(str(said[i])) for i in judged], np.int64)
    predicted = predictions.probabilities[judged].argmax(axis=1)
    confusion = measures.confusion_matrix(labels, predicted, len(class_names))
    num_known, hits = int(known.sum()), int(np.trace(confusion))
    num_blank = num_known - len(judged)
    blank = f", {num_blank} of them without ink" if num_blank else ""
    console.print(
        f"\nAccuracy on {plural(num_known, 'file')} whose name or folder gives the class: "
        f"{hits / num_known:.4f} ({hits} right, {num_known - hits} wrong{blank})"
    )
    if len(class_names) > MAX_MATRIX_CLASSES:
        return
    shown = [visible(name) for name in class_names]
    table = Table("true", *shown, box=None, pad_edge=False, title="predicted")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in zip(shown, confusion, strict=True):
        table.add_row(name, *(str(count) if count else "·" for count in row))
    console.print(table)


if __name__ == "__main__":
    application.run(main, "commands/predict", PredictConfig)
