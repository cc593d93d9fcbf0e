"""What a training depends on beside data, values and seed.

The driver calls this in a child process: only there may TensorFlow be imported.
"""

import importlib.metadata
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from tuner.config.engine import ENGINE_VERSION
from tuner.runtime import tensorflow_setup
from tuner.runtime.user_code import find_function
from tuner.runtime.versions import LIBRARIES
from tuner.tracking.checksums import sha256_of


class Environment(TypedDict):
    """All that is the same for the trials of a study, and may change their training.

    Attributes:
        model: Dotted name of the function that builds a model.
        engine: Glassy's own version of what trains, `ENGINE_VERSION`.
        sources: A digest of each of the user's own modules that the model function imports.
        precision: Keras's policy for dtypes, and its float type.
        devices: The kinds of device that TensorFlow sees, such as CPU and GPU.
        versions: Of the libraries that compute.
    """

    model: str
    engine: int
    sources: dict[str, str]
    precision: list[str]
    devices: list[str]
    versions: dict[str, str]


def environment(model_function: str) -> Environment:
    """Describe all that is the same for the trials of a study, and may change their training.

    Args:
        model_function: Dotted name of the function that builds a model.

    Raises:
        ConfigError: If there is no such function.
    """
    tensorflow_setup.set_up()
    import keras
    import tensorflow as tf

    find_function("model._target_", model_function)
    devices = tf.config.list_physical_devices()
    return Environment(
        model=model_function,
        engine=ENGINE_VERSION,
        sources=own_sources(model_function),
        precision=[keras.config.dtype_policy().name, keras.config.floatx()],
        devices=sorted({device.device_type for device in devices}),
        versions={p: importlib.metadata.version(p) for p in LIBRARIES},
    )


def own_sources(model_function: str) -> dict[str, str]:
    """Return a digest of each imported module that is the user's own.

    Those are the modules of the model function's package, and all that lie neither in Python's
    library nor among installed packages. Glassy's own count by `ENGINE_VERSION`.

    Args:
        model_function: Dotted name of the function that builds a model; it has been imported.

    Returns:
        32 hexadecimal digits by the file's name below where it is imported from, such as
        `mine/parts.py`: the same wherever that folder lies.
    """
    package = model_function.partition(".")[0]
    found = {}
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        # The command itself is imported anew in a child, under a name of its own.
        if name in ("__main__", "__mp_main__") or not path.is_file():
            continue
        root = name.partition(".")[0]
        if root != "tuner" and (root == package or _is_own(path)):
            parts = name.split(".") + (["__init__"] if hasattr(module, "__path__") else [])
            found["/".join(parts) + path.suffix] = sha256_of(path)[:32]
    return dict(sorted(found.items()))


def changed_on_disk(sources: Mapping[str, str]) -> list[str]:
    """Return which of the recorded sources lie on Python's path with another content.

    Nothing is imported; a file that is found nowhere is left out.

    Args:
        sources: Digests by name, as `own_sources` returns them.
    """
    changed = []
    for name, digest in sources.items():
        places = (Path(folder or ".") / name for folder in sys.path)
        path = next((place for place in places if place.is_file()), None)
        if path is not None and sha256_of(path)[:32] != digest:
            changed.append(name)
    return changed


def _is_own(path: Path) -> bool:
    """Say whether a module's file is of neither Python's library nor an installed package."""
    path = path.resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    ours = Path(__file__).resolve().parents[1]
    library = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    return not any(path.is_relative_to(folder) for folder in (ours, *library))
