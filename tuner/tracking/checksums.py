"""Identifies a model's files by their SHA-256, kept as tags of its version.

The model's file decides what it computes. MLflow's description next to it decides how it is
used: the names of the labels, the shape of an image, how drawings are prepared.
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
"""Tag of a version: digest of its use by its `DESCRIPTION_FILE`; see `description_digest`."""

MODEL_FILE = "data/model.keras"
"""Path of a Keras model in the folder that `packaging.save` makes, as MLflow lays it out."""

DESCRIPTION_FILE = "MLmodel"
"""MLflow's description of a model in that folder."""

_COVERED = ("metadata", "signature")
"""Parts of a description that decide how a model is used.

The rest says where and when it was made, which changes when it is moved, and what MLflow's own
loader imports, which Glassy does not read.
"""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def description_digest(path: Path) -> str:
    """Return the SHA-256 of the covered parts of a model's description, in hexadecimal.

    Raises:
        NotPlain: If it is not plain YAML.
    """
    said = plain_yaml.read(path.read_bytes())
    covered = {key: said.get(key) for key in _COVERED} if isinstance(said, dict) else said
    content = json.dumps(covered, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def differing(
    title: str, tags: Mapping[str, str], model: Path, description: Path
) -> dict[str, str]:
    """Return the files of a version that are not those that were registered, and why.

    Args:
        title: The version's title, such as `digits-classifier version 3`.
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
    """Return the tags that a version lacks, without which its files cannot be verified."""
    return [tag for tag in (TAG, DESCRIPTION_TAG) if tag not in tags]
