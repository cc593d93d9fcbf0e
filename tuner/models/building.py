"""Builds a model by a model function, and checks its input and output by running it.

The worker, the rehearsal, the loader and the gate check in the same way: a few raw images go
in, one row of class probabilities must come out for each. How Keras treats a missing or extra
channel axis, or a fixed batch size, is left to Keras.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.errors import InfeasibleTrial, ModelError
from tuner.evaluation import measures
from tuner.evaluation.measures import Probabilities
from tuner.models.watched_values import WatchedValues
from tuner.trial import Values, WorkerSetup
from tuner.wording import did_you_mean

Output = npt.NDArray[np.floating]


def build(
    function: Callable[..., object],
    setup: WorkerSetup,
    given: Values,
    images: npt.NDArray[np.uint8],
    num_classes: int,
) -> tuple[keras.Model, bool]:
    """Build a model, and check that a study can use it.

    Args:
        function: The model function.
        setup: What the trials share.
        given: One point of the space.
        images: Some of the training images, uint8 `(n, height, width[, channels])`.
        num_classes: Number of classes.

    Returns:
        The model, and whether the function has looked at `epochs`.

    Raises:
        ModelError: If it is not a compiled Keras model from raw images to class probabilities.
        InfeasibleTrial: If its output is not finite.
    """
    values = WatchedValues(given)
    model = function(values, images.shape[1:], num_classes, **setup.model_arguments)
    name = f"model._target_={setup.model_function}"
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"`{name}` must return a compiled keras.Model, but returned {type(model).__name__}."
        )
    if not model.compiled:
        raise ModelError(
            f"`{name}` must return a compiled keras.Model: call model.compile(…) in it."
        )
    # A model without an Input is built from the values by its first call.
    declares_input = bool(model.built)
    try:
        _check_probabilities(model, images, num_classes)
    except tf.errors.ResourceExhaustedError:
        raise
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        if not declares_input and not isinstance(error, _WrongOutput):
            raise
        given_shape = (
            ""
            if isinstance(error, _WrongOutput)
            else f" (raw images of shape {images.shape[1:]} were given)"
        )
        raise ModelError(f"`{name}`: {reason_of(error)}{given_shape}") from error
    if shared := _made_outside(function, model):
        raise ModelError(
            f"`{name}` must create everything that it trains inside the function, but its "
            f"module creates {' and '.join(shared)} at its top level, so trials would continue "
            f"from each other's weights. Move that into the function."
        )
    return model, values.knows_epochs


def _made_outside(function: Callable[..., object], model: keras.Model) -> list[str]:
    """Return the trained parts of a model that its function's module holds.

    These are layers and the optimiser. Parts that are not trained may lie there: augmentation,
    rescaling, metrics, a frozen backbone.
    """
    module = sys.modules.get(getattr(function, "__module__", ""))
    values = list(vars(module).values()) if module is not None else []
    held = {id(inner) for v in values if isinstance(v, keras.Layer) for inner in _layers(v)}
    shared = [
        f"the layer {layer.name}"
        for layer in _layers(model)
        if id(layer) in held and layer.trainable_weights
    ]
    if any(value is model.optimizer for value in values):
        shared.append("the optimizer")
    return shared


def _layers(layer: keras.Layer) -> list[keras.Layer]:
    """Return a layer and all layers inside it."""
    return list(layer._flatten_layers())


def answer(model: keras.Model, images: npt.NDArray[np.uint8], num_classes: int) -> Output:
    """Return a model's output for raw images, `(n, num_classes)`.

    Args:
        model: A Keras model.
        images: uint8 `(n, height, width[, channels])`.
        num_classes: Number of columns that it must have.

    Raises:
        ValueError: If it returns anything but one array of that shape.
    """
    output = model(images, training=False)
    if isinstance(output, Mapping | list | tuple):
        parts = (
            f"a dictionary of {', '.join(map(str, output))}"
            if isinstance(output, Mapping)
            else f"a {type(output).__name__} of {len(output)}"
        )
        raise _WrongOutput(
            f"The model must return one array with one probability per class, shape (images, "
            f"{num_classes}), but returns {parts}: give it a single output, the classifier's, "
            f"as in keras.Model(inputs, outputs)."
        )
    array: Output = np.asarray(keras.ops.convert_to_numpy(output))
    if array.shape != (len(images), num_classes):
        raise _WrongOutput(
            f"The model must return one probability per class, shape (images, {num_classes}), "
            f"but returned {array.shape} for {len(images)} images."
        )
    return array


def reason_of(error: BaseException) -> str:
    """Return an error's reason on one line: Keras prints it in bold among the arguments."""
    text = str(error)
    inner = re.findall(r"\x1b\[1m(.+?)\x1b\[0m", text, re.S)
    # With nested layers, the innermost one gives the reason.
    reason = " ".join((inner[-1] if inner else text).split())
    return re.sub(r"\x1b\[\d*m", "", reason)[:500] or type(error).__name__


class _WrongOutput(ValueError):
    """An output of a form that no values of the space can correct."""


def _check_probabilities(
    model: keras.Model, images: npt.NDArray[np.uint8], num_classes: int
) -> Probabilities:
    output = answer(model, images, num_classes)
    if not np.isfinite(output).all():
        raise InfeasibleTrial("The model's output must be finite, but is not even untrained.")
    try:
        return measures.as_probabilities(output, len(images), num_classes)
    except ValueError as error:
        raise _WrongOutput(str(error)) from error


def no_such_metric(key: str, name: str, metrics: Sequence[str]) -> ModelError:
    """Return the error that a metric which the configuration names is none of the model's.

    Args:
        key: The key whose value, or whose own name, names it.
        name: The metric.
        metrics: The metrics that the model reports.
    """
    is_in_key = f".{name}." in key
    form = key.replace(f".{name}.", ".{}.") if is_in_key else f"{key}={{}}"
    return ModelError(
        f"`{key}` must {'limit' if is_in_key else 'be'} a metric of the model, but {name} is "
        f"not among {', '.join(metrics)}.{did_you_mean(name, metrics, form)}"
    )
