"""Types of the fixtures that make trials, and the files that a trial leaves."""

from collections.abc import Callable

from tuner.outcomes import TrialResult

MakeResult = Callable[[str], TrialResult]
"""Gives a result, with files of its own, to the trial of this id."""

MakeRun = Callable[[], tuple[str, str]]
"""Records a finished trial, and returns the ids of its run and of its model."""

ARTIFACTS = (
    "confusion_matrix.png",
    "confusion_matrix.json",
    "evaluation.json",
    "calibration.png",
    "wrong_predictions.png",
    "wrong_predictions.csv",
)
"""What a worker writes of every trial, in its order."""
