"""What a training depends on beside data, values and seed.

The driver calls this in a child process: only there may TensorFlow be imported.
"""

import hashlib
import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Any

from tuner import __version__, runtime
from tuner.functions import find_function

# Every line of theirs may change a weight.
_ENGINE = ("tuner.models", "tuner.training")
_LIBRARIES = ("keras", "numpy", "tensorflow")
# And what else a study is made with.
_TOOLS = ("hydra-core", "keras-tuner", "mlflow", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of what a study is made with."""
    ours = {"python": platform.python_version(), "glassy": __version__}
    return ours | {p: importlib.metadata.version(p) for p in (*_LIBRARIES, *_TOOLS)}


def environment(model_function: str) -> dict[str, Any]:
    """Describe all that is the same for the trials of a study, and may change their training.

    Args:
        model_function: Dotted name of the function that builds a model.

    Returns:
        Plain data: precision, devices, versions, and a digest of the sources of the training
        engine, of the model function and of what that imports from its own package and from
        the current folder.

    Raises:
        ConfigError: If there is no such function.
    """
    runtime.set_up()
    import keras
    import tensorflow as tf

    find_function("model._target_", model_function)
    devices = tf.config.list_physical_devices()
    return {
        "model": model_function,
        "source": _source_digest(model_function),
        "precision": [keras.config.dtype_policy().name, keras.config.floatx()],
        "devices": sorted({device.device_type for device in devices}),
        "versions": {p: importlib.metadata.version(p) for p in _LIBRARIES},
    }


def _source_digest(model_function: str) -> str:
    package = model_function.partition(".")[0]
    sha = hashlib.sha256()
    for name, module in sorted(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        if name.split(".")[0] == "tuner":
            counts = ".".join(name.split(".")[:2]) in _ENGINE
        else:
            counts = name.split(".")[0] == package or _is_here(path)
        if counts and path.is_file():
            sha.update(name.encode())
            sha.update(path.read_bytes())
    return sha.hexdigest()[:32]


def _is_here(path: Path) -> bool:
    """Say whether a file is one of the current folder, and not of an environment in it."""
    return path.is_relative_to(Path.cwd()) and not path.is_relative_to(sys.prefix)
