"""Copies of models whose program serves all sizes: widths are no part of what is traced.

Tracing a network takes longer than training it for a few epochs, and in a search over widths
nearly every trial has a new shape. A program is therefore traced with a copy of the first model
whose weights have *open* sizes: TensorFlow knows how many dimensions they have, and looks how
long these are when the program runs. The numbers behind dropout, L2 and a falling learning rate
are variables of the copy, not constants of its graph.

As a graph, such a program computes what one of the model's own sizes computes, bit for bit:
where Keras chooses an operation by a size that it knows, the layers below choose the same one
without. XLA, which merges operations, rounds otherwise where it knows more, but not otherwise
for the second shape than for the first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tuner.models import metrics

# What computes the same whether it knows sizes or not, by the tests: other activations,
# optimisers and so on may look at them.
_ACTIVATIONS = (
    *("elu", "gelu", "leaky_relu", "linear", "relu", "selu", "sigmoid", "silu", "softmax"),
    *("softplus", "tanh"),
)
_OPTIMIZERS = (
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
    keras.optimizers.SGD,
)
_PENALTIES = (type(None), keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)
# Of a dense layer or batch normalisation, what must not be set.
_UNSET = (
    *("activity_regularizer", "bias_regularizer", "gamma_regularizer", "beta_regularizer"),
    *("kernel_constraint", "bias_constraint", "gamma_constraint", "beta_constraint"),
    *("lora_enabled", "quantization_mode", "renorm", "synchronized"),
)
_DECAY = keras.optimizers.schedules.ExponentialDecay
# The numbers of a schedule that are left open.
_OF_DECAY = ("initial_learning_rate", "decay_rate")

Numbers = Sequence[tf.Variable]
"""The numbers of an open copy, in the order of `numbers`."""


def can_be_open(model: keras.Model) -> bool:
    """Say whether a program with open sizes can train a model.

    That is so for networks of dense layers, batch normalisation and dropout, after anything
    that has no weights.

    Args:
        model: A compiled model all of whose parts are Keras's own.
    """
    operations = _operations(model)
    first = next((i for i, o in enumerate(operations) if _is_dense(o)), len(operations))
    before, behind = operations[:first], operations[first:]
    return (
        bool(behind)
        and type(model.optimizer) in _OPTIMIZERS
        and not any(getattr(operation, "trainable_weights", ()) for operation in before)
        and all(map(_is_indifferent, behind))
    )


def _is_indifferent(operation: keras.Operation) -> bool:
    """Say whether something behind the first dense layer computes without knowing sizes."""
    if any(getattr(operation, name, None) for name in _UNSET):
        return False
    if _is_dense(operation):
        # Keras does not take a bias of one number for a bias.
        return (
            operation.units > 1
            and operation.activation.__name__ in _ACTIVATIONS
            and type(operation.kernel_regularizer) in _PENALTIES
        )
    if type(operation) is keras.layers.Activation:
        return operation.activation.__name__ in _ACTIVATIONS
    if type(operation) is keras.layers.BatchNormalization:
        return bool(operation.axis == -1)
    if type(operation) is keras.layers.Dropout:
        return operation.noise_shape is None and operation.rate < 1
    return False


def form(model: keras.Model, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration of a model that `can_be_open`, without what is left open."""
    config = _without_shapes(config)
    operations = {operation.name: operation for operation in _operations(model)}
    last = _last_dense(model)
    layers = []
    for layer in config["layers"]:
        own = dict(layer["config"])
        operation = operations.get(own.get("name"))
        if _is_dense(operation) and operation is not last:
            del own["units"]
        if _has_l2(operation):
            own["kernel_regularizer"] = "L2"
        elif _drops(operation):
            own["rate"] = "open"
        kept = {key: value for key, value in layer.items() if key != "build_config"}
        layers.append({**kept, "config": own})
    return {**config, "layers": layers}


def compiled_form(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what such a model was compiled with, without what is left open."""
    if (schedule := _schedule(config)) is None:
        return config
    kept = {key: value for key, value in schedule.items() if key not in _OF_DECAY}
    optimizer = config["optimizer"]
    own = {**optimizer["config"], "learning_rate": kept}
    return {**config, "optimizer": {**optimizer, "config": own}}


def numbers(model: keras.Model) -> list[float]:
    """Return the numbers of such a model that are variables of its open copy, in order."""
    found: list[float] = []
    for operation in _operations(model):
        if _has_l2(operation):
            found.append(operation.kernel_regularizer.l2)
        elif _drops(operation):
            # TensorFlow multiplies by the second, computed from the first in double precision.
            found += [operation.rate, 1 / (1 - operation.rate)]
    if (schedule := _schedule(model.get_compile_config())) is not None:
        found += [schedule[name] for name in _OF_DECAY]
    return found


def open_copy(model: keras.Model) -> tuple[keras.Model, Numbers]:
    """Return a compiled copy of such a model with weights of open sizes, and its numbers."""
    opened: list[tf.Variable] = []

    def number() -> tf.Variable:
        opened.append(tf.Variable(0.0, trainable=False))
        return opened[-1]

    def copied(operation: keras.Operation) -> keras.Operation:
        if not isinstance(operation, keras.Layer):
            return operation
        kind = type(operation)
        if _is_dense(operation):
            kind = _Dense
        elif _drops(operation):
            kind = _Dropout
        return kind.from_config(operation.get_config())

    with tf.variable_creator_scope(_make_open), metrics.scope():
        # It is compiled like the model.
        copy = keras.models.clone_model(model, clone_function=copied)
    copies = {operation.name: operation for operation in _operations(copy)}
    for operation in _operations(model):
        if _has_l2(operation):
            copies[operation.name].kernel_regularizer.l2 = number()
        elif _drops(operation):
            dropout = copies[operation.name]
            dropout.open_rate, dropout.open_scale = number(), number()
    copies[_last_dense(model).name].knows_width = True
    if (schedule := _schedule(model.get_compile_config())) is not None:
        opened_schedule = _DECAY(**schedule)
        for name in _OF_DECAY:
            setattr(opened_schedule, name, number())
        copy.optimizer.learning_rate = opened_schedule
    return copy, opened


class _Dense(keras.layers.Dense):  # type: ignore[misc]
    """A dense layer that adds its bias as Keras does where it knows the sizes.

    Of an open size, Keras cannot tell that it is a bias, and adds it by another operation,
    whose gradient is summed in another order.

    Attributes:
        knows_width: Whether its number of outputs is not open: that of the classes, which
            losses and metrics may look at.
    """

    knows_width = False

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        sums = keras.ops.matmul(inputs, self.kernel)
        if self.use_bias:
            sums = tf.nn.bias_add(sums, tf.convert_to_tensor(self.bias))
        if self.knows_width:
            sums.set_shape([*sums.shape[:-1], self.units])
        return self.activation(sums)


class _Dropout(keras.layers.Dropout):  # type: ignore[misc]
    """Dropout whose rate is a variable.

    Attributes:
        open_rate: The share of numbers that become 0.
        open_scale: What the others are multiplied by.
    """

    open_rate: tf.Variable
    open_scale: tf.Variable

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return inputs
        # As Keras draws and casts a seed, and TensorFlow uses it.
        seed = tf.math.floormod(self.seed_generator.next(), tf.int32.max - 1)
        drawn = tf.random.stateless_uniform(
            tf.shape(inputs), tf.cast(seed, tf.int32), dtype=inputs.dtype
        )
        rate, scale = (tf.cast(v, inputs.dtype) for v in (self.open_rate, self.open_scale))
        return tf.where(drawn >= rate, inputs * scale, tf.zeros_like(inputs))


def _make_open(make: Callable[..., tf.Variable], **arguments: Any) -> tf.Variable:
    """Make a variable of floats whose sizes are open, and any other as it is."""
    value = arguments["initial_value"]
    value = tf.convert_to_tensor(value() if callable(value) else value, arguments.get("dtype"))
    sizes = tf.TensorShape([None] * value.shape.rank) if value.dtype.is_floating else None
    return make(**{**arguments, "initial_value": value, "shape": sizes})


def _operations(model: keras.Model) -> Sequence[keras.Operation]:
    """Return what a model is made of, every operation after those that it depends on."""
    found: Sequence[keras.Operation] = getattr(model, "operations", model.layers)
    return found


def _is_dense(operation: keras.Operation | None) -> bool:
    return type(operation) is keras.layers.Dense


def _last_dense(model: keras.Model) -> keras.Operation:
    return [operation for operation in _operations(model) if _is_dense(operation)][-1]


def _has_l2(operation: keras.Operation | None) -> bool:
    if operation is None or not _is_dense(operation):
        return False
    return type(operation.kernel_regularizer) is keras.regularizers.L2


def _drops(operation: keras.Operation | None) -> bool:
    """Say whether it is dropout of a part; Keras leaves its input as it is at a rate of 0."""
    if operation is None or type(operation) is not keras.layers.Dropout:
        return False
    return bool(operation.rate > 0)


def _schedule(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the configuration of a falling learning rate, from a compiled model's."""
    rate = config["optimizer"]["config"].get("learning_rate")
    is_decay = isinstance(rate, Mapping) and rate["class_name"] == _DECAY.__name__
    return rate["config"] if is_decay else None


def _without_shapes(config: Any) -> Any:
    """Replace the shapes of the tensors between layers by their number of dimensions."""
    if isinstance(config, list | tuple):
        return [_without_shapes(item) for item in config]
    if not isinstance(config, Mapping):
        return config
    if config.get("class_name") == "__keras_tensor__":
        inner = config["config"]
        return {**config, "config": {**inner, "shape": len(inner["shape"])}}
    return {key: _without_shapes(value) for key, value in config.items()}
