"""A study's folder: who holds it, with which settings it was made, and how far it is."""

import contextlib
import datetime
import fcntl
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tuner.config import flatten, to_dict
from tuner.errors import StudyError
from tuner.schema import StudyConfig

EXPERIMENTS_DIR = Path("experiments")

_CONFIG = "config.yaml"
_OVERRIDES = "overrides.yaml"
_STATE = "study.json"
_LOCK = "lock"

# Settings that say what to do with a study rather than what it is.
_NOT_SETTINGS = ("overwrite",)


@dataclass
class StudyState:
    """What a study knows of itself, beside the oracle's journal.

    Attributes:
        study_id: Tells it from another study of the same name in the tracking store.
        seconds: Wall time of all its runs so far.
        worker_seconds: The same, times the workers that there were.
        spent: What of it the driver spent `waiting` for workers, `recording` and `proposing`.
        finished: The closing lines, once it is finished.
    """

    study_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    seconds: float = 0.0
    worker_seconds: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    finished: list[str] | None = None


class StudyFolder:
    """The folder `experiments/<study>/`, held by this process.

    Args:
        path: The folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = StudyState(**json.loads((path / _STATE).read_text(encoding="utf-8")))

    @property
    def journal(self) -> Path:
        """The oracle's questions and answers."""
        return self.path / "oracle.jsonl"

    @property
    def log_file(self) -> Path:
        """Everything the study says, with timestamps."""
        return self.path / "tune.log"

    @property
    def settings(self) -> list[Path]:
        """The resolved configuration and the overrides it was made with."""
        return [self.path / _CONFIG, self.path / _OVERRIDES]

    @property
    def curves(self) -> Path:
        """The checkpoints of its curves."""
        return curves_dir(self.path)

    @property
    def images(self) -> Path:
        """The images as its workers map them, while it runs."""
        return self.path / "images"

    def trial_dir(self, trial_id: str) -> Path:
        """Return an empty folder for a trial's files."""
        path = self.path / "trials" / trial_id
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path.resolve()

    def drop_trial_dir(self, trial_id: str) -> None:
        """Remove a trial's folder, once its files are where they belong."""
        shutil.rmtree(self.path / "trials" / trial_id, ignore_errors=True)

    def save_state(self) -> None:
        """Write the state; a kill leaves the one before or the one after."""
        write_whole(self.path / _STATE, json.dumps(asdict(self.state), indent=2) + "\n")


def curves_dir(study: Path) -> Path:
    """Return where a study's curves lie."""
    return study / "curves"


def all_curves() -> list[Path]:
    """Return where the curves of all studies here lie."""
    return [curves_dir(study) for study in sorted(EXPERIMENTS_DIR.iterdir())]


def make_name(config: StudyConfig) -> str:
    """Make up a name that no study here has."""
    now = datetime.datetime.now()
    name = stem = f"{config.data.name}-{config.search.oracle}-{now:%Y%m%d-%H%M%S}"
    number = 1
    while (EXPERIMENTS_DIR / name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name


def find(name: str, config: StudyConfig) -> StudyFolder | None:
    """Look for a study of that name that can be gone on with; write nothing.

    Args:
        name: The study's.
        config: Its configuration.

    Returns:
        None if there is none, or if `overwrite` asks for it to be thrown away.

    Raises:
        StudyError: If there is one with other settings, or a folder that is no study's.
    """
    path = EXPERIMENTS_DIR / name
    if not path.exists():
        return None
    if not (path / _STATE).exists():
        if {entry.name for entry in path.iterdir()} - {_LOCK}:
            raise StudyError(
                f"{path} exists but is no study's folder ({_STATE} is missing): move it away, "
                f"or give another name with study=…."
            )
        return None
    if config.overwrite:
        return None
    if not (path / _CONFIG).exists():
        # As where somebody has removed the folder while its study ran.
        raise StudyError(
            f"{path} is no whole study's folder any more ({_CONFIG} is missing): start afresh "
            f"with overwrite=true, or give another name with study=…."
        )
    _check_same(path, name, config)
    return StudyFolder(path)


@contextlib.contextmanager
def hold(name: str, config: StudyConfig, overrides: Sequence[str]) -> Iterator[StudyFolder]:
    """Hold a study's folder while its search runs; it is made if it is missing.

    Args:
        name: The study's.
        config: Its configuration; `overwrite` empties an older folder first.
        overrides: The command line's, kept beside the configuration.

    Raises:
        StudyError: If another process holds it, or it was made with other settings.
    """
    path = EXPERIMENTS_DIR / name
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path, name):
        if find(name, config) is None:
            _empty(path)
            _make(path, config, overrides)
        yield StudyFolder(path)


def write_whole(path: Path, text: str) -> None:
    """Write a file under another name, and rename it: there is never half of it."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _make(path: Path, config: StudyConfig, overrides: Sequence[str]) -> None:
    write_whole(path / _CONFIG, OmegaConf.to_yaml(OmegaConf.create(_settings(config))))
    write_whole(path / _OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
    # Last, because it is what makes a folder a study's.
    write_whole(path / _STATE, json.dumps(asdict(StudyState()), indent=2) + "\n")


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.name == _LOCK:
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _settings(config: StudyConfig) -> dict[str, Any]:
    return {k: v for k, v in to_dict(config).items() if k not in _NOT_SETTINGS}


def _check_same(path: Path, name: str, config: StudyConfig) -> None:
    stored: Any = OmegaConf.to_container(OmegaConf.load(path / _CONFIG))
    before, after = flatten(stored), flatten(_settings(config))
    differences = [
        f"{key}: was {before.get(key, 'not set')}, now {after.get(key, 'not set')}"
        for key in sorted(before.keys() | after.keys())
        # A permission to load changes no training.
        if key not in ("study", "model.custom_objects") and before.get(key) != after.get(key)
    ]
    if differences:
        raise StudyError(
            f"study={name} exists with other settings ({'; '.join(differences)}). Give another "
            "name, or overwrite=true to throw the earlier study's folder away; its runs stay "
            f"in MLflow."
        )


@contextlib.contextmanager
def _locked(path: Path, name: str) -> Iterator[None]:
    """Hold the lock file; the system lets go of it when the process ends, however it ends."""
    with (path / _LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder: Mapping[str, Any] = json.loads(file.read() or "{}")
            raise StudyError(
                f"study={name} is being run by another process: pid {holder.get('pid', '?')} "
                f"on {holder.get('host', '?')}, since {holder.get('since', '?')}. Wait for it, "
                f"stop it, or give another name."
            ) from error
        file.truncate(0)
        now = datetime.datetime.now().astimezone()
        since = now.isoformat(sep=" ", timespec="seconds")
        file.write(
            json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        )
        file.flush()
        yield
