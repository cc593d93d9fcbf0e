"""A study's folder: who holds it, with which settings it was made, and how far it is."""

import contextlib
import datetime
import fcntl
import json
import logging
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tuner import files, remains
from tuner.config import flatten, to_dict
from tuner.errors import FolderGone, StudyError
from tuner.remains import CONFIG, LOCK, OVERRIDES, STATE
from tuner.schema import StudyConfig

logger = logging.getLogger(__name__)

EXPERIMENTS_DIR = Path("experiments")

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
        lock: Descriptor of its lock, if this process has it.

    Raises:
        StudyError: If its state cannot be read.
    """

    def __init__(self, path: Path, lock: int | None = None) -> None:
        self.path = path
        self.state = _read_state(path / STATE)
        self._lock = lock

    @property
    def journal(self) -> Path:
        """The oracle's questions and answers."""
        return self.path / "oracle.jsonl"

    @property
    def log_file(self) -> Path:
        """Everything the study says, with timestamps."""
        return self.path / remains.LOG

    @property
    def settings(self) -> list[Path]:
        """The resolved configuration and the overrides it was made with."""
        return [self.path / CONFIG, self.path / OVERRIDES]

    @property
    def curves(self) -> Path:
        """The checkpoints of its curves."""
        return curves_dir(self.path)

    @property
    def images(self) -> Path:
        """The images as its workers map them, while it runs."""
        return self.path / remains.IMAGES

    def trial_dir(self, trial_id: str) -> Path:
        """Return an empty folder for a trial's files."""
        self.check_held()
        path = self.path / remains.TRIALS / trial_id
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path.resolve()

    def drop_trial_dir(self, trial_id: str) -> None:
        """Remove a trial's folder, once its files are where they belong."""
        shutil.rmtree(self.path / remains.TRIALS / trial_id, ignore_errors=True)

    def save_state(self) -> None:
        """Write the state; a kill or a power cut leaves the one before or the one after."""
        self.check_held()
        _write_state(self.path, self.state)

    def check_held(self) -> None:
        """Find out that somebody has removed the folder, or put another in its place.

        Written on, it would become one that no study can be resumed from.

        Raises:
            FolderGone: If its lock is not the one that this process has.
        """
        if self._lock is None:
            return
        ours = os.fstat(self._lock)
        with contextlib.suppress(OSError):
            if os.path.samestat(ours, os.stat(self.path / LOCK)):
                return
        raise FolderGone(self.path)


def curves_dir(study: Path) -> Path:
    """Return where a study's curves lie."""
    return study / remains.CURVES


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
    for part in (EXPERIMENTS_DIR, path):
        if not part.is_dir() and os.path.lexists(part):
            raise StudyError(f"{part} must be a folder, but is none: move it away.")
    if not path.exists():
        return None
    state = path / STATE
    if not (state.is_file() and state.stat().st_size) and remains.is_half_made(path):
        return None
    if not state.exists():
        raise StudyError(
            f"{path} exists but is no study's folder ({STATE} is missing): move it away, "
            f"or give another name with study=…."
        )
    if config.overwrite:
        return None
    held = StudyFolder(path)
    _check_same(path, name, config)
    return held


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
    find(name, config)
    files.make_folder(path)
    with _locked(path, name) as lock:
        if find(name, config) is None:
            _empty(path)
            _write_settings(path, config, overrides)
            # Last, because it is what makes a folder a study's.
            _write_state(path, StudyState())
        elif missing := [n for n in (CONFIG, OVERRIDES) if _is_blank(path / n)]:
            logger.warning(
                "%s was missing or empty in %s, and is written anew from this command.",
                " and ".join(missing),
                path,
            )
            _write_settings(path, config, overrides)
        yield StudyFolder(path, lock)


def _write_settings(path: Path, config: StudyConfig, overrides: Sequence[str]) -> None:
    files.write(path / CONFIG, OmegaConf.to_yaml(OmegaConf.create(_settings(config))))
    files.write(path / OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(list(overrides))))


def _write_state(path: Path, state: StudyState) -> None:
    files.write(path / STATE, json.dumps(asdict(state), indent=2) + "\n")


def _read_state(path: Path) -> StudyState:
    try:
        state = StudyState(**json.loads(path.read_text(encoding="utf-8")))
        if not (isinstance(state.study_id, str) and state.seconds + state.worker_seconds >= 0):
            raise ValueError("it names no study, or no time")
    except (ValueError, TypeError, OSError) as error:
        raise StudyError(
            f"{path} is damaged ({str(error).splitlines()[0].rstrip('.')}). It says which runs "
            f"in MLflow are the study's (their tag tuner.study_id): put back what was there, "
            f"or give overwrite=true to throw the study's folder away and start afresh."
        ) from error
    return state


def _is_blank(path: Path) -> bool:
    """Say whether a file is missing or has nothing in it."""
    return not path.is_file() or not path.read_bytes().strip(b"\0 \r\n\t")


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.name == LOCK:
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _settings(config: StudyConfig) -> dict[str, Any]:
    return {k: v for k, v in to_dict(config).items() if k not in _NOT_SETTINGS}


def _check_same(path: Path, name: str, config: StudyConfig) -> None:
    settings = path / CONFIG
    if _is_blank(settings):
        # Then `hold` writes it; what the trials were made with is known to the journal.
        return
    try:
        stored: Any = OmegaConf.to_container(OmegaConf.load(settings))
        before = flatten(stored)
    except Exception as error:
        # Anything: OmegaConf passes on what the YAML parser or its own grammar raises.
        raise StudyError(
            f"{settings} is damaged, so nothing tells whether study={name} is the same study: "
            f"put back what was there (MLflow has a copy among the artifacts of the study's "
            f"run), or give overwrite=true to throw the study's folder away."
        ) from error
    after = flatten(_settings(config))
    differences = [
        f"{key}: was {before.get(key, 'not set')}, now {after.get(key, 'not set')}"
        for key in sorted(before.keys() | after.keys())
        if key != "study" and before.get(key) != after.get(key)
    ]
    if differences:
        raise StudyError(
            f"study={name} exists with other settings ({'; '.join(differences)}). Give another "
            "name, or overwrite=true to throw the earlier study's folder away; its runs stay "
            f"in MLflow."
        )


@contextlib.contextmanager
def _locked(path: Path, name: str) -> Iterator[int]:
    """Hold the lock file; the system lets go of it when the process ends, however it ends."""
    with (path / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = _holder(file.read())
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
        yield file.fileno()


def _holder(text: str) -> Mapping[str, Any]:
    """Return what a lock says of who has it; nothing if it was not written to its end."""
    try:
        holder = json.loads(text)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}
