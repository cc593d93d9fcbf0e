"""What a card in a notebook says of a trial: values, accuracy with its interval, its curve."""

from __future__ import annotations

from tuner import names
from tuner.evaluation.measures import accuracy_interval
from tuner.evaluation.ties import accuracy_on_test
from tuner.runtime import cards
from tuner.runtime.cards import Series
from tuner.tracking.epochs_file import Epochs
from tuner.trial import Metrics, Values

Rows = list[tuple[str, object]]


def score(name: str, value: float, num_validation: int | None) -> Rows:
    """Return a row for a trial's score, with its 95 % interval if it is an accuracy.

    Args:
        name: The objective.
        value: The score.
        num_validation: Number of validation images; None if that is not known.
    """
    if name != "val_accuracy" or not num_validation:
        return [(name, f"{value:.4f}")]
    interval = accuracy_interval(round(value * num_validation), num_validation)
    return [(name, _with_interval(value, interval, num_validation))]


def test_accuracy(metrics: Metrics) -> Rows:
    """Return a row for a trial's accuracy on the test images, if it was measured."""
    tested = accuracy_on_test(metrics)
    if tested is None:
        return []
    said = _with_interval(tested.accuracy, tested.interval, tested.num_images)
    return [(names.TEST_ACCURACY, said)]


def values(of_trial: Values) -> Rows:
    """Return a row for each value of a trial."""
    return list(of_trial.items())


def curve(epochs: Epochs, objective: str) -> str:
    """Return a picture of a trial's objective after each epoch, on validation and training.

    Args:
        epochs: Its metrics after each epoch.
        objective: The metric to draw, such as `val_accuracy`.
    """
    drawn = [
        Series(name, epochs.of_metric(name))
        for name in (objective, objective.removeprefix("val_"))
        if name in epochs.metrics
    ]
    return cards.chart(drawn, "epoch")


def _with_interval(accuracy: float, interval: tuple[float, float], num_images: int) -> str:
    low, high = interval
    return f"{accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}, {num_images:,} images)"
