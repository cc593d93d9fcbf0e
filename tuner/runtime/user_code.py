"""Imports and calls the functions that the configuration names: loaders and models."""

import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from tuner.errors import ConfigError, DataError, GlassyError, wants_memory
from tuner.runtime import interrupt
from tuner.wording import did_you_mean

OURS = "tuner."
"""Beginning of the dotted names of Glassy's own models and loaders."""


def is_ours(dotted_name: str) -> bool:
    """Say whether a model or a loader is one of Glassy's own, which tests cover."""
    return dotted_name.startswith(OURS)


def find_function(key: str, dotted_name: str) -> Callable[..., Any]:
    """Import the function that a dotted name in the configuration stands for.

    Args:
        key: The configuration's key, for the message.
        dotted_name: A name such as `my_package.my_function`.

    Raises:
        ConfigError: If there is no such module, it fails, or it has no callable of that name.
    """
    module_name, _, name = dotted_name.rpartition(".")
    module = import_module(f"{key}={dotted_name}", module_name)
    function: Any = getattr(module, name, None)
    if not callable(function):
        names = sorted(n for n, v in vars(module).items() if callable(v) and n[0] != "_")
        hint = did_you_mean(name, names)
        raise ConfigError(
            f"`{key}={dotted_name}` must be a function, but {module_name} has none named "
            f"{name}; it has {', '.join(names[:20]) or 'none at all'}.{hint}"
        )
    return function  # type: ignore[no-any-return]


def call_loader(dotted_name: str, config: Any) -> Any:
    """Call the function that `data._target_` names.

    Args:
        dotted_name: The function's dotted name.
        config: The group `data`.

    Raises:
        ConfigError: If it cannot be found.
        DataError: If it is the user's own and fails; the message says where.
    """
    load = find_function("data._target_", dotted_name)
    if is_ours(dotted_name):
        return load(config)
    return call_own(f"data._target_={dotted_name}", load, DataError, config)


def call_own(
    setting: str, function: Callable[..., Any], kind: type[GlassyError], *arguments: object
) -> Any:
    """Call a function of the user's own.

    Args:
        setting: The key and its value, for the message.
        function: The function.
        kind: The error that is raised if it fails; the message says where.
        arguments: What it is given.
    """
    try:
        with _contained():
            return function(*arguments)
    except GlassyError:
        raise
    except (Exception, SystemExit) as error:
        if wants_memory(error) or interrupt.is_cause_of(error):
            raise
        raise kind(f"`{setting}` fails in {_place(error)}:\n{_worded(error)}") from error


def import_module(setting: str, name: str) -> ModuleType:
    """Import a module that the configuration names, whatever it does at its top level.

    Args:
        setting: The key and its value, for the message.
        name: Name of the module.

    Raises:
        ConfigError: If there is no such module, or it fails; the message says where.
    """
    try:
        with _contained():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"`{setting}` cannot be imported: {error}. A module of your own must be in the "
            f"folder where the command is run, or be installed."
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"`{setting}` cannot be imported, since {name} fails in {_place(error)}:\n"
            f"{_worded(error)}"
        ) from error


def _worded(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).rstrip()


def _place(error: BaseException) -> str:
    """Say where an error was raised; a syntax error itself knows where."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    # Prefer the place that the user can change over the one where a library raised it.
    own = [f for f in frames if "importlib" not in f.filename and f.filename != __file__]
    here = [f for f in own if f.filename.startswith(os.getcwd() + os.sep)] or own or frames
    here = [f for f in here if not f.filename.startswith(sys.prefix + os.sep)] or here
    return f"{here[-1].filename}, line {here[-1].lineno}"


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Let a module do anything at its top level, and restore the state that we rely on.

    Scripts may parse their command line, change their folder, handle signals and configure
    logging when they are imported. Their settings of TensorFlow, Keras and NumPy are kept.
    """
    arguments, folder = sys.argv, os.getcwd()
    is_main = threading.current_thread() is threading.main_thread()
    handlers = [signal.getsignal(number) for number in interrupt.SIGNALS]
    root = logging.getLogger()
    logged_by, level = root.handlers[:], root.level
    sys.argv = sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = arguments
        os.chdir(folder)
        root.handlers[:] = logged_by
        root.setLevel(level)
        for number, handler in zip(interrupt.SIGNALS, handlers, strict=True):
            if is_main and handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
