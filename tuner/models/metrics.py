"""Metrics of whole splits that Keras lacks: mean recall and mean F1 of the classes.

They are counted inside the training's program, batch by batch: three counts for each class give
the exact metric of all images of an epoch, not a mean over its batches.

The classes are not registered with Keras: MLflow saves all that is registered with every model,
which could then not be loaded where Glassy is not installed. `scope` lets Keras
find them.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import keras

LOSS = "sparse_categorical_crossentropy"
"""The loss of every built-in model."""


class _OfClasses(keras.metrics.Metric):  # type: ignore[misc]
    """Counts each class's images: those that are of it, predicted as it, and both.

    Args:
        num_classes: Number of classes.
        name: Name under which the metric is reported.
        dtype: Dtype of the counts; float32 is exact up to 16.7 million images of a class.
    """

    def __init__(self, num_classes: int, name: str, dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_classes = num_classes
        self.true, self.predicted, self.right = (
            self.add_variable((num_classes,), "zeros", name=what)
            for what in ("true", "predicted", "right")
        )

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        """Count a batch.

        Args:
            y_true: Class numbers, `(n,)` or `(n, 1)`.
            y_pred: Probabilities, `(n, num_classes)`.
            sample_weight: Weight of each image, `(n,)`; None counts each once.
        """
        ops = keras.ops
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        true = ops.one_hot(labels, self.num_classes, dtype=self.dtype)
        predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), self.num_classes, dtype=self.dtype)
        if sample_weight is not None:
            true *= ops.cast(ops.reshape(sample_weight, (-1, 1)), self.dtype)
            predicted *= ops.sum(true, axis=-1, keepdims=True)
        right = ops.where(predicted > 0, true, 0)
        self.true.assign_add(ops.sum(true, axis=0))
        self.predicted.assign_add(ops.sum(predicted, axis=0))
        self.right.assign_add(ops.sum(right, axis=0))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}

    def _mean(self, shares: keras.KerasTensor, counts: keras.KerasTensor) -> keras.KerasTensor:
        """Return the mean share of the classes whose count is not 0."""
        counted = keras.ops.cast(counts > 0, self.dtype)
        return keras.ops.divide_no_nan(keras.ops.sum(shares * counted), keras.ops.sum(counted))


class BalancedAccuracy(_OfClasses):
    """Mean recall of the classes that occur, like scikit-learn's `balanced_accuracy_score`."""

    def __init__(
        self, num_classes: int, name: str = "balanced_accuracy", dtype: str | None = None
    ) -> None:
        super().__init__(num_classes, name, dtype)

    def result(self) -> keras.KerasTensor:
        """Return the metric of all that was counted, in `[0, 1]`."""
        return self._mean(keras.ops.divide_no_nan(self.right, self.true), self.true)


class MacroF1(_OfClasses):
    """Mean F1 of the classes that occur or are predicted, like scikit-learn's `f1_score`.

    That is with `average="macro"`: all classes count alike, and one that is never predicted
    right counts as 0.
    """

    def __init__(
        self, num_classes: int, name: str = "macro_f1", dtype: str | None = None
    ) -> None:
        super().__init__(num_classes, name, dtype)

    def result(self) -> keras.KerasTensor:
        """Return the metric of all that was counted, in `[0, 1]`."""
        both = self.true + self.predicted
        return self._mean(keras.ops.divide_no_nan(2 * self.right, both), both)


def scope() -> AbstractContextManager[None]:
    """Let Keras make these metrics from a model's configuration."""
    classes = {kind.__name__: kind for kind in _BY_NAME.values()}
    found: AbstractContextManager[None] = keras.saving.custom_object_scope(classes)
    return found


_BY_NAME = {"balanced_accuracy": BalancedAccuracy, "macro_f1": MacroF1}


def compile_built_in(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    num_classes: int,
    metrics: Iterable[str],
) -> None:
    """Compile a built-in model.

    Args:
        model: The model.
        optimizer: Its optimiser.
        num_classes: Number of classes.
        metrics: Names of `tuner.models.OWN_METRICS` that it reports besides its accuracy.
    """
    own = [_BY_NAME[name](num_classes) for name in metrics]
    model.compile(optimizer, loss=LOSS, metrics=["accuracy", *own])


def leave_out_own(model: keras.Model) -> None:
    """Compile a trained model again without Glassy's own metrics, if it has any.

    Such a model can be loaded, compiled too, where Glassy is not installed.

    Args:
        model: A trained model; its metrics are reset.
    """
    inner = [metric for group in model.metrics for metric in getattr(group, "metrics", ())]
    if any(isinstance(metric, _OfClasses) for metric in inner):
        compile_built_in(model, model.optimizer, 0, ())
