"""Measures how good predictions are: NumPy in, NumPy out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

# Keeps the loss finite for a true class with probability 0, as Keras's own losses do.
_EPSILON = 1e-7


NUM_BINS = 15
"""Number of bins of confidence, as in the paper cited by `Calibration`."""


@dataclass(frozen=True)
class Calibration:
    """How well a model's confidence matches its accuracy, in `NUM_BINS` bins of equal width.

    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.

    Attributes:
        counts: Number of images whose predicted class has a probability in the bin, int64
            `(bins,)`.
        confidences: Their mean probability, float64 `(bins,)`; NaN in an empty bin.
        accuracies: Share of them predicted right, float64 `(bins,)`; NaN in an empty bin.
    """

    counts: Counts
    confidences: npt.NDArray[np.float64]
    accuracies: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of the two, in `[0, 1]`."""
        distances = np.abs(np.nan_to_num(self.confidences - self.accuracies))
        return float((distances * self.counts).sum() / self.counts.sum())


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts one split.

    Attributes:
        accuracy: Share of the images predicted right, in `[0, 1]`.
        loss: Mean cross-entropy in nats.
        confusion: int64 `(classes, classes)`: rows are true classes, columns predicted ones.
        calibration: How well its confidence matches its accuracy.
    """

    accuracy: float
    loss: float
    confusion: Counts
    calibration: Calibration

    @property
    def num_right(self) -> int:
        """Number of images predicted right."""
        return int(np.trace(self.confusion))

    @property
    def num_wrong(self) -> int:
        """Number of images predicted wrong."""
        return int(self.confusion.sum()) - self.num_right

    def of_classes(self) -> tuple[Shares, Shares, Shares]:
        """Return precision, recall and F1 of each class, float64 `(classes,)`.

        Precision is 0 if the class was never predicted, recall is 0 if it never occurs, and F1
        is 0 if both are.
        """
        hits = np.diag(self.confusion).astype(np.float64)
        precision = hits / np.maximum(self.confusion.sum(axis=0), 1)
        recall = hits / np.maximum(self.confusion.sum(axis=1), 1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, _EPSILON)
        return precision, recall, f1


def evaluate(probabilities: Probabilities, labels: npt.NDArray[np.int64]) -> Evaluation:
    """Measure predictions against the truth.

    Args:
        probabilities: Shape `(num_images, classes)`; each row sums to 1.
        labels: True classes, shape `(num_images,)`, values in `[0, classes)`.

    Raises:
        ValueError: If the two differ in length, or there are no images.
    """
    if len(probabilities) != len(labels) or not len(labels):
        raise ValueError(
            f"`probabilities` and `labels` must have the same length above 0, but got "
            f"{len(probabilities)} and {len(labels)}."
        )
    predictions = probabilities.argmax(axis=1)
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return Evaluation(
        accuracy=float(np.mean(predictions == labels)),
        loss=float(-np.log(np.clip(of_truth, _EPSILON, 1)).mean()),
        confusion=confusion_matrix(labels, predictions, probabilities.shape[1]),
        calibration=calibration(probabilities.max(axis=1), predictions == labels),
    )


def calibration(
    confidences: npt.NDArray[np.float32], hits: npt.NDArray[np.bool_]
) -> Calibration:
    """Compare a model's confidence with how often it is right.

    Args:
        confidences: Probability of each image's predicted class, in `[0, 1]`, `(num_images,)`.
        hits: Whether the prediction is right, `(num_images,)`.
    """
    bins = np.clip(np.ceil(confidences * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    with np.errstate(invalid="ignore"):
        # An empty bin has no mean: 0 / 0.
        means = np.bincount(bins, confidences, NUM_BINS) / counts
        accuracies = np.bincount(bins, hits, NUM_BINS) / counts
    return Calibration(counts, means, accuracies)


def accuracy_interval(num_right: int, num_images: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a model's true accuracy, by Wilson's method.

    Args:
        num_right: Images of the test split that it got right.
        num_images: All images of the split, at least 1.

    Returns:
        Lowest and highest accuracy, in `[0, 1]`.
    """
    # Not imported at the top: it takes 0.6 s, and no trial needs it.
    from scipy.stats import binomtest

    interval = binomtest(num_right, num_images).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)


def mistakes(
    probabilities: Probabilities, labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.intp]:
    """Return the indices of the images predicted wrong, the most confident mistakes first.

    Args:
        probabilities: Shape `(num_images, classes)`.
        labels: True classes, shape `(num_images,)`.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]


def confusion_matrix(
    labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64], num_classes: int
) -> Counts:
    """Count how often each true class was predicted as each class.

    Args:
        labels: True classes, int64, shape `(num_images,)`, values in `[0, num_classes)`.
        predictions: Predicted classes, same dtype, shape and range.
        num_classes: Number of classes; 10 for MNIST.

    Returns:
        Counts, int64, shape `(num_classes, num_classes)`. Rows are true classes and columns
        predicted ones, so correct images lie on the diagonal.

    Raises:
        ValueError: If the two arrays differ in shape.
    """
    if labels.shape != predictions.shape:
        raise ValueError(
            f"Shapes of `labels` and `predictions` must match, but got {labels.shape} and "
            f"{predictions.shape}."
        )
    # Give each (true, predicted) pair its own index, so one bincount fills the matrix.
    pairs = labels * num_classes + predictions
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def as_probabilities(output: npt.ArrayLike, num_images: int, num_classes: int) -> Probabilities:
    """Check that a model's output is class probabilities.

    Args:
        output: The return value of `model.predict`.
        num_images: Number of rows that it must have.
        num_classes: Number of columns that it must have.

    Returns:
        The output as float32 `(num_images, num_classes)`.

    Raises:
        ValueError: If it has another shape, or its rows are not probabilities.
    """
    array = np.asarray(output)
    if array.shape != (num_images, num_classes):
        raise ValueError(
            f"The model must return one probability per class, shape (images, {num_classes}), "
            f"but returned {array.shape} for {num_images} images."
        )
    sums = array.sum(axis=1, dtype=np.float64)
    # 1e-2 is more than half precision loses over a thousand classes. The condition is written
    # so that NaN does not pass.
    if not (array.min() >= 0 and np.abs(sums - 1).max() <= 1e-2):
        raise ValueError(
            f"The model must return probabilities, from 0 and summing to 1 (end it with a "
            f"softmax), but a row sums to {sums[np.abs(sums - 1).argmax()]:.3g} and the "
            f"smallest number is {array.min():.3g}."
        )
    return array.astype(np.float32, copy=False)
