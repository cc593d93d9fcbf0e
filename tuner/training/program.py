"""One program: an epoch of training and one of validation, without Python between batches.

The images are in memory once, as uint8. A program runs `model.train_step` in a `tf.while_loop`
over batches gathered from them, as a TensorFlow graph or compiled by XLA. On a CPU, XLA's code
for convolutions and random numbers is too slow to be useful: an epoch with convolutions takes
216 s instead of 9, one with dropout up to 13 times as long.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from tuner.datasets import Split
from tuner.training import state
from tuner.training.keras_loop import EVALUATION_BATCH, order
from tuner.training.open_sizes import Numbers
from tuner.training.slow import SlowInXla, check_speed

_STEPS_A_CALL = 512
"""Steps between two checks for an interrupt: seconds, even for a large model."""


class CannotCompile(Exception):
    """The model's training step cannot be part of a compiled program."""


@dataclass(frozen=True)
class _Resident:
    """A split, in TensorFlow's memory."""

    split: Split
    tensors: tuple[tf.Tensor, tf.Tensor]


class Program:
    """One epoch of training, and one of validation, for models of one form.

    Args:
        model: A compiled `keras.Model`, which the program is traced with and bound to.
        numbers: Those of its variables that are constants of other models, in the order of
            `open_sizes.numbers`.
        train: A split with images and labels of the form that it will be given.
        class_weight: Weight of every class in the loss, in order, or None.
        use_xla: Whether XLA compiles the training steps.
    """

    def __init__(
        self,
        model: keras.Model,
        numbers: Numbers,
        train: Split,
        class_weight: Mapping[int, float] | None,
        use_xla: bool,
    ) -> None:
        self.model = model
        self.numbers = numbers
        self._use_xla = use_xla
        self._returned: list[str] = []
        self._weights = (
            None
            if class_weight is None
            else tf.constant(list(class_weight.values()), tf.float32)
        )
        # The batch size is unknown to a graph, as in Keras's loop: if TensorFlow knew that it
        # divides by 6, it would multiply by 1/6, which changes last bits. XLA always knows all
        # sizes.
        images = tf.TensorSpec([None, *train.images.shape[1:]], train.images.dtype)
        labels = tf.TensorSpec([None], train.labels.dtype)
        one, number = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        many = tf.TensorSpec([None, None], tf.int32)
        # Without AutoGraph, which Keras's own loop does not apply to `train_step` either.
        self._run_steps = tf.function(
            self._steps,
            input_signature=None if use_xla else (images, labels, many, number, number),
            jit_compile=use_xla,
            autograph=False,
        )
        # A last, smaller batch would double XLA's compilation for one step per epoch.
        self._run_last = tf.function(
            self._last_step,
            input_signature=None if use_xla else (images, labels, one),
            autograph=False,
        )
        self._run_validation = tf.function(self._validation_steps, autograph=False)

    def train_epoch(
        self,
        train: Split,
        batch_size: int,
        seed: int,
        epoch: int,
        check: Callable[[], None],
    ) -> None:
        """Run one epoch; the model's metrics hold its results.

        Args:
            train: The training split.
            batch_size: Images per step.
            seed: Seed of the order of the images.
            epoch: Number of the epoch, from 1.
            check: Called every few seconds; an exception it raises ends the training.
        """
        check()
        data = _resident(train)
        shuffled = order(len(train), seed, epoch)
        num_full = len(train) // batch_size
        num_in_full = num_full * batch_size
        full = tf.reshape(shuffled[:num_in_full], (num_full, batch_size))
        for first in range(0, num_full, _STEPS_A_CALL):
            check()
            last = min(first + _STEPS_A_CALL, num_full)
            self._run_steps(*data.tensors, full, tf.constant(first), tf.constant(last))
        if num_in_full < len(train):
            self._run_last(*data.tensors, shuffled[num_in_full:])

    def validate(self, validation: Split) -> None:
        """Run the validation split; the model's metrics hold the results."""
        self._run_validation(*_resident(validation).tensors)

    def trace(self, train: Split, batch_size: int, may_be_slow: bool) -> None:
        """Trace, and compile for the model's sizes, without changing the model.

        Args:
            train: The training split.
            batch_size: Images per step.
            may_be_slow: Whether XLA may compile operations that it makes slow here.

        Raises:
            CannotCompile: If its step cannot be compiled.
            SlowInXla: If XLA would make it slow, and it may not be.
            MemoryError, tf.errors.ResourceExhaustedError: Passed on.
        """
        try:
            logs = state.make_variables(self.model, train.images, train.labels)
            self._check_logs("test_step", _names(logs))
            if len(train) < batch_size:
                return
            if self._use_xla and not may_be_slow:
                arguments = self._no_steps(train, batch_size)
                check_speed(self._run_steps.get_concrete_function(*arguments))
            self.compile(train, batch_size)
            self._check_logs("train_step", self._returned)
        except (CannotCompile, SlowInXla, MemoryError, tf.errors.ResourceExhaustedError):
            raise
        except Exception as error:
            # Tracing runs the model's code, which may raise anything; if the model is at fault,
            # Keras's loop will report it better.
            reason = str(error).strip() or type(error).__name__
            raise CannotCompile(reason.splitlines()[0]) from error

    def compile(self, train: Split, batch_size: int) -> None:
        """Compile for the sizes that the model's variables have now, without changing them."""
        if len(train) >= batch_size:
            self._run_steps(*self._no_steps(train, batch_size))

    def _no_steps(self, train: Split, batch_size: int) -> tuple[tf.Tensor, ...]:
        """Return arguments of `_steps` for which everything is compiled, but no step is run."""
        batches = tf.zeros((len(train) // batch_size, batch_size), tf.int32)
        return *_resident(train).tensors, batches, tf.constant(0), tf.constant(0)

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

    def _steps(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        batches: tf.Tensor,
        first: tf.Tensor,
        last: tf.Tensor,
    ) -> None:
        def step(i: tf.Tensor) -> tf.Tensor:
            logs = self.model.train_step(self._batch(images, labels, batches[i]))
            self._returned = _names(logs)
            return i + 1

        tf.while_loop(lambda i: i < last, step, [first], parallel_iterations=1)

    def _last_step(self, images: tf.Tensor, labels: tf.Tensor, chosen: tf.Tensor) -> None:
        self.model.train_step(self._batch(images, labels, chosen))

    def _batch(
        self, images: tf.Tensor, labels: tf.Tensor, chosen: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        labels = tf.gather(labels, chosen)
        batch = tf.gather(images, chosen), labels
        return batch if self._weights is None else (*batch, tf.gather(self._weights, labels))

    def _validation_steps(self, images: tf.Tensor, labels: tf.Tensor) -> None:
        num_images = images.shape[0]
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


_residents: OrderedDict[int, _Resident] = OrderedDict()


def _names(logs: object) -> list[str]:
    """Return the names of the metrics that a step has returned."""
    return sorted(logs) if isinstance(logs, Mapping) else []


def _resident(split: Split) -> _Resident:
    """Return a split in TensorFlow's memory; it is copied there once."""
    key = id(split.images)
    if key not in _residents:
        # The key is valid while the array lives; the entry keeps it alive.
        tensors = tf.constant(split.images), tf.constant(split.labels)
        _residents[key] = _Resident(split, tensors)
        if len(_residents) > 4:
            _residents.popitem(last=False)
    return _residents[key]
