"""Whole epochs as one compiled program: no Python between batches.

The images are in memory once, as uint8. A program runs `model.train_step` in a `tf.while_loop`
over batches gathered from them, as a TensorFlow graph or compiled by XLA. On a CPU, XLA's code
for convolutions and random numbers is too slow to be useful: an epoch with convolutions takes
216 s instead of 9, one with dropout up to 13 times as long.

Tracing and compiling take about a second, more than a short training. A program is therefore
kept and reused for every model of the same form: the model's variables are copied into those of
the model that the program was made with, and back after each epoch.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from tuner.datasets import Split
from tuner.models import metrics
from tuner.training import state
from tuner.training.keras_loop import EVALUATION_BATCH, order
from tuner.training.program_key import program_key
from tuner.training.slow import SlowInXla, check_speed

MAX_PROGRAMS = 8
"""Number of programs kept; each holds a model, its optimiser's slots and megabytes of code."""

_STEPS_A_CALL = 512
"""Steps between two checks for an interrupt: seconds, even for a large model."""


class CannotCompile(Exception):
    """The model's training step cannot be part of a compiled program."""


@dataclass(frozen=True)
class _Resident:
    """A split, in TensorFlow's memory."""

    split: Split
    images: tf.Tensor
    labels: tf.Tensor


class Program:
    """One epoch of training, and one of validation, for models of one form.

    Args:
        model: A compiled `keras.Model`, which the program is traced with and bound to.
        train: The training split.
        validation: The validation split.
        batch_size: Images per step.
        class_weight: Weight of every class in the loss, in order, or None.
        use_xla: Whether XLA compiles the training steps.
    """

    def __init__(
        self,
        model: keras.Model,
        train: Split,
        validation: Split,
        batch_size: int,
        class_weight: Mapping[int, float] | None,
        use_xla: bool,
    ) -> None:
        self.model = model
        self._use_xla = use_xla
        self._returned: list[str] = []
        self._train, self._validation = _resident(train), _resident(validation)
        self._batch_size = batch_size
        self._weights = (
            None
            if class_weight is None
            else tf.constant(list(class_weight.values()), tf.float32)
        )
        self._num_full = len(train) // batch_size
        self.num_steps = -(-len(train) // batch_size)
        # The batch size is unknown to a graph, as in Keras's loop: if TensorFlow knew that it
        # divides by 6, it would multiply by 1/6, which changes last bits. XLA always knows all
        # sizes.
        one, number = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        many = tf.TensorSpec([None, None], tf.int32)
        # Without AutoGraph, which Keras's own loop does not apply to `train_step` either.
        self._run_steps = tf.function(
            self._steps,
            input_signature=None if use_xla else (many, number, number),
            jit_compile=use_xla,
            autograph=False,
        )
        # A last, smaller batch would double XLA's compilation for one step per epoch.
        self._run_last = tf.function(
            self._last_step,
            input_signature=None if use_xla else (one,),
            autograph=False,
        )
        self._run_validation = tf.function(self._validation_steps, autograph=False)

    def train_epoch(self, seed: int, epoch: int, check: Callable[[], None]) -> None:
        """Run one epoch; the model's metrics hold its results.

        Args:
            seed: Seed of the order of the images.
            epoch: Number of the epoch, from 1.
            check: Called every few seconds; an exception it raises ends the training.
        """
        check()
        shuffled = order(len(self._train.split), seed, epoch)
        num_in_full = self._num_full * self._batch_size
        full = tf.reshape(shuffled[:num_in_full], (self._num_full, self._batch_size))
        for first in range(0, self._num_full, _STEPS_A_CALL):
            check()
            last = min(first + _STEPS_A_CALL, self._num_full)
            self._run_steps(full, tf.constant(first), tf.constant(last))
        if num_in_full < len(self._train.split):
            self._run_last(shuffled[num_in_full:])

    def validate(self) -> None:
        """Run the validation split; the model's metrics hold the results."""
        self._run_validation()

    def compile(self, may_be_slow: bool) -> None:
        """Trace and compile, without changing the model.

        Args:
            may_be_slow: Whether XLA may compile operations that it makes slow here.

        Raises:
            CannotCompile: If its step cannot be compiled.
            SlowInXla: If XLA would make it slow, and it may not be.
            MemoryError, tf.errors.ResourceExhaustedError: Passed on.
        """
        steps = tf.zeros((self._num_full, self._batch_size), tf.int32)
        arguments = steps, tf.constant(0), tf.constant(0)
        try:
            logs = state.make_variables(self.model, self._train.images, self._train.labels)
            self._check_logs("test_step", _names(logs))
            if not self._num_full:
                return
            if self._use_xla and not may_be_slow:
                check_speed(self._run_steps.get_concrete_function(*arguments))
            # From 0 to 0: everything is compiled, but no step is run.
            self._run_steps(*arguments)
            self._check_logs("train_step", self._returned)
        except (CannotCompile, SlowInXla, MemoryError, tf.errors.ResourceExhaustedError):
            raise
        except Exception as error:
            # Tracing runs the model's code, which may raise anything; if the model is at fault,
            # Keras's loop will report it better.
            reason = str(error).strip() or type(error).__name__
            raise CannotCompile(reason.splitlines()[0]) from error

    def _check_logs(self, step: str, returned: Sequence[str]) -> None:
        """Refuse a step that returns other metrics than the model has.

        Keras's loop reports the last step's return value, which a program does not keep.

        Raises:
            CannotCompile: If the metrics differ.
        """
        known = _names(self.model.get_metrics_result())
        if returned != known:
            raise CannotCompile(
                f"its {step} returns {', '.join(returned) or 'nothing'}, but its metrics are "
                f"{', '.join(known)}"
            )

    def _steps(self, batches: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> None:
        def step(i: tf.Tensor) -> tf.Tensor:
            logs = self.model.train_step(self._batch(batches[i]))
            self._returned = _names(logs)
            return i + 1

        tf.while_loop(lambda i: i < last, step, [first], parallel_iterations=1)

    def _last_step(self, chosen: tf.Tensor) -> None:
        self.model.train_step(self._batch(chosen))

    def _batch(self, chosen: tf.Tensor) -> tuple[tf.Tensor, ...]:
        labels = tf.gather(self._train.labels, chosen)
        batch = tf.gather(self._train.images, chosen), labels
        return batch if self._weights is None else (*batch, tf.gather(self._weights, labels))

    def _validation_steps(self) -> None:
        images, labels = self._validation.images, self._validation.labels
        num_images = len(self._validation.split)
        num_in_full = num_images - num_images % EVALUATION_BATCH

        def step(i: tf.Tensor) -> tf.Tensor:
            # The batch size is known when traced, since a model may need that.
            batch = (
                tf.slice(
                    images,
                    [i, *[0] * (len(images.shape) - 1)],
                    [EVALUATION_BATCH, *images.shape[1:]],
                ),
                tf.slice(labels, [i], [EVALUATION_BATCH]),
            )
            self.model.test_step(batch)
            return i + EVALUATION_BATCH

        tf.while_loop(lambda i: i < num_in_full, step, [0], parallel_iterations=1)
        if num_in_full < num_images:
            self.model.test_step((images[num_in_full:], labels[num_in_full:]))


programs: OrderedDict[str, Program] = OrderedDict()
"""The programs that are kept, the one used last at the end."""
_residents: OrderedDict[int, _Resident] = OrderedDict()


def program_for(
    model: keras.Model,
    train: Split,
    validation: Split,
    batch_size: int,
    class_weight: Mapping[int, float] | None,
    use_xla: bool,
    may_be_slow: bool = True,
) -> Program:
    """Return a program for models of this form, kept or newly made.

    Args:
        model: A compiled `keras.Model`.
        train: The training split.
        validation: The validation split.
        batch_size: Images per step.
        class_weight: Weight of every class in the loss, in order, or None.
        use_xla: Whether XLA compiles the training steps.
        may_be_slow: Whether XLA may compile operations that it makes slow here.

    Raises:
        CannotCompile: If the model's step cannot be compiled.
        SlowInXla: If XLA would make it slow, and it may not be.
    """
    key = program_key(model)
    if key is not None:
        data = [id(train.images), id(validation.images), batch_size, class_weight, use_xla]
        key = hashlib.sha256(f"{key}{data}".encode()).hexdigest()
        if key in programs:
            programs.move_to_end(key)
            return programs[key]
    bound = model
    if key is not None:
        # A kept program needs a model of its own: it must not train somebody else's variables.
        bound = type(model).from_config(model.get_config())
        with metrics.scope():
            bound.compile_from_config(model.get_compile_config())
    program = Program(bound, train, validation, batch_size, class_weight, use_xla)
    program.compile(may_be_slow)
    if key is not None:
        programs[key] = program
        if len(programs) > MAX_PROGRAMS:
            programs.popitem(last=False)
    return program


def fit(
    program: Program,
    model: keras.Model,
    *,
    epochs: int,
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
        steps=program.num_steps,
        verbose=0,
    )
    model.stop_training = False
    hooks.on_train_begin()
    logs: dict[str, float] = {}
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        hooks.on_epoch_begin(epoch)
        with _lent(model, program):
            program.train_epoch(seed, epoch + 1, check)
        logs = _results(model)
        hooks.on_test_begin()
        model.reset_metrics()
        with _lent(model, program):
            program.validate()
        validation_logs = _results(model)
        hooks.on_test_end(validation_logs)
        logs |= {f"val_{name}": value for name, value in validation_logs.items()}
        hooks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_weights)
    hooks.on_train_end(logs)
    return model.history


def _names(logs: object) -> list[str]:
    """Return the names of the metrics that a step has returned."""
    return sorted(logs) if isinstance(logs, Mapping) else []


def _results(model: keras.Model) -> dict[str, float]:
    return {name: float(value) for name, value in model.get_metrics_result().items()}


class _lent:
    """Lends a model's variables to the program for one epoch, then takes them back."""

    def __init__(self, model: keras.Model, program: Program) -> None:
        self._pairs = (
            []
            if model is program.model
            else list(zip(state.variables(model), state.variables(program.model), strict=True))
        )

    def __enter__(self) -> None:
        for own, bound in self._pairs:
            bound.assign(own)

    def __exit__(self, *_: object) -> None:
        for own, bound in self._pairs:
            own.assign(bound)


def _resident(split: Split) -> _Resident:
    """Return a split in TensorFlow's memory; it is copied there once."""
    key = id(split.images)
    if key not in _residents:
        # The key is valid while the array lives; the entry keeps it alive.
        _residents[key] = _Resident(split, tf.constant(split.images), tf.constant(split.labels))
        if len(_residents) > 4:
            _residents.popitem(last=False)
    return _residents[key]
