"""The key of a model's program: everything that the program depends on, as text."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from tuner.models import metrics
from tuner.training.open_sizes import can_be_open, compiled_form, form

# Attributes that an optimiser's `exclude_from_weight_decay` sets.
_SPARED = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
# Class names in a functional model's configuration that stand for no object: the tensors
# between its layers, constants and slices.
_PLAIN = ("__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__")


def program_key(model: keras.Model) -> str | None:
    """Describe everything in a model that its program depends on; None if that is unknown.

    Two models whose layers are Keras's own and whose configurations are equal run the same
    program; of a model that `can_be_open`, sizes need not be equal. That is unknown for classes
    and functions that are neither Keras's nor Glassy's metrics: they may hold state that their
    configuration does not mention. So may layers that adapt to data, and an optimiser that
    excludes some variables from weight decay.
    """
    layers = list(model._flatten_layers(include_self=False, recursive=True))
    parts = [model, model.optimizer, *layers]
    if not all(type(part).__module__.startswith("keras.") for part in parts):
        return None
    # Mixed precision wraps the optimiser in one that scales the loss.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if any(getattr(optimizer, name, None) for name in _SPARED):
        return None
    if any(hasattr(layer, "adapt") for layer in layers):
        return None
    config, compiled = model.get_config(), model.get_compile_config()
    if not all(_is_known(module) for module in _modules([config, compiled])):
        return None
    is_open = can_be_open(model)
    if is_open:
        config, compiled = form(model, config), compiled_form(compiled)
    described = [is_open, config, _without_rate(compiled)]
    text = json.dumps(described, sort_keys=True, default=repr)
    return f"{text}{keras.config.dtype_policy().name}"


def _is_known(module: str) -> bool:
    return module.split(".")[0] == "keras" or module == metrics.__name__


def _without_rate(compiled: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out a plain learning rate: it is a variable, and is copied like the others."""
    optimizer = compiled.get("optimizer")
    if not isinstance(optimizer, Mapping):
        return compiled
    if not isinstance(optimizer["config"].get("learning_rate"), float):
        return compiled
    config = {k: v for k, v in optimizer["config"].items() if k != "learning_rate"}
    return {**compiled, "optimizer": {**optimizer, "config": config}}


def _modules(config: object) -> Iterator[str]:
    """Yield the module of every class and function that a serialised configuration names."""
    if isinstance(config, Mapping):
        module = config.get("module")
        if isinstance(module, str):
            yield module
        elif config.get("class_name", _PLAIN[0]) not in _PLAIN:
            yield "unknown"
        for value in config.values():
            yield from _modules(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _modules(value)
