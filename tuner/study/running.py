"""`tuner.run_study`: a search as a function, which runs the command in a process of its own.

A search changes the process it runs in: its environment, signals, logging, Keras and MLflow. So
the caller's process only passes on what it was given, and shows what it is told; whatever it
is, a script, a notebook's kernel or a test, it stays as it was. And no child process imports
the caller's `__main__`, which a script without `if __name__ == "__main__":` would not survive.
"""

from __future__ import annotations

import functools
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from tuner.config.overrides import key_of
from tuner.datasets import LabelledImages
from tuner.driver.given import Given
from tuner.driver.remains import GIVEN_MODEL
from tuner.errors import ChildDied, ConfigError
from tuner.runtime.forkserver import how_it_ended
from tuner.runtime.screen import Screen, own_screen
from tuner.study import model_source
from tuner.study.study import Study, open_study

if TYPE_CHECKING:
    import keras

ModelFunction = Callable[..., "keras.Model"]
Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]

_CODE = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = connection.recv()
from tuner.search import serve
serve(connection)
"""


def run_study(
    *overrides: str,
    study: str | None = None,
    model: ModelFunction | None = None,
    data: Arrays | LabelledImages | None = None,
) -> Study:
    """Run a study, or resume it, and return it: `python -m tuner.search` as a function.

    It takes the same overrides, checks them alike, and prints the same lines; on a terminal and
    in a notebook they are followed by a view of the trials that run. An interrupt (Ctrl-C, or
    the stop button of a notebook) ends the study after what it has; the same call resumes it. A
    second one does not wait for the study's records. This process stays as it was, since the
    search runs in one of its own: its logging, signal handlers, environment, and MLflow's
    active run and tracking URI.

    ```python
    study = tuner.run_study("data=digits", "search.max_trials=10", study="first")
    ```

    Args:
        overrides: What the command takes, such as `"search.max_trials=20"`.
        study: The study's name; None to make one up, so that the same call is a new study.
        model: A function that takes `(values, image_shape, num_classes)` and returns a compiled
            Keras model, in place of `model=…` among the overrides. If it cannot be imported
            elsewhere, as a function of a notebook's cell or a script, its source is kept in the
            study's folder, with what it uses: imports, constants, and functions and classes
            from the same place.
        data: `(x_train, y_train, x_test, y_test)`, or `LabelledImages` where classes have names
            or there are validation images, in place of `data=…` among the overrides. Images are
            whole numbers in `[0, 255]`, shape `(n, height, width)` or `(n, height, width,
            channels)` with 1 or 3 channels; labels are whole numbers from 0, shape `(n,)`. They
            are kept in the study's folder. `data.name=…` names them; `arrays` if it is missing.

    Returns:
        The study, which has ended.

    Raises:
        ConfigError: If an override is wrong, or the model function cannot be kept.
        DataError: If the arrays cannot be used.
        StudyError: If the study exists with other settings, another model or other data.
        UserError: The base of these, and of every other mistake in what was asked for.
        SearchFailed: If the search cannot continue.
        UnavailableError: If the tracking store or a cluster does not answer.
        KeyboardInterrupt: If it was interrupted, once its records are complete.
    """
    _check(overrides, study, model, data)
    given, more = _given(model, data)
    named = [] if study is None else [f"study={study}"]
    told = {key_of(override) for override in overrides}
    defaults = [override for override in more if key_of(override) not in told]
    request = ([*defaults, *named, *overrides], given)
    with _Searching(request) as searching:
        found = searching.follow(own_screen())
    return open_study(found.name, tracking_uri=found.uri)


def _check(overrides: Sequence[str], study: str | None, model: object, data: object) -> None:
    """Refuse what is no override, and what is given in two ways.

    Raises:
        ConfigError: It names the argument.
    """
    for override in overrides:
        if not isinstance(override, str) or "=" not in override or override.startswith("-"):
            raise ConfigError(
                f"tuner.run_study takes overrides as text, such as 'search.max_trials=20', but "
                f"got {override!r}. The study's name, a model function and arrays are given by "
                f"name: study=…, model=…, data=…."
            )
        if key_of(override) == "hydra.mode":
            raise ConfigError(
                f"tuner.run_study runs one study, so it does not take {override!r}: call it "
                f"once for each."
            )
    for name, value, keys in (
        ("study", study, ("study",)),
        ("model", model, ("model", "model._target_")),
        ("data", data, ("data", "data._target_", "data.path")),
    ):
        twice = [override for override in overrides if key_of(override) in keys]
        if value is not None and twice:
            raise ConfigError(
                f"Give either {twice[0]!r} or the argument `{name}`, but not both."
            )


def _given(
    model: ModelFunction | None, data: Arrays | LabelledImages | None
) -> tuple[Given, list[str]]:
    """Return what the study is given as objects, and the overrides that name it."""
    overrides, source = [], None
    if model is not None:
        target = model_source.importable_name(model)
        if target is None:
            source = model_source.module_text(model)
            target = f"{GIVEN_MODEL}.{model.__name__}"
        overrides += ["model=custom", f"model._target_={target}"]
    if data is not None:
        # The path follows once the study has a name.
        overrides += ["data=npz", "data.name=arrays", "data.path=data.npz"]
    return Given(source, None if data is None else _images(data)), overrides


def _images(data: Arrays | LabelledImages) -> LabelledImages:
    if isinstance(data, LabelledImages):
        return data
    if not isinstance(data, tuple | list) or len(data) != 4:
        what = f"{len(data)} values" if isinstance(data, tuple | list) else type(data).__name__
        raise ConfigError(
            f"`data` must be (x_train, y_train, x_test, y_test) or tuner.LabelledImages, "
            f"but is {what}."
        )
    return LabelledImages.from_arrays(*data)


class _Searching:
    """The process that searches, and our end of the pipe to it.

    Args:
        request: The overrides, and a `Given`.
    """

    def __init__(self, request: tuple[list[str], Given]) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                # Without the current folder on its path, until it is sent ours.
                [sys.executable, "-P", "-c", _CODE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # A terminal's Ctrl-C goes to this process alone, which decides.
                process_group=0,
            )
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._request = request
        threading.Thread(target=self._talk, daemon=True, name="glassy-study").start()

    def __enter__(self) -> _Searching:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process if it still runs."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def follow(self, screen: Screen) -> Any:
        """Show what the process says until it ends, and return what it has searched.

        Raises:
            KeyboardInterrupt: If this process was interrupted, once the other has ended.
            ChildDied: If the process was killed.
            Exception: The error with which the search failed.
        """
        try:
            kind, content = self._shown(screen)
        except KeyboardInterrupt:
            # As Ctrl-C does to the command; a second interrupt kills it.
            self._process.terminate()
            self._shown(screen)
            raise
        finally:
            screen.show(None)
        if kind == "failed":
            raise content.as_error()
        if kind == "interrupted":
            # By somebody else: this process has not been.
            raise KeyboardInterrupt
        if kind == "died":
            raise ChildDied(
                f"The study's process {how_it_ended(self._process.wait())}. Call "
                f"tuner.run_study with the same arguments and the study's name to resume it."
            )
        return content

    def _shown(self, screen: Screen) -> tuple[str, Any]:
        """Show what comes, and return the last message."""
        while True:
            kind, content = self._news.get()
            if kind == "say":
                screen.say(*content)
            elif kind == "show":
                screen.show(None if content is None else functools.partial(_same, content))
            else:
                return kind, content

    def _talk(self) -> None:
        """Send the request, and take the answers: in a thread that no interrupt reaches."""
        try:
            self._connection.send(sys.path)
            self._connection.send(self._request)
            while True:
                self._news.put(self._connection.recv())
        except (EOFError, OSError):
            self._news.put(("died", None))


def _same(drawn: Any) -> Any:
    return drawn
