"""The environment of Glassy's own processes: set here, not inherited.

Libraries read settings from variables and files that other work may have left. A model could
silently become a different one, or the last of many steps could fail. Every process that Glassy
starts calls `prepare` first; a program that imports Glassy as a library keeps its own settings.
"""

import contextlib
import importlib.abc
import importlib.util
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.errors import ConfigError

WITHOUT_BARS = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
"""MLflow would draw a progress bar for every file that is read."""

CHATTY = ("mlflow", "alembic")
"""Loggers that repeat what errors say, and tell of every table that they make."""

_SET = {
    **WITHOUT_BARS,
    # MLflow would print the address of every run that ends, with user and password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "KERAS_BACKEND": "tensorflow",
    # Figures are files; another choice may need a screen, or not exist.
    "MPLBACKEND": "Agg",
    # Records must be on disk when a call returns.
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
}
QUIET_TENSORFLOW = {"TF_CPP_MIN_LOG_LEVEL": "3"}
"""TensorFlow's start-up messages are of no use to a user."""

_SET_UNLESS_GIVEN = {
    **QUIET_TENSORFLOW,
    # Several processes share a GPU: none may take all of its memory.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
_REMOVED = (
    # It would make `tf.keras` Keras 2, in which Glassy's models cannot be saved.
    "TF_USE_LEGACY_KERAS",
    # They cut every training short.
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    # Meant for programs that log to MLflow's active run; Glassy names its runs.
    "MLFLOW_RUN_ID",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING",
    # It would resolve a model's requirements over the network again for every trial.
    "MLFLOW_LOCK_MODEL_DEPENDENCIES",
)
_KERAS_CHOICES = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_first", "channels_last"),
}


def prepare() -> None:
    """Set what this process and its children need; calling it again changes nothing.

    Settings that a user's module makes when it is imported later are kept.
    """
    os.environ.update(_SET)
    for name, value in _SET_UNLESS_GIVEN.items():
        os.environ.setdefault(name, value)
    for name in _REMOVED:
        os.environ.pop(name, None)
    _let_libraries_warn()
    # It would print that it keeps its fonts elsewhere if HOME is not writable.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    after_import("keras", reset_keras)
    after_import("matplotlib", _reset_matplotlib)
    after_import("mlflow", _quieten_mlflow)


def check() -> None:
    """Refuse obstacles that cannot be set right from here.

    Raises:
        ConfigError: It names the variable or the file, and what to do.
    """
    _check_temporary_folder()
    _check_keras_settings()


def _let_libraries_warn() -> None:
    """Keep warnings from being errors, since libraries warn about each other."""
    if not any(option.startswith("error") for option in sys.warnoptions):
        return
    sys.warnoptions[:] = [o for o in sys.warnoptions if not o.startswith("error")]
    os.environ.pop("PYTHONWARNINGS", None)
    warnings.filters[:] = [kept for kept in warnings.filters if kept[0] != "error"]  # type: ignore[index]


def _check_temporary_folder() -> None:
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        raise ConfigError(
            f"No temporary file can be written ({str(error).strip()}): set TMPDIR to a folder "
            f"with room that you may write to."
        ) from error
    if os.environ.get("TMPDIR", folder) != folder:
        # Python has found another folder that works; C libraries would not look for it.
        os.environ["TMPDIR"] = folder


def _check_keras_settings() -> None:
    path = _keras_settings()
    try:
        settings = json.loads(path.read_bytes()) if path.exists() else {}
    except (ValueError, FileNotFoundError, NotADirectoryError):
        # Keras ignores a file that is not JSON.
        return
    except OSError as error:
        raise ConfigError(f"Keras cannot read its settings {path}: {error}.") from error
    if not isinstance(settings, dict):
        raise ConfigError(
            f"Keras's settings {path} must be a mapping, but are a "
            f"{type(settings).__name__}: correct or remove the file."
        )
    for key, allowed in _KERAS_CHOICES.items():
        if key in settings and settings[key] not in allowed:
            raise ConfigError(
                f"`{key}` in Keras's settings {path} must be one of {', '.join(allowed)}, but "
                f"is {settings[key]!r}: correct or remove the file."
            )
    epsilon = settings.get("epsilon", 1e-7)
    if not isinstance(epsilon, float):
        raise ConfigError(
            f"`epsilon` in Keras's settings {path} must be a number such as 1e-07, but is "
            f"{epsilon!r}: correct or remove the file."
        )


def _keras_settings() -> Path:
    """Return where Keras looks for its settings."""
    home = os.path.expanduser("~")
    default = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    folder = os.environ.get("KERAS_HOME", default)
    return Path(os.path.expanduser(os.path.join(folder, "keras.json")))


def reset_keras(keras: Any) -> None:
    """Undo the settings of a keras.json: a built-in model is the same whoever trains it."""
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


def _reset_matplotlib(matplotlib: Any) -> None:
    """Undo the settings of a matplotlibrc."""
    matplotlib.rcdefaults()


def _quieten_mlflow(mlflow: Any) -> None:
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while, also as a decorator of a function.

    Args:
        values: The variables; each gets back the value that it had, if any.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


_hooked: set[str] = set()


def after_import(name: str, configure: Callable[[Any], None]) -> None:
    """Call a function as soon as a module has been imported, whoever imports it; once.

    Settings that a user's module makes in the next line are kept, and a process that does not
    need the library does not import it.
    """
    if name in _hooked:
        return
    _hooked.add(name)
    if name in sys.modules:
        configure(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Hook(name, configure))


class _Hook(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, configure: Callable[[Any], None]) -> None:
        self._name = name
        self._configure = configure
        self._is_looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module like other finders, and configure it at the end of its import."""
        if fullname != self._name or self._is_looking:
            return None
        self._is_looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._is_looking = False
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._configure(module)

        loader.exec_module = exec_module
        return spec
