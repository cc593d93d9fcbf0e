"""The files about a trial's test split, read back."""

import csv
import json
from pathlib import Path

import numpy as np

from support.trials import ARTIFACTS
from tuner.datasets import Split
from tuner.evaluation.measures import evaluate
from tuner.worker import trial_files

NAMES = ["zero", "one, or so", "Zwölf"]
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.3, 0.45], [0.5, 0.25, 0.25], [0.9, 0.1, 0.0]],
    np.float32,
)
LABELS = np.array([0, 1, 2, 1, 2])
TEST = Split(np.zeros((5, 4, 4), np.uint8), LABELS)


def test_write(tmp_path: Path) -> None:
    result = evaluate(PROBABILITIES, LABELS)
    written = trial_files.write(result, PROBABILITIES, TEST, NAMES, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert [path.name for path in written] == list(ARTIFACTS)
    matrix = json.loads((tmp_path / "confusion_matrix.json").read_text(encoding="utf-8"))
    assert matrix == {
        "class_names": NAMES,
        "counts": [[1, 0, 0], [1, 1, 0], [1, 0, 1]],
        "shares": [[1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]],
    }
    numbers = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert (numbers["num_right"], numbers["num_wrong"], numbers["accuracy"]) == (3, 2, 0.6)
    assert numbers["classes"][1] == {
        "name": "one, or so",
        "images": 2,
        "precision": 1.0,
        "recall": 0.5,
        "f1": 0.666667,
    }
    with (tmp_path / "wrong_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The most confident mistake first.
    assert rows == [
        {"index": "4", "true": "Zwölf", "predicted": "zero", "probability": "0.900000"},
        {"index": "3", "true": "one, or so", "predicted": "zero", "probability": "0.500000"},
    ]
    for picture in written:
        assert picture.suffix != ".png" or picture.read_bytes()[:4] == b"\x89PNG"


def test_write_without_a_mistake(tmp_path: Path) -> None:
    probabilities = np.eye(3, dtype=np.float32)[LABELS]
    result = evaluate(probabilities, LABELS)
    trial_files.write(result, probabilities, TEST, NAMES, tmp_path)
    lines = (tmp_path / "wrong_predictions.csv").read_text().splitlines()
    assert lines == ["index,true,predicted,probability"]
