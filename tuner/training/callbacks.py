"""What a training is told besides its values, as Keras's callbacks and class weights."""

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tuner.config.training import CallbackFacts
from tuner.errors import ConfigError, InfeasibleTrial
from tuner.models.building import no_such_metric
from tuner.models.watched_values import WatchedValues
from tuner.runtime.user_code import call_own, find_function
from tuner.training.fitting import batch_hook
from tuner.training.keras_loop import Logs
from tuner.training.state import unkept_state
from tuner.trial import TrainingOptions
from tuner.wording import plural

logger = logging.getLogger(__name__)

KEY = "training.callbacks"

Callbacks = Sequence[keras.callbacks.Callback]

_said: set[str] = set()


class Told:
    """The callbacks of one training, made anew for it.

    Args:
        options: What the training is told.

    Attributes:
        callbacks: All of them, in the order in which Keras calls them: the user's own come
            first, so that what they add to an epoch's metrics can be monitored and recorded.

    Raises:
        ConfigError: If a callback of the user's own cannot be made.
    """

    def __init__(self, options: TrainingOptions) -> None:
        self._own = [made for name in options.callbacks for made in make(name)]
        self._unkept = _unkept(self._own)
        self._reduces = options.reduce_on_plateau is not None
        self.callbacks: list[keras.callbacks.Callback] = []
        if self._own:
            self.callbacks += [_Watching(self._own), *self._own]
        if options.monitors:
            self.callbacks.append(_Monitors(options.monitors))
        if options.reduce_on_plateau is not None:
            arguments: Any = options.reduce_on_plateau
            self.callbacks.append(keras.callbacks.ReduceLROnPlateau(**arguments))
        if options.early_stopping is not None:
            arguments = options.early_stopping
            self.callbacks.append(keras.callbacks.EarlyStopping(**arguments))

    def check(self, model: keras.Model) -> None:
        """Refuse a model whose learning rate cannot be set as the training is told.

        Raises:
            InfeasibleTrial: If it follows a schedule.
        """
        schedules = keras.optimizers.schedules.LearningRateSchedule
        rate = getattr(model.optimizer, "_learning_rate", None)
        if self._reduces and isinstance(rate, schedules):
            raise InfeasibleTrial(
                f"`training.reduce_on_plateau` needs a learning rate that can be set, but this "
                f"model's optimizer follows a schedule ({type(rate).__name__})."
            )

    def can_be_kept(self) -> bool:
        """Say whether a checkpoint can hold the whole state of the callbacks by now.

        What showed before the training was said before the search; the rest is logged.
        """
        unkept = _unkept(self._own)
        if unkept is not None and self._unkept is None and unkept not in _said:
            _said.add(unkept)
            logger.warning("%s. So its trainings are not resumed.", unkept)
        return unkept is None

    @property
    def why_stopped(self) -> str:
        """Why they have ended a training that has ended, in words that follow a colon."""
        for callback in self._stopping:
            if callback.stopped_epoch:
                # Keras gives it the sign of the direction.
                least = abs(callback.min_delta)
                gain = f" by more than {least:g}" if least else ""
                return (
                    f"{callback.monitor} has not improved{gain} for "
                    f"{plural(callback.wait, 'epoch')}, best at epoch {callback.best_epoch + 1}"
                )
        return f"a callback of {KEY} has ended it"

    def best_epoch(self, num_epochs: int) -> int | None:
        """Return the epoch whose weights they have restored, if that is not the last.

        Args:
            num_epochs: Epochs of a training that has ended.
        """
        for callback in reversed(self._stopping):
            if callback.restore_best_weights and callback.best_weights is not None:
                # Keras counts epochs from 0.
                best: int = callback.best_epoch + 1
                return best if best < num_epochs else None
        return None

    @property
    def _stopping(self) -> list[keras.callbacks.EarlyStopping]:
        return [c for c in self.callbacks if isinstance(c, keras.callbacks.EarlyStopping)]


class _Watching(keras.callbacks.Callback):  # type: ignore[misc]
    """The first callback: notes whether the user's own look at the number of epochs.

    Trainings that differ only in their epochs are the beginnings of one another, but not if a
    callback does something else for another number of epochs.
    """

    def __init__(self, others: Callbacks) -> None:
        super().__init__()
        self._others = others

    def on_train_begin(self, logs: Logs = None) -> None:
        for callback in self._others:
            callback.set_params(WatchedValues(callback.params))


class _Monitors(keras.callbacks.Callback):  # type: ignore[misc]
    """Refuses epochs without a metric that is monitored; Keras only warns of it."""

    def __init__(self, monitors: Mapping[str, str]) -> None:
        super().__init__()
        self._monitors = dict(monitors)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        for key, name in self._monitors.items():
            if name not in (logs or {}):
                raise no_such_metric(key, name, list(logs or {}))


def make(name: str) -> list[keras.callbacks.Callback]:
    """Make the callbacks that one entry of `training.callbacks` stands for.

    Args:
        name: Dotted name of a function without required arguments that returns a callback or a
            list of them, or of a class of callbacks.

    Raises:
        ConfigError: If there is no such function, it fails, or it returns something else.
    """
    function = find_function(KEY, name)
    setting = f"{KEY}={name}"
    _check_arguments(setting, function)
    made = call_own(setting, function, ConfigError)
    found = list(made) if isinstance(made, list | tuple) else [made]
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ConfigError(
                f"`{setting}` must be a class of Keras callbacks, or a function that returns a "
                f"keras.callbacks.Callback or a list of them, but it returned "
                f"{'a list with ' if callback is not made else ''}{type(callback).__name__}."
            )
    return found


def examine(names: Sequence[str]) -> CallbackFacts:
    """Make the user's own callbacks once, and say what they mean for a study.

    Args:
        names: The entries of `training.callbacks`.

    Raises:
        ConfigError: If one of them cannot be made, or is not made anew each time.
    """
    made: list[keras.callbacks.Callback] = []
    for name in names:
        first, second = make(name), make(name)
        if {id(callback) for callback in first} & {id(callback) for callback in second}:
            raise ConfigError(
                f"`{KEY}={name}` must make new callbacks each time it is called, but returned "
                f"the same one twice: trials would continue from each other's state."
            )
        made += first
    return CallbackFacts(batch_hook(made), _unkept(made))


def class_weights(
    given: str | Mapping[str, float] | None,
    labels: npt.NDArray[np.int64],
    class_names: Sequence[str],
) -> dict[int, float] | None:
    """Return the weight of classes in the loss, by their numbers.

    Balanced weights are scikit-learn's, `num_images / (num_classes * count)`, over the classes
    that occur: https://scikit-learn.org/stable/modules/generated/
    sklearn.utils.class_weight.compute_class_weight.html (King and Zeng, "Logistic regression in
    rare events data", Political Analysis 2001).

    Args:
        given: `balanced`, or weights by the names of classes; None for none.
        labels: Labels of the images that are trained on, `(num_images,)`.
        class_names: The names of the classes, in order.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return {class_names.index(name): weight for name, weight in given.items()}
    classes, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))


def _unkept(callbacks: Callbacks) -> str | None:
    for callback in callbacks:
        if (found := unkept_state(callback)) is not None:
            return found
        if getattr(callback.params, "knows_epochs", False):
            return (
                f"{type(callback).__name__} reads the number of epochs from its params, so a "
                f"longer training cannot continue a shorter one"
            )
    return None


def _check_arguments(setting: str, function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:
        # A builtin that does not say what it takes: calling it will tell.
        return
    try:
        signature.bind()
    except TypeError as error:
        raise ConfigError(
            f"`{setting}` must need no arguments, but it takes {signature}: give a function of "
            f"your own that passes them."
        ) from error
