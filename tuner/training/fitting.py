"""`fit`: whole epochs as one compiled program, or Keras's own loop."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import psutil
from keras.src.backend.common import global_state
from keras.src.utils import naming

from tuner.config.engine import SLOW_ON_CPU
from tuner.datasets import Split
from tuner.errors import ModelError
from tuner.training import compiled, keras_loop, slow
from tuner.training.keras_loop import Logs
from tuner.training.program import CannotCompile, Program
from tuner.training.state import (
    GLOBAL_SEED,
    TrainingState,
    capture,
    make_variables,
    restore,
    restore_callbacks,
)

logger = logging.getLogger(__name__)

# Hooks that Keras calls for every batch, which a compiled epoch cannot do.
_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)
# Methods that Keras's loop runs and a compiled epoch does not.
_PARTS_OF_LOOP = ("fit", "evaluate", "make_train_function", "make_test_function")
# Attributes that Keras itself sets by these methods.
_FUNCTIONS_OF_LOOP = ("train_function", "test_function")

OnState = Callable[[bool, Callable[[], TrainingState]], None]
"""Called with whether an epoch is the last one, and a function that copies the state."""

logged_reasons: set[str] = set()
"""Why Keras's own loop trained models in this process: each reason is logged once."""


def fit(
    model: keras.Model,
    train: Split,
    validation: Split,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    initial_epoch: int = 0,
    class_weight: Mapping[int, float] | None = None,
    engine: str = "graph",
    falls_back: bool = True,
    check: Callable[[], None] = lambda: None,
    ends: Callable[[], bool] = lambda: False,
    state: TrainingState | None = None,
    on_state: OnState | None = None,
) -> keras.callbacks.History:
    """Train a model and validate it after every epoch, as `model.fit` does.

    The order of the images in an epoch depends only on `seed` and the epoch's number. Five
    epochs in one call, or two and then three in two processes, are therefore the same training
    to the last bit, if the second process is given the final state of the first.

    Args:
        model: A compiled `keras.Model` that takes raw images, uint8.
        train: The training split.
        validation: The split that `val_…` is measured on.
        epochs: Number of the last epoch, from 1.
        batch_size: Images per step; the last step of an epoch takes the rest.
        seed: Seed in `[0, 2**31)`.
        callbacks: Keras callbacks; those with hooks for batches need Keras's own loop.
        initial_epoch: Number of epochs trained before.
        class_weight: Weight of each class in the loss; 1 for classes not named.
        engine: `xla` and `graph` run each epoch as one program, compiled by XLA or not; `keras`
            is `model.fit`. See `tuner.config.engine`.
        falls_back: Whether Keras's loop may replace a program that the callbacks, the memory
            or the model rule out, which is logged once; False if the user chose `engine`.
        check: Called at least every few seconds; an exception it raises ends the training.
        ends: Asked before the first epoch, and after every epoch once the callbacks have seen
            it; True ends the training there, which is no part of its state: it can be resumed.
        state: State of the training after `initial_epoch`, for a model that has not been
            trained itself; None if it has.
        on_state: Called after every epoch.

    Returns:
        Keras's `History` of the epochs trained here.

    Raises:
        ValueError: If `state` is that of another model.
        ModelError: If the chosen engine cannot train the model.
    """
    if class_weight is not None:
        # Keras wants a weight for every class.
        class_weight = {i: class_weight.get(i, 1.0) for i in range(int(train.labels.max()) + 1)}
    is_over = initial_epoch >= epochs or (state is not None and state.is_stopped) or ends()
    program = None
    if not is_over and engine != "keras":
        program = _program(
            model, train, validation, batch_size, class_weight, callbacks, engine, falls_back
        )
    if program is None or model is not program.model:
        make_variables(model, train.images, train.labels)
    if state is not None:
        restore(model, state)
    hooks = [*callbacks, _Continued(callbacks, epochs, state, on_state, ends)]
    if is_over:
        return _finish(model, hooks, epochs, -(-len(train) // batch_size))
    arguments: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "callbacks": hooks,
        "initial_epoch": initial_epoch,
        "check": check,
    }
    if program is not None:
        return compiled.fit(program, model, train, validation, **arguments)
    return keras_loop.fit(model, train, validation, class_weight=class_weight, **arguments)


def _program(
    model: keras.Model,
    train: Split,
    validation: Split,
    batch_size: int,
    class_weight: Mapping[int, float] | None,
    callbacks: Sequence[keras.callbacks.Callback],
    engine: str,
    falls_back: bool,
) -> Program | None:
    """Return a program for the epochs, or None, which is said, if Keras's loop is needed."""
    obstacle = find_obstacle(model, callbacks)
    if obstacle is None and falls_back:
        obstacle = _too_large(train, validation)
    if obstacle is None:
        try:
            return compiled.program_for(
                model,
                train,
                batch_size,
                class_weight,
                use_xla=engine == "xla",
                may_be_slow=falls_back,
            )
        except slow.SlowInXla as error:
            raise ModelError(
                f"`training.engine=xla` cannot train this model, which has {error}: "
                f"{SLOW_ON_CPU}. Give training.engine=auto or training.engine=graph."
            ) from error
        except CannotCompile as error:
            obstacle = f"this model cannot be compiled into one ({error})"
            if not falls_back:
                raise _refusal(engine, obstacle) from error
    if not falls_back:
        raise _refusal(engine, obstacle)
    _say_once(obstacle)
    return None


def _refusal(engine: str, obstacle: str) -> ModelError:
    return ModelError(
        f"`training.engine={engine}` runs each epoch as one program, but {obstacle}. Give "
        f"training.engine=auto or training.engine=keras."
    )


class _Continued(keras.callbacks.Callback):  # type: ignore[misc]
    """The last callback: restores the state of the others, and offers the training's state."""

    def __init__(
        self,
        others: Sequence[keras.callbacks.Callback],
        epochs: int,
        state: TrainingState | None,
        on_state: OnState | None,
        ends: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._others = others
        self._epochs = epochs
        self._state = state
        self._on_state = on_state
        self._ends = ends

    def on_train_begin(self, logs: Logs = None) -> None:
        if self._state is not None:
            restore_callbacks(self._others, self._state)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        ends = self._ends()
        if self._on_state is not None:
            is_last = ends or self.model.stop_training or epoch + 1 == self._epochs
            self._on_state(is_last, lambda: capture(self.model, self._others))
        # Set last: in the state it would say that more epochs change nothing.
        self.model.stop_training |= ends


def _finish(
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    epochs: int,
    num_steps: int,
) -> keras.callbacks.History:
    """Do the final steps of a training whose epochs have all been trained before."""
    hooks = keras.callbacks.CallbackList(
        callbacks, add_history=True, model=model, epochs=epochs, steps=num_steps, verbose=0
    )
    hooks.on_train_begin()
    model.optimizer.finalize_variable_values(model.trainable_weights)
    hooks.on_train_end()
    return model.history


def predict(
    model: keras.Model, split: Split, batch_size: int = 1024
) -> npt.NDArray[np.float32]:
    """Return the model's output for every image, a NumPy array `(num_images, classes)`."""
    batches = range(0, len(split), batch_size)
    outputs = [model(split.images[i : i + batch_size], training=False) for i in batches]
    probabilities: npt.NDArray[np.float32] = keras.ops.convert_to_numpy(
        keras.ops.concatenate(outputs)
    )
    return probabilities


def seed_everything(seed: int, *, own_randomness: bool = True) -> None:
    """Seed the random numbers behind a model's initial weights and dropout masks.

    Args:
        seed: Seed in `[0, 2**31)`.
        own_randomness: Whether the model may draw numbers by TensorFlow's own generator, and
            not only through Keras. Seeding it makes TensorFlow prepare each kept program again,
            which takes a quarter of a second.
    """
    if own_randomness:
        keras.utils.set_random_seed(seed)
    else:
        # From Python's generator, Keras draws the seeds of all that is random in its layers.
        random.seed(seed)
        np.random.seed(seed)


def forget_models() -> None:
    """Begin the names of layers and Keras's random numbers anew, for the next model.

    `keras.backend.clear_session` would also drop what TensorFlow has prepared for the kept
    programs.
    """
    naming.reset_uids()
    global_state.set_global_attribute(GLOBAL_SEED, None)


def find_obstacle(
    model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]
) -> str | None:
    """Say what only Keras's loop would call, or return None if there is nothing."""
    if (found := batch_hook(callbacks)) is not None:
        return found
    kind = type(model).__name__
    for name in _PARTS_OF_LOOP:
        if _is_own(model, name, keras.Model):
            return f"the model ({kind}) has its own {name}()"
    for name in _FUNCTIONS_OF_LOOP:
        function = getattr(model, name)
        made_by = getattr(function, "python_function", function)
        # A model that was fitted before has Keras's own function.
        if function is not None and not str(made_by.__module__).startswith("keras."):
            return f"the model ({kind}) has its own {name}"
    if model.run_eagerly:
        return f"the model ({kind}) was compiled with run_eagerly=True"
    return None


def batch_hook(callbacks: Sequence[keras.callbacks.Callback]) -> str | None:
    """Say which callback has a hook for every batch, or return None if none has."""
    for callback in callbacks:
        for hook in _BATCH_HOOKS:
            if _is_own(callback, hook, keras.callbacks.Callback):
                return f"{type(callback).__name__} has a hook for every batch ({hook})"
    return None


def _is_own(thing: object, name: str, base: type) -> bool:
    """Say whether the class or the instance overrides a method of the base class."""
    return name in vars(thing) or getattr(type(thing), name) is not getattr(base, name)


def _too_large(train: Split, validation: Split) -> str | None:
    """Say how large the images are if they are too large for the memory, or return None."""
    needed = sum(split.images.nbytes + split.labels.nbytes for split in (train, validation))
    # The memory available without swapping.
    if needed > psutil.virtual_memory().available / 2:
        return f"the images ({needed / 2**30:.1f} GiB) take more than half of the free memory"
    return None


def _say_once(reason: str) -> None:
    if reason not in logged_reasons:
        logged_reasons.add(reason)
        logger.info("Training with Keras's own loop, not with compiled epochs: %s.", reason)
