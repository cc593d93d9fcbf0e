"""What a training depends on besides data, values and seed.

The driver calls this in a child process: only there may TensorFlow be imported.
"""

import functools
import importlib.metadata
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from tuner.config.engine import ENGINE_VERSION
from tuner.runtime import tensorflow_setup
from tuner.runtime.user_code import find_function
from tuner.runtime.versions import LIBRARIES
from tuner.tracking.checksums import sha256_of


class Environment(TypedDict):
    """Facts shared by all trials of a study that may change their training.

    Attributes:
        model: Dotted name of the function that builds a model.
        engine: Version of Glassy's own part in training, `ENGINE_VERSION`.
        sources: A digest of each of the user's own modules that the model function or a
            callback imports.
        precision: Keras's policy for dtypes, and its float type.
        devices: The kinds of device that TensorFlow sees, such as CPU and GPU.
        versions: Versions of the libraries that compute.
    """

    model: str
    engine: int
    sources: dict[str, str]
    precision: list[str]
    devices: list[str]
    versions: dict[str, str]


def environment(model_function: str, callbacks: Sequence[str] = ()) -> Environment:
    """Return the facts shared by all trials of a study that may change their training.

    Args:
        model_function: Dotted name of the function that builds a model.
        callbacks: Dotted names of what makes callbacks.

    Raises:
        ConfigError: If there is no such function.
    """
    tensorflow_setup.set_up()
    import keras
    import tensorflow as tf

    find_function("model._target_", model_function)
    for name in callbacks:
        find_function("training.callbacks", name)
    devices = tf.config.list_physical_devices()
    return Environment(
        model=model_function,
        engine=ENGINE_VERSION,
        sources=own_sources(model_function, *callbacks),
        precision=[keras.config.dtype_policy().name, keras.config.floatx()],
        devices=sorted({device.device_type for device in devices}),
        versions={p: importlib.metadata.version(p) for p in LIBRARIES},
    )


def own_sources(*functions: str) -> dict[str, str]:
    """Return a digest of each imported module that is the user's own.

    Those are the modules of the functions' packages, and all modules that are neither in
    Python's library nor in installed packages. Glassy's own are covered by `ENGINE_VERSION`.

    Args:
        functions: Dotted names of the functions that a training needs; they have been imported.

    Returns:
        32 hexadecimal digits, by the file's path relative to its import folder, such as
        `mine/parts.py`, which does not depend on where that folder lies.
    """
    packages = {name.partition(".")[0] for name in functions}
    # TensorFlow brings thousands of modules, which lie in few folders.
    holds_own = functools.cache(_holds_own)
    found = {}
    for name, module in list(sys.modules.items()):
        # A child process imports the command itself again, under another name.
        if name in ("__main__", "__mp_main__"):
            continue
        root, file = name.partition(".")[0], getattr(module, "__file__", None) or ""
        if root == "tuner" or not (root in packages or holds_own(_folder_of(file))):
            continue
        path = Path(file)
        if path.is_file():
            parts = name.split(".") + (["__init__"] if hasattr(module, "__path__") else [])
            found["/".join(parts) + path.suffix] = sha256_of(path)[:32]
    return dict(sorted(found.items()))


def changed_on_disk(sources: Mapping[str, str]) -> list[str]:
    """Return the recorded sources whose files on Python's path have changed.

    Nothing is imported; a file that is not found is left out.

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


def _holds_own(folder: str) -> bool:
    """Say whether a folder of modules is in neither Python's library nor a package's."""
    path = Path(folder).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    ours = Path(__file__).resolve().parents[1]
    library = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    return not any(path.is_relative_to(known) for known in (ours, *library))


def _folder_of(file: str) -> str:
    """Return the folder of a module's file; if it is a link, of the file that it leads to."""
    return os.path.dirname(os.path.realpath(file) if os.path.islink(file) else file)
