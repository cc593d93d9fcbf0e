"""Measures of predictions, against values worked out by hand."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tuner.evaluation.measures import (
    NUM_BINS,
    accuracy_interval,
    as_probabilities,
    calibration,
    confusion_matrix,
    evaluate,
    mistakes,
)

# Right, right, right, and 1 taken for 0.
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5], [0.5, 0.25, 0.25]], np.float32
)
LABELS = np.array([0, 1, 2, 1])


def test_evaluate_four_images() -> None:
    result = evaluate(PROBABILITIES, LABELS)
    assert result.accuracy == 0.75
    # -ln 0.7, -ln 0.8, -ln 0.5 and -ln 0.25: 0.356675 + 0.223144 + 0.693147 + 1.386294 over 4.
    assert result.loss == pytest.approx(0.664815, abs=1e-6)
    assert result.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert (result.num_right, result.num_wrong) == (3, 1)
    precision, recall, f1 = result.of_classes()
    assert precision.tolist() == [0.5, 1, 1]
    assert recall.tolist() == [1, 0.5, 1]
    assert f1 == pytest.approx([2 / 3, 2 / 3, 1])
    # 0.7 and 0.8 right, 0.5 once right and once wrong: (0.3 + 0.2 + 2 * 0) / 4.
    assert result.calibration.error == pytest.approx(0.125)


def test_classes_agree_with_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support

    drawn = np.random.default_rng(0)
    probabilities = drawn.dirichlet(np.full(7, 0.3), 500).astype(np.float32)
    # Class 5 never occurs, class 6 is never predicted.
    probabilities[:, 6] = 0
    labels = drawn.integers(0, 5, 500)
    labels[:20] = 6
    result = evaluate(probabilities, labels)
    expected = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(7), zero_division=0
    )
    for ours, theirs in zip(result.of_classes(), expected[:3], strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_calibration_puts_confidences_into_bins() -> None:
    # Whole tenths are the upper ends of bins of a fifteenth each only at 0.2, 0.4, ….
    found = calibration(
        np.array([0.2, 0.2, 1.0, 1.0, 1.0], np.float32),
        np.array([True, False, True, True, False]),
    )
    assert found.counts[2] == 2
    assert found.counts[NUM_BINS - 1] == 3
    assert found.accuracies[2] == 0.5
    assert found.confidences[2] == pytest.approx(0.2)
    assert np.isnan(found.accuracies[0])
    # (2 * 0.3 + 3 * 1 / 3) / 5
    assert found.error == pytest.approx(0.32)


def test_mistakes_are_the_most_confident_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.9, 0.1]], np.float32)
    assert mistakes(probabilities, np.array([1, 1, 1, 1])).tolist() == [1, 3, 0]
    assert mistakes(probabilities, np.array([0, 0, 1, 0])).tolist() == []


def test_evaluate_certain_and_right() -> None:
    result = evaluate(np.eye(2, dtype=np.float32), np.array([0, 1]))
    assert (result.accuracy, result.loss) == (1.0, 0.0)


def test_evaluate_certain_and_wrong_has_a_finite_loss() -> None:
    result = evaluate(np.eye(2, dtype=np.float32), np.array([1, 0]))
    assert result.accuracy == 0.0
    # -ln 1e-7 = 7 ln 10
    assert result.loss == pytest.approx(7 * math.log(10))


def test_evaluate_gives_plain_numbers() -> None:
    result = evaluate(PROBABILITIES, LABELS)
    assert type(result.accuracy) is float
    assert type(result.loss) is float
    assert result.confusion.dtype == np.int64


@pytest.mark.parametrize("num_labels", [0, 3, 5])
def test_evaluate_refuses_other_lengths(num_labels: int) -> None:
    with pytest.raises(ValueError, match=rf"but got 4 and {num_labels}\."):
        evaluate(PROBABILITIES, np.zeros(num_labels, np.int64))


def test_evaluate_refuses_nothing() -> None:
    with pytest.raises(ValueError, match=r"but got 0 and 0\."):
        evaluate(PROBABILITIES[:0], LABELS[:0])


def test_confusion_matrix_rows_are_true_classes() -> None:
    labels = np.array([0, 0, 0, 2, 2, 1])
    predictions = np.array([0, 2, 2, 2, 1, 1])
    assert confusion_matrix(labels, predictions, 3).tolist() == [
        [1, 0, 2],
        [0, 1, 0],
        [0, 1, 1],
    ]


def test_confusion_matrix_counts_classes_that_do_not_occur() -> None:
    result = confusion_matrix(np.array([1]), np.array([0]), 4)
    assert result.shape == (4, 4)
    assert result[1, 0] == result.sum() == 1


def test_confusion_matrix_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"but got \(2,\) and \(3,\)"):
        confusion_matrix(np.array([0, 1]), np.array([0, 1, 1]), 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_as_probabilities_returns_float32(dtype: Any) -> None:
    result = as_probabilities(PROBABILITIES.astype(dtype), 4, 3)
    assert result.dtype == np.float32
    assert result == pytest.approx(PROBABILITIES, abs=1e-3)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.full((4, 2), 0.5), r"shape \(images, 3\), but returned \(4, 2\) for 4 images"),
        (np.full((3, 3), 1 / 3), r"but returned \(3, 3\) for 4 images"),
        (np.full(4, 0.5), r"but returned \(4,\) for 4 images"),
        # Two outputs.
        ([np.full((4, 3), 1 / 3)] * 2, r"but returned \(2, 4, 3\) for 4 images"),
        # Logits.
        (np.full((4, 3), 2.0), "must return probabilities, .* a row sums to 6"),
        (np.array([[1.5, -0.5, 0.0]] * 4), r"the smallest number is -0\.5"),
        # A sigmoid's, of which one row is off.
        (np.array([[0.5, 0.5, 0.0]] * 3 + [[0.9, 0.9, 0.9]]), r"a row sums to 2\.7"),
        (np.full((4, 3), np.nan), "must return probabilities"),
        (np.array([[0.5, 0.5, 0.0]] * 3 + [[np.nan, 0.5, 0.5]]), "must return probabilities"),
        (np.array([[0.5, np.inf, 0.0]] * 4), "must return probabilities"),
    ],
)
def test_as_probabilities_refuses(output: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_probabilities(output, 4, 3)


def test_accuracy_interval() -> None:
    # By hand: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), with z = 1.959964.
    assert accuracy_interval(9, 10) == pytest.approx((0.595850, 0.982124), abs=1e-6)
    assert accuracy_interval(10, 10)[1] == 1
