"""A user's own classes and functions that a model may hold, permitted by module.

Loading a model means running its parts, so only Keras's own layers are loaded unless the
command names a module. A module that only a store or a model's file names is never imported.
"""

import inspect
from collections.abc import Mapping, Sequence
from types import ModuleType

from tuner.runtime.user_code import import_module

CustomObjects = str | ModuleType | Sequence[str | ModuleType] | Mapping[str, object] | None
"""Modules or their names, or Keras's own `custom_objects`: objects by name."""

KEY = "custom_objects"


def permitted(given: CustomObjects) -> dict[str, object]:
    """Return the objects that may be loaded besides Keras's own, by name; imports modules.

    A module permits what it defines, whether registered with Keras or not; a package also
    permits what it imports from its submodules.

    Args:
        given: Modules or objects.

    Raises:
        ConfigError: If a module cannot be imported.
    """
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, object] = {}
    for module in _listed(given):
        if isinstance(module, str):
            module = import_module(f"{KEY}={module}", module)
        found |= {name: value for name, value in vars(module).items() if _is_of(value, module)}
    return found


def _listed(given: CustomObjects) -> Sequence[str | ModuleType]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str | ModuleType) else tuple(given)


def _is_of(value: object, module: ModuleType) -> bool:
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return False
    home = str(getattr(value, "__module__", ""))
    return home == module.__name__ or home.startswith(f"{module.__name__}.")
