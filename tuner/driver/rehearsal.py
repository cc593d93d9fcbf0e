"""What a study would find out only at its end, found out beside its first trial.

A model of the user's own is built from the first values, run, saved, and loaded by another
process as `tuner.load` and the gate will load it; a loader of the user's own loads the data a
second time. Both in children, so that the search waits for neither. Models and loaders of ours
need no rehearsal: tests hold them.
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
"""Values from which a model may fail to be built: whether none work, the trials will say."""

_Step = Callable[..., object]
_NUM_IMAGES = 2
_TOLERANCE = 1e-3
"""How far a probability may be another after loading; the same model's differ by 1e-6."""


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
    """The children that rehearse, as the driver sees them.

    Args:
        config: The study's.
        setup: What its trials share.
        data: Its images.
        log_file: Gets what the user's code prints.
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
        """What has something to say while the rehearsal goes on."""
        return [child.connection for child in self._children.values()]

    def offer(self, values: Values, seed: int) -> None:
        """Build the model from a trial's values, unless one has been built.

        Args:
            values: One point of the space.
            seed: The trial's.
        """
        if not self._tries or self._is_at_model:
            return
        folder = Path(self._folder.name, f"model-{self._tries}")
        self._tries -= 1
        self._start(save_model, Part(self._setup, values, seed, self._few, folder))

    def attend(self) -> bool:
        """Take what has been said, without waiting; say whether the study must end."""
        for step, child in list(self._children.items()):
            if child.connection.poll():
                self._take(step, child)
        return self._failure is not None

    def check(self) -> None:
        """Raise what was found, if that ends the study.

        Raises:
            DataError: If the data are others when they are loaded again.
            ModelError: If the model cannot be loaded, or does not report the objective.
        """
        if self.attend() and self._failure is not None:
            raise self._failure

    def finish_model(self) -> None:
        """Wait until the model that is rehearsed has been loaded, or not; see `check`.

        That takes a few seconds at most. No trial is recorded before: of a model that cannot be
        loaded nothing shall be left.
        """
        while self._is_at_model and self._failure is None:
            wait(self.connections)
            self.attend()
        self.check()

    def finish(self) -> None:
        """Wait for the end of all that has begun; see `check`."""
        while self._children and self._failure is None:
            wait(self.connections)
            self.attend()
        self.check()

    def close(self) -> None:
        """End the children, and remove what they have made."""
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
        """Take a child's one answer, and go on with what comes next."""
        try:
            said = child.connection.recv()
        except (EOFError, OSError):
            # Killed, as where memory is short: that says nothing about model or data.
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
    """Send what a step returns, or what it finds wrong; None for what says nothing of it."""
    answer: object = None
    try:
        answer = step(*arguments)
    except (DataError, ModelError) as error:
        answer = error
    except Exception:
        # Of these values, this moment or this machine: the trials meet it too, and record it.
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
    if part.setup.objective.name not in names:
        raise building.no_such_objective(part.setup.objective.name, names)
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


def check_data(setup: WorkerSetup, config: DataConfig, seed: int, digest: str) -> None:
    """Load the data again, and compare them with what the study has."""
    from tuner import datasets
    from tuner.runtime import tensorflow_setup

    tensorflow_setup.set_up(setup.threads)
    found = datasets.load(config, seed).digest
    if found != digest:
        raise DataError(
            f"`data._target_={config._target_}` must return the same data whenever it is "
            f"called, but their digest was {digest} first and {found} the second time. If it "
            f"splits or draws at random, give it a seed, such as random_state=0."
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
            f"The model {what} is another one after it was saved and loaded: a probability "
            f"differs by {difference:.2g}. What a class of your own is made with must be in "
            f"its get_config(), and its weights in attributes that Keras tracks."
        )
