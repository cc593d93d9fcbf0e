"""Classes and functions of the user's own that a model may hold, permitted by module.

To load a model means to run what it is made of, and so only Keras's own layers are loaded,
unless the command that loads names a module. A name that a store or a model's file gives is
never imported.
"""

import inspect
from collections.abc import Mapping, Sequence
from types import ModuleType

from tuner.runtime.user_code import import_module

CustomObjects = str | ModuleType | Sequence[str | ModuleType] | Mapping[str, object] | None
"""Modules, by name or as they are, or what Keras calls so: things by their names."""

KEY = "custom_objects"


def permitted(given: CustomObjects) -> dict[str, object]:
    """Return what may be loaded beside Keras's own, by its name; modules are imported.

    A module permits what it defines, registered with Keras or not, and what a package defines
    in its submodules and names itself.

    Args:
        given: Modules or things.

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
