"""What tells a model's files from all others: their SHA-256, kept as tags of its version.

The model's file decides what it computes. MLflow's description beside it decides how it is
used: which label has which name, what shape an image has, how drawings are prepared.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from tuner import names
from tuner.tracking import plain_yaml

TAG = names.SHA256
"""Tag of a version in the registry: the SHA-256 of its `MODEL_FILE`, in hexadecimal."""

DESCRIPTION_TAG = "tuner.description_sha256"
"""Tag of a version: what its `DESCRIPTION_FILE` says of its use, see `description_digest`."""

MODEL_FILE = "data/model.keras"
"""Where MLflow puts a Keras model in the folder that `packaging.save` makes."""

DESCRIPTION_FILE = "MLmodel"
"""MLflow's description of a model in that folder."""

_COVERED = ("metadata", "signature")
"""What a description says that decides how a model is used.

The rest says where and when it was made, which changes when it is moved, and what MLflow's own
loader imports, which Glassy does not read.
"""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def description_digest(path: Path) -> str:
    """Return the SHA-256 of what a model's description says of its use, in hexadecimal.

    Raises:
        NotPlain: If it is no plain YAML.
    """
    said = plain_yaml.read(path.read_bytes())
    covered = {key: said.get(key) for key in _COVERED} if isinstance(said, dict) else said
    content = json.dumps(covered, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def differing(
    title: str, tags: Mapping[str, str], model: Path, description: Path
) -> dict[str, str]:
    """Return which of a version's files are not those that were registered, and why.

    Args:
        title: What the version is called, such as `digits-classifier version 3`.
        tags: Its tags; a file whose tag is missing is not compared.
        model: A copy of its `MODEL_FILE`.
        description: A copy of its `DESCRIPTION_FILE`.
    """
    found = {}
    for tag, path, name, digest_of in (
        (TAG, model, MODEL_FILE, sha256_of),
        (DESCRIPTION_TAG, description, DESCRIPTION_FILE, description_digest),
    ):
        expected = tags.get(tag)
        if expected is None:
            continue
        try:
            actual = digest_of(path)
        except plain_yaml.NotPlain as error:
            found[name] = str(error)
            continue
        if actual != expected:
            found[name] = (
                f"its SHA-256 is {actual}, and the tag {tag} of {title} says {expected}"
            )
    return found


def missing_tags(tags: Mapping[str, str]) -> list[str]:
    """Return which tags a version lacks, so that nothing tells whose its files are."""
    return [tag for tag in (TAG, DESCRIPTION_TAG) if tag not in tags]
