"""What tells a model's file from every other: its SHA-256, kept as a tag of its version."""

import hashlib
from pathlib import Path

from tuner import names

TAG = names.SHA256
"""Tag of a version in the registry: the SHA-256 of its `MODEL_FILE`, in hexadecimal."""

MODEL_FILE = "data/model.keras"
"""Where MLflow puts a Keras model in the folder that `packaging.save` makes."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
