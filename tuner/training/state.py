"""The whole state of a training after an epoch, copied from Keras and restored bit for bit."""

import logging
import pathlib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import global_seed_generator

from tuner.trial import Json

Array = npt.NDArray[np.generic]

# Attributes that Keras gives a callback; and `min_delta`, whose sign Keras flips at the start.
_NOT_OWN = ("params", "validation_data", "min_delta", "model", "_model")
# Types whose instances hold no state of a training: constructor or `on_train_begin` find them
# again.
_STATELESS = (types.ModuleType, type, np.ufunc, logging.Logger)
GLOBAL_SEED = "global_seed_generator"
"""Name of the generator that Keras keeps for layers without one of their own."""
_CALLBACK = "callback "


@dataclass(frozen=True)
class TrainingState:
    """A training after one of its epochs, as plain data.

    Attributes:
        arrays: Arrays by name: the variables of model, optimiser, metrics and random numbers,
            numbered in a fixed order, and the arrays in the callbacks' state.
        callbacks: State of each callback, in order, as JSON; an array in it is
            `{"array": <its name>}`.
        is_stopped: Whether a callback has ended the training (early stopping): more epochs
            change nothing.
    """

    arrays: Mapping[str, Array]
    callbacks: Sequence[Mapping[str, Json]]
    is_stopped: bool


def variables(model: keras.Model) -> list[keras.Variable]:
    """Return all variables of a training, in an order that depends only on the model's form."""
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    unique = {
        id(variable): variable
        for variable in [*model.variables, *model.optimizer.variables, *metrics]
    }
    return list(unique.values())


def make_variables(
    model: keras.Model, images: Array | tf.Tensor, labels: Array | tf.Tensor
) -> object:
    """Make the variables of loss, metrics and optimiser, as Keras does at the first step.

    Args:
        model: A compiled `keras.Model`.
        images: At least one image, uint8.
        labels: Their labels, int64.

    Returns:
        The return value of the model's `test_step`.
    """
    logs = model.test_step((images[:1], labels[:1]))
    model.reset_metrics()
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return logs


def capture(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> TrainingState:
    """Copy the state of a training between two epochs.

    Args:
        model: A model that has been trained.
        callbacks: The callbacks that it is trained with.
    """
    named = _with_global_seed(model, make=False)
    arrays = {name: np.array(variable) for name, variable in named.items()}
    kept = [
        _taken(callback, f"{_CALLBACK}{i} ", arrays) for i, callback in enumerate(callbacks)
    ]
    return TrainingState(arrays, kept, bool(model.stop_training))


def restore(model: keras.Model, state: TrainingState) -> None:
    """Give a model the variables of a training of the same form.

    Args:
        model: A model of the same form, with all variables made.
        state: State of a training of that form.

    Raises:
        ValueError: If the model has other variables.
    """
    named = _with_global_seed(model, make=GLOBAL_SEED in state.arrays)
    forms = {name: (tuple(v.shape), v.dtype) for name, v in named.items()}
    of_model = {n: a for n, a in state.arrays.items() if not n.startswith(_CALLBACK)}
    if forms != {name: (array.shape, array.dtype.name) for name, array in of_model.items()}:
        raise ValueError("The state is that of a model with other variables.")
    for name, variable in named.items():
        variable.assign(of_model[name])


def restore_callbacks(
    callbacks: Sequence[keras.callbacks.Callback], state: TrainingState
) -> None:
    """Restore the state of callbacks, matched by position, after their `on_train_begin`."""
    for callback, kept in zip(callbacks, state.callbacks, strict=True):
        for name, value in kept.items():
            setattr(callback, name, _decoded(value, state.arrays))


def _with_global_seed(model: keras.Model, make: bool) -> dict[str, keras.Variable]:
    """Name a training's variables, including Keras's global seed."""
    named = {f"{i:04d}": variable for i, variable in enumerate(variables(model))}
    if make or global_state.get_global_attribute(GLOBAL_SEED) is not None:
        named[GLOBAL_SEED] = global_seed_generator().state
    return named


def _taken(
    callback: keras.callbacks.Callback, prefix: str, arrays: dict[str, Array]
) -> dict[str, Json]:
    kept = {}
    for name, value in vars(callback).items():
        if name in _NOT_OWN:
            continue
        found: dict[str, Array] = {}
        try:
            kept[name] = _encoded(value, f"{prefix}{name}", found)
        except TypeError:
            # Functions and the like, which the constructor or `on_train_begin` makes again;
            # see `unkept_state` for what they do not.
            continue
        arrays |= found
    return kept


def unkept_state(callback: keras.callbacks.Callback) -> str | None:
    """Say which part of a callback's state `capture` could not keep; None if it keeps all.

    Args:
        callback: A callback, before its training or between two epochs.
    """
    for name, value in vars(callback).items():
        if name in _NOT_OWN or _is_stateless(value, callback):
            continue
        try:
            _encoded(value, name, {})
        except TypeError:
            return (
                f"{type(callback).__name__} has an attribute {name} of type "
                f"{type(value).__name__}, which no checkpoint can hold"
            )
    return None


def _is_stateless(value: object, callback: keras.callbacks.Callback) -> bool:
    if isinstance(value, types.MethodType):
        return value.__self__ is callback
    if isinstance(value, types.FunctionType):
        # A closure's variables are state that no attribute holds.
        return value.__closure__ is None
    if isinstance(value, types.BuiltinFunctionType):
        # A method of a list is one, too.
        return isinstance(value.__self__, types.ModuleType)
    return isinstance(value, _STATELESS)


def _encoded(value: object, name: str, arrays: dict[str, Array]) -> Json:
    """Return a value as JSON, with its arrays stored separately in `arrays`.

    Raises:
        TypeError: If JSON cannot hold it.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        arrays[name] = np.array(value)
        return {"scalar": name}
    if isinstance(value, np.ndarray) and value.dtype != object:
        arrays[name] = value.copy()
        return {"array": name}
    if isinstance(value, pathlib.PurePath):
        return {"path": str(value)}
    # Not their subclasses, which hold more.
    if isinstance(value, list | tuple | set) and type(value) in (list, tuple, set):
        items = [_encoded(item, f"{name} {i}", arrays) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {type(value).__name__: items}
    if isinstance(value, dict) and type(value) is dict:
        if not all(isinstance(key, str) for key in value):
            return {"items": _encoded(list(value.items()), name, arrays)}
        return {"dict": {k: _encoded(v, f"{name} {k}", arrays) for k, v in value.items()}}
    raise TypeError(f"{name} is {type(value).__name__}.")


def _decoded(value: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, arrays) for item in value]
    if not isinstance(value, Mapping):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content].copy()
    if kind == "scalar":
        return arrays[content][()]
    if kind == "path":
        return pathlib.Path(content)
    if kind == "tuple":
        return tuple(_decoded(item, arrays) for item in content)
    if kind == "set":
        return {_decoded(item, arrays) for item in content}
    if kind == "items":
        return dict(_decoded(content, arrays))
    return {key: _decoded(item, arrays) for key, item in content.items()}
