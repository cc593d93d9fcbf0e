"""Versions of Python, of Glassy and of the libraries that a study is made with."""

import importlib.metadata
import platform

from tuner import __version__

LIBRARIES = ("keras", "numpy", "tensorflow")
"""The libraries that compute, on which results may depend."""

_TOOLS = ("hydra-core", "keras-tuner", "mlflow", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of the libraries of a study."""
    ours = {"python": platform.python_version(), "glassy": __version__}
    return ours | {p: importlib.metadata.version(p) for p in (*LIBRARIES, *_TOOLS)}
