"""Functions that the configuration names: data sources and models."""

import importlib
import traceback
from collections.abc import Callable
from typing import Any

from tuner.errors import ConfigError


def find_function(key: str, dotted_name: str) -> Callable[..., Any]:
    """Import what a dotted name of the configuration stands for.

    Args:
        key: The configuration's key, for the message.
        dotted_name: Such as `my_package.my_function`.

    Raises:
        ConfigError: If there is no such module, it fails, or has nothing callable of that
            name in it.
    """
    module_name, _, name = dotted_name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"`{key}={dotted_name}` cannot be imported: {error}. A module of your own must lie "
            f"in the folder the command is started from, or be installed."
        ) from error
    except Exception as error:
        last = traceback.format_exception_only(error)
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"`{key}={dotted_name}` cannot be imported, since {module_name} fails in "
            f"{where.filename}, line {where.lineno}:\n{''.join(last).rstrip()}"
        ) from error
    function: Any = getattr(module, name, None)
    if not callable(function):
        names = sorted(n for n, v in vars(module).items() if callable(v) and n[0] != "_")
        raise ConfigError(
            f"`{key}={dotted_name}` must be a function, but {module_name} has none named "
            f"{name}; it has {', '.join(names[:20]) or 'none at all'}."
        )
    return function  # type: ignore[no-any-return]


def check_function(key: str, dotted_name: str) -> None:
    """Raise what `find_function` would; unlike a function, nothing can be sent anywhere.

    Args:
        key: The configuration's key, for the message.
        dotted_name: Such as `my_package.my_function`.
    """
    find_function(key, dotted_name)
