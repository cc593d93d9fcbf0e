"""The files that a run has logged, with checksums that show whether they are all intact.

A power cut can leave a name without its content. A run is FINISHED only once its files are on
disk, but an older version, a disk that lies about syncing, or somebody's `rm` may have left
less. So the list of logged files is kept in a tag of the run, and compared.
"""

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.utils.file_utils import local_file_uri_to_path

from tuner.tracking.checksums import MODEL_FILE, sha256_of


@dataclass(frozen=True)
class Manifest:
    """The files of a run.

    Attributes:
        artifacts: SHA-256 of each artifact, in hexadecimal, by its name.
        model: SHA-256 of each file of its model, by its path in it; empty without a model.
    """

    artifacts: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, artifacts: Iterable[str], model_dir: Path | None) -> "Manifest":
        """Return the manifest of files that are about to be logged.

        Args:
            artifacts: Paths of the artifacts.
            model_dir: The model's folder, if it is logged.
        """
        model = {} if model_dir is None else checksums_below(model_dir)
        return cls({Path(path).name: sha256_of(Path(path)) for path in artifacts}, model)

    def encode(self) -> str:
        """Return the manifest as the tag's text."""
        return json.dumps({"artifacts": self.artifacts, "model": self.model})

    @classmethod
    def decode(cls, text: str | None) -> "Manifest | None":
        """Return the manifest from the tag's text; None if there is none or it is cut off."""
        try:
            return cls(**json.loads(text or ""))
        except (ValueError, TypeError):
            return None


def checksums_below(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its path from there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}


def damage(manifest: Manifest | None, artifacts: Path, model: Path | None) -> str | None:
    """Say what is wrong with the files of a finished run, or return None.

    Args:
        manifest: The files it has logged; None for a run of an older version.
        artifacts: Folder of its artifacts.
        model: Folder of its model; None if it no longer has one, because it was not kept.
    """
    if manifest is None:
        return _signs_of_damage(artifacts, model)
    listed = [(artifacts, manifest.artifacts)]
    if model is not None:
        listed.append((model, manifest.model))
    for folder, checksums in listed:
        for name, expected in checksums.items():
            if (found := _fault(folder / name)) is not None:
                return found
            if sha256_of(folder / name) != expected:
                return f"{name} is not what was logged"
    return None


def model_damage(file: Path, expected: str | None) -> str | None:
    """Say what is wrong with a model's file, or return None.

    Args:
        file: The file, or a copy of it.
        expected: Its SHA-256; None for a model that an older version has logged.
    """
    if (found := _fault(file)) is not None:
        return found
    if expected is not None:
        return None if sha256_of(file) == expected else f"{file.name} is not what was logged"
    return None if _is_whole_archive(file) else f"{file.name} is cut off or damaged"


def local_folder(uri: str) -> Path | None:
    """Return the folder of an artifact address on this machine; None for a server's."""
    if urlsplit(uri).scheme not in ("", "file"):
        return None
    return Path(local_file_uri_to_path(uri))  # type: ignore[no-untyped-call]


def _signs_of_damage(artifacts: Path, model: Path | None) -> str | None:
    """Look for traces of a power cut, where no checksums are known."""
    if not artifacts.is_dir():
        return f"{artifacts} is gone"
    for folder in (artifacts, *([model] if model else [])):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (found := _fault(path)) is not None:
                return found
    if model is None:
        return None
    return _fault(model / "MLmodel") or model_damage(model / MODEL_FILE, None)


def _fault(path: Path) -> str | None:
    try:
        return None if path.stat().st_size else f"{path.name} is empty"
    except OSError:
        return f"{path.name} is gone"


def _is_whole_archive(path: Path) -> bool:
    """Say whether the checksums inside a `.keras` file match its parts."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        return False
