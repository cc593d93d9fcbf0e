"""The files that show what a trial gets right and wrong in the test split.

They lie in the trial's own folder until the driver has copied them to the tracking store, so
that they need not be on disk here.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tuner import names
from tuner.datasets import Split
from tuner.escapes import csv_cell
from tuner.evaluation.measures import Evaluation, Probabilities, mistakes
from tuner.figures.calibration import calibration_diagram
from tuner.figures.confusion import confusion_matrix
from tuner.figures.sheets import wrong_predictions
from tuner.runtime import files
from tuner.trial import Json


def write(
    result: Evaluation,
    probabilities: Probabilities,
    test: Split,
    class_names: Sequence[str],
    folder: Path,
) -> tuple[Path, ...]:
    """Write all of them.

    Args:
        result: The model's results on the test split.
        probabilities: Its predictions, `(num_test, classes)`.
        test: The test split.
        class_names: One name per class.
        folder: Folder to write to.

    Returns:
        `confusion_matrix.png` and `.json`, `evaluation.json`, `calibration.png`, and
        `wrong_predictions.png` and `.csv`.
    """
    wrong = mistakes(probabilities, test.labels)
    confusion_matrix(result.confusion, class_names, matrix := folder / "confusion_matrix.png")
    shares = result.confusion / result.confusion.sum(axis=1, keepdims=True).clip(1)
    counts = _write_json(
        folder / names.CONFUSION_MATRIX,
        {
            "class_names": list(class_names),
            "counts": result.confusion.tolist(),
            "shares": shares.round(6).tolist(),
        },
    )
    numbers = _write_json(folder / "evaluation.json", _numbers(result, class_names))
    calibration_diagram(result.calibration, diagram := folder / "calibration.png")
    wrong_predictions(
        test.take(wrong),
        probabilities[wrong],
        class_names,
        sheet := folder / names.WRONG_PREDICTIONS,
    )
    table = folder / names.WRONG_IMAGES
    _write_mistakes(table, wrong, probabilities, test, class_names)
    return matrix, counts, numbers, diagram, sheet, table


def _numbers(result: Evaluation, class_names: Sequence[str]) -> dict[str, Json]:
    precision, recall, f1 = result.of_classes()
    totals = result.confusion.sum(axis=1)
    return {
        "num_right": result.num_right,
        "num_wrong": result.num_wrong,
        "accuracy": result.accuracy,
        "loss": result.loss,
        "expected_calibration_error": result.calibration.error,
        "classes": [
            {
                "name": name,
                "images": int(totals[i]),
                "precision": round(float(precision[i]), 6),
                "recall": round(float(recall[i]), 6),
                "f1": round(float(f1[i]), 6),
            }
            for i, name in enumerate(class_names)
        ],
    }


def _write_mistakes(
    path: Path,
    wrong: npt.NDArray[np.intp],
    probabilities: Probabilities,
    test: Split,
    class_names: Sequence[str],
) -> None:
    cells = [csv_cell(name) for name in class_names]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("index", "true", "predicted", "probability"))
    for index in wrong:
        predicted = int(probabilities[index].argmax())
        probability = f"{probabilities[index, predicted]:.6f}"
        true = cells[test.labels[index]]
        writer.writerow((index, true, cells[predicted], probability))
    files.write_scratch(path, text.getvalue())


def _write_json(path: Path, content: dict[str, Json]) -> Path:
    files.write_scratch(path, json.dumps(content))
    return path
