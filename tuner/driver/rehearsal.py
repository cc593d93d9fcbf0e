"""Finds mistakes during the first trial that would otherwise show only at a study's end.

A user's own model is built from the first values, run, saved, and loaded by another process as
`tuner.load` and the gate will load it; a user's own loader loads the data a second time. Both
happen in child processes, so that the search waits for neither. Glassy's own models and loaders
need no rehearsal: tests cover them.
"""

import contextlib
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil

from tuner.config.schema import DataConfig, StudyConfig
from tuner.datasets import ImageData
from tuner.errors import DataError, GlassyError, ModelError, wants_memory
from tuner.runtime import forkserver
from tuner.runtime.user_code import is_ours
from tuner.trial import Values, WorkerSetup
from tuner.wording import first_line

MAX_TRIES = 3
"""Attempts to build a model from a trial's values; the trials show whether none work."""

_Step = Callable[..., object]
_NUM_IMAGES = 2
_TOLERANCE = 1e-3
"""How far a probability may differ after loading; those of one model differ by 1e-6."""


@dataclass(frozen=True)
class Part:
    """What the building process is given."""

    setup: WorkerSetup
    values: Values
    seed: int
    data: ImageData
    folder: Path


@dataclass(frozen=True)
class Saved:
    """What it has made: a model's folder, and what the model answers."""

    folder: Path
    images: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.floating]


class Rehearsal:
    """The child processes that rehearse, as the driver sees them.

    Args:
        config: The study's configuration.
        setup: What its trials share.
        data: Its images.
        log_file: File for the output of the user's code.
    """

    def __init__(
        self, config: StudyConfig, setup: WorkerSetup, data: ImageData, log_file: Path
    ) -> None:
        self._setup = setup
        self._log_file = log_file
        self._folder = tempfile.TemporaryDirectory(prefix="glassy-rehearsal-")
        some = data.train.take(np.arange(min(_NUM_IMAGES, len(data.train))))
        self._few = ImageData(data.name, data.class_names, data.digest, some, some, some)
        self._tries = 0 if is_ours(setup.model_function) else MAX_TRIES
        self._failure: GlassyError | None = None
        self._children: dict[_Step, forkserver.Child] = {}
        if not is_ours(config.data._target_) and _fits_twice(data):
            self._start(check_data, setup, config.data, config.seed, data.digest)

    @property
    def connections(self) -> Sequence[Connection]:
        """Connections to the children that are still running."""
        return [child.connection for child in self._children.values()]

    def offer(self, values: Values, seed: int) -> None:
        """Build the model from a trial's values, unless one has been built.

        Args:
            values: One point of the space.
            seed: The trial's seed.
        """
        if not self._tries or self._is_at_model:
            return
        folder = Path(self._folder.name, f"model-{self._tries}")
        self._tries -= 1
        self._start(save_model, Part(self._setup, values, seed, self._few, folder))

    def attend(self) -> bool:
        """Take answers that have arrived, without waiting; say whether the study must end."""
        for step, child in list(self._children.items()):
            if child.connection.poll():
                self._take(step, child)
        return self._failure is not None

    def check(self) -> None:
        """Raise the error that was found, if it ends the study.

        Raises:
            DataError: If the data differ when they are loaded again.
            ModelError: If the model cannot be loaded, or does not report the objective.
        """
        if self.attend() and self._failure is not None:
            raise self._failure

    def finish_model(self) -> None:
        """Wait until the rehearsed model has been loaded, or has failed to load; see `check`.

        That takes a few seconds at most. No trial is recorded before it: a model that cannot
        be loaded shall leave nothing behind.
        """
        while self._is_at_model and self._failure is None:
            wait(self.connections)
            self.attend()
        self.check()

    def finish(self) -> None:
        """Wait for all children to end; see `check`."""
        while self._children and self._failure is None:
            wait(self.connections)
            self.attend()
        self.check()

    def close(self) -> None:
        """End the children, and remove their files."""
        for child in self._children.values():
            child.process.kill()
            child.process.join()
            child.connection.close()
        self._children = {}
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    @property
    def _is_at_model(self) -> bool:
        return bool(self._children.keys() - {check_data})

    def _start(self, step: _Step, *arguments: object) -> None:
        self._children[step] = forkserver.start(
            _answer, step, arguments, log_file=self._log_file
        )

    def _take(self, step: _Step, child: forkserver.Child) -> None:
        """Take a child's one answer, and start the next step."""
        try:
            said = child.connection.recv()
        except (EOFError, OSError):
            # It was killed, perhaps for lack of memory: that says nothing about model or data.
            said = None
        child.connection.close()
        child.process.join()
        del self._children[step]
        if isinstance(said, GlassyError):
            self._failure = said
        elif isinstance(said, Saved):
            self._tries = 0
            # A process in which nothing has been built knows no class of the user's.
            self._start(check_model, self._setup, said)


def _answer(connection: Connection, step: _Step, arguments: Sequence[object]) -> None:
    """Send a step's result, or the error it found; None if the failure proves nothing."""
    answer: object = None
    try:
        answer = step(*arguments)
    except (DataError, ModelError) as error:
        answer = error
    except Exception:
        # Caused by these values, this moment or this machine: the trials will meet and record
        # it too.
        traceback.print_exc()
    connection.send(answer)


def _fits_twice(data: ImageData) -> bool:
    """Say whether there is memory for a second copy of the images."""
    needed = sum(s.images.nbytes for s in (data.train, data.validation, data.test))
    return bool(needed <= psutil.virtual_memory().available / 2)


def save_model(part: Part) -> Saved | None:
    """Build a model, run it, ask for its metrics, and save it."""
    from tuner import training
    from tuner.models import building, custom_objects
    from tuner.runtime import tensorflow_setup
    from tuner.runtime.user_code import find_function
    from tuner.worker import packaging

    tensorflow_setup.set_up(part.setup.threads)
    custom_objects.permitted(part.setup.custom_objects)
    function = find_function("model._target_", part.setup.model_function)
    training.seed_everything(part.seed)
    split, num_classes = part.data.train, len(part.data.class_names)
    model, _ = building.build(function, part.setup, part.values, split.images, num_classes)
    reported = model.evaluate(split.images, split.labels, verbose=0, return_dict=True)
    names = [f"val_{name}" for name in reported]
    options = part.setup.options
    if not options.callbacks:
        # Callbacks may add metrics of their own, which the first epoch shows.
        _check_metrics(part.setup, list(reported), names)
    answer = building.answer(model, split.images, num_classes)
    try:
        packaging.save(model, part.data, None, part.folder)
    except Exception as error:
        if wants_memory(error) or isinstance(error, OSError):
            return None
        raise ModelError(
            f"`model._target_={part.setup.model_function}` returns a model that cannot be "
            f"saved ({type(error).__name__}: {first_line(error)}). A class of your own needs "
            f"get_config() and keras.saving.register_keras_serializable()."
        ) from error
    return Saved(part.folder, split.images, answer)


def _check_metrics(setup: WorkerSetup, trained: list[str], validated: list[str]) -> None:
    """Refuse a model that does not report what the study needs."""
    from tuner.models import building

    for key, name in setup.validated:
        if name not in validated:
            raise building.no_such_metric(key, name, validated)
    for key, name in setup.options.monitors.items():
        if name not in (*trained, *validated):
            raise building.no_such_metric(key, name, [*trained, *validated])


def check_data(setup: WorkerSetup, config: DataConfig, seed: int, digest: str) -> None:
    """Load the data again, and compare them with what the study has."""
    from tuner import datasets
    from tuner.runtime import tensorflow_setup

    tensorflow_setup.set_up(setup.threads)
    found = datasets.load(config, seed).digest
    if found != digest:
        raise DataError(
            f"`data._target_={config._target_}` must return the same data on every call, but "
            f"their digest was {digest} the first time and {found} the second. If it splits or "
            f"draws at random, give it a seed, such as random_state=0."
        )


def check_model(setup: WorkerSetup, saved: Saved) -> None:
    """Load the model as others will, and compare what it answers."""
    from tuner.classifier import safe_loading
    from tuner.models import building
    from tuner.runtime import tensorflow_setup

    tensorflow_setup.set_up(setup.threads)
    what = f"that model._target_={setup.model_function} returns"
    classifier = safe_loading.load_folder(saved.folder, what, setup.custom_objects)
    found = building.answer(classifier.model, saved.images, saved.probabilities.shape[1])
    difference = float(np.abs(found - saved.probabilities).max())
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"The model {what} changes when it is saved and loaded: a probability differs by "
            f"{difference:.2g}. A class of your own must return its constructor's arguments "
            f"from get_config(), and keep its weights in attributes that Keras tracks."
        )
