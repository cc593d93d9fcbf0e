"""Training by whole epochs as compiled programs, which are kept.

Tracing takes about half a second, and compiling by XLA as long again: more than a short
training. A program is therefore kept and reused for every model of the same form, and the form
of a network of dense layers does not include its sizes (`open_sizes`). The model's variables
are copied into those of the model that the program was made with, and back after each epoch.
XLA still compiles each shape.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from tuner.datasets import Split
from tuner.models import metrics
from tuner.training import open_sizes, state
from tuner.training.program import Program
from tuner.training.program_key import program_key

MAX_PROGRAMS = 16
"""Number of programs kept; each holds a model, its optimiser's slots and megabytes of code."""

programs: OrderedDict[str, Program] = OrderedDict()
"""The programs that are kept, the one used last at the end."""


def program_for(
    model: keras.Model,
    train: Split,
    batch_size: int,
    class_weight: Mapping[int, float] | None,
    use_xla: bool,
    may_be_slow: bool = True,
) -> Program:
    """Return a program for models of this form, kept or newly made.

    Args:
        model: A compiled `keras.Model`.
        train: The training split.
        batch_size: Images per step.
        class_weight: Weight of every class in the loss, in order, or None.
        use_xla: Whether XLA compiles the training steps.
        may_be_slow: Whether XLA may compile operations that it makes slow here.

    Raises:
        CannotCompile: If the model's step cannot be compiled.
        SlowInXla: If XLA would make it slow, and it may not be.
    """

    def traced(bound: keras.Model, numbers: open_sizes.Numbers) -> Program:
        program = Program(bound, numbers, train, class_weight, use_xla)
        program.trace(train, batch_size, may_be_slow)
        return program

    key = program_key(model)
    if key is None:
        return traced(model, [])
    given = [train.images.shape[1:], train.images.dtype, train.labels.dtype]
    key = hashlib.sha256(f"{key}{given}{class_weight}{use_xla}".encode()).hexdigest()
    if key in programs:
        programs.move_to_end(key)
        return programs[key]
    # A kept program needs a model of its own: it must not train somebody else's variables.
    if open_sizes.can_be_open(model):
        programs[key] = traced(*open_sizes.open_copy(model))
    else:
        programs[key] = traced(_copy_of(model), [])
    if len(programs) > MAX_PROGRAMS:
        programs.popitem(last=False)
    return programs[key]


def fit(
    program: Program,
    model: keras.Model,
    train: Split,
    validation: Split,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    callbacks: list[keras.callbacks.Callback],
    initial_epoch: int,
    check: Callable[[], None],
) -> keras.callbacks.History:
    """Train a model as `tuner.training.fit` does, and return Keras's `History`."""
    hooks = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        model=model,
        epochs=epochs,
        steps=-(-len(train) // batch_size),
        verbose=0,
    )
    model.stop_training = False
    lent = _Lent(model, program)
    with lent:
        program.compile(train, batch_size)
    hooks.on_train_begin()
    logs: dict[str, float] = {}
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        hooks.on_epoch_begin(epoch)
        with lent:
            program.train_epoch(train, batch_size, seed, epoch + 1, check)
        logs = _results(model)
        hooks.on_test_begin()
        model.reset_metrics()
        with lent:
            program.validate(validation)
        validation_logs = _results(model)
        hooks.on_test_end(validation_logs)
        logs |= {f"val_{name}": value for name, value in validation_logs.items()}
        hooks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_weights)
    hooks.on_train_end(logs)
    return model.history


def _results(model: keras.Model) -> dict[str, float]:
    return {name: float(value) for name, value in model.get_metrics_result().items()}


class _Lent:
    """Lends a model's variables to the program for one epoch, then takes them back."""

    def __init__(self, model: keras.Model, program: Program) -> None:
        self._pairs: list[tuple[tf.Variable, tf.Variable]] = []
        self._numbers: list[tuple[float, tf.Variable]] = []
        if model is not program.model:
            both = zip(state.variables(model), state.variables(program.model), strict=True)
            self._pairs = [(own.value, bound.value) for own, bound in both]
        if program.numbers:
            self._numbers = list(zip(open_sizes.numbers(model), program.numbers, strict=True))

    def __enter__(self) -> None:
        for own, bound in self._pairs:
            _copy(own, bound)
        for number, variable in self._numbers:
            variable.assign(number)

    def __exit__(self, *_: object) -> None:
        for own, bound in self._pairs:
            _copy(bound, own)


def _copy(source: tf.Variable, target: tf.Variable) -> None:
    """Assign a variable to another one, ten times faster than by `assign`."""
    value = tf.raw_ops.ReadVariableOp(resource=source.handle, dtype=source.dtype)
    tf.raw_ops.AssignVariableOp(resource=target.handle, value=value)


def _copy_of(model: keras.Model) -> keras.Model:
    """Return a compiled copy of a model, with variables of its own."""
    copy = type(model).from_config(model.get_config())
    with metrics.scope():
        copy.compile_from_config(model.get_compile_config())
    return copy
