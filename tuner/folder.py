"""A study's folder: who holds it, with which settings it was made, and how far it is."""

import contextlib
import datetime
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tuner import locks, names, passwords
from tuner.config import flatten, to_dict
from tuner.errors import StudyError
from tuner.identity import NOT_SETTINGS, Identity, differing, plain_store
from tuner.schema import StudyConfig

logger = logging.getLogger(__name__)

EXPERIMENTS_DIR = Path("experiments")

CONFIG = names.CONFIG
_OVERRIDES = names.OVERRIDES
STATE = "study.json"
_LOCK = "lock"


@dataclass
class StudyState:
    """What a study knows of itself, beside the oracle's journal.

    Attributes:
        study_id: Tells it from another study of the same name in the tracking store.
        seconds: Wall time of all its runs so far.
        worker_seconds: The same, times the workers that there were.
        spent: What of it the driver spent `waiting` for workers, `recording` and `proposing`.
        finished: The closing lines, once it is finished.
        engine: What runs its epochs, once that was chosen: it is chosen once.
        store: The tracking store that it was begun in, without a password.
        identity: What it was begun with; it stays, whatever a resumed search is told.
        accepted: The versions of engine and libraries that the user has agreed to since.
    """

    study_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    seconds: float = 0.0
    worker_seconds: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    finished: list[str] | None = None
    engine: str | None = None
    store: str | None = None
    identity: dict[str, Any] | None = None
    accepted: list[dict[str, str]] = field(default_factory=list)


class StudyFolder:
    """The folder `experiments/<study>/`, held by this process.

    Args:
        path: The folder; it exists.

    Attributes:
        told: Settings that are told otherwise now and may be: before and now, by key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = StudyState(**json.loads((path / STATE).read_text(encoding="utf-8")))
        self.told: dict[str, tuple[Any, Any]] = {}

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
        return [self.path / CONFIG, self.path / _OVERRIDES]

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
        write_whole(self.path / STATE, json.dumps(asdict(self.state), indent=2) + "\n")


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
    if not (path / STATE).exists():
        if not all(_is_lock(entry) for entry in path.iterdir()):
            raise StudyError(
                f"{path} exists but is no study's folder ({STATE} is missing): move it away, "
                f"or give another name with study=…."
            )
        return None
    if config.overwrite:
        return None
    found = StudyFolder(path)
    found.told = _check_same(found, name, config)
    return found


@contextlib.contextmanager
def hold(
    name: str,
    config: StudyConfig,
    overrides: Sequence[str],
    identity: Identity | None = None,
) -> Iterator[StudyFolder]:
    """Hold a study's folder while its search runs; it is made if it is missing.

    Args:
        name: The study's.
        config: Its configuration; `overwrite` empties an older folder first.
        overrides: The command line's arguments, kept beside the configuration.
        overrides: The command line's, kept beside the configuration.
        identity: What the configuration stands for now; None records and compares nothing.

    Raises:
        StudyError: If another process holds it, it was made with other settings, or what they
            stand for has changed. Then nothing has been written.
    """
    path = EXPERIMENTS_DIR / name
    path.mkdir(parents=True, exist_ok=True)
    with locks.hold_file(path / _LOCK, f"study={name}"):
        held = find(name, config)
        if held is None:
            _empty(path)
            _make(path, config, overrides, identity)
            held = StudyFolder(path)
        elif identity is not None:
            _check_identity(held, name, config, identity)
            _write_settings(path, config, overrides)
            held.save_state()
        yield held


def write_whole(path: Path, text: str) -> None:
    """Write a file under another name, and rename it: there is never half of it."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


_WAYS_OUT = (
    "Give another name, or overwrite=true to throw the earlier study's folder away; its runs "
    "stay in MLflow."
)


def _make(
    path: Path, config: StudyConfig, overrides: Sequence[str], identity: Identity | None
) -> None:
    _write_settings(path, config, overrides)
    state = StudyState(
        store=plain_store(config.tracking.uri),
        identity=None if identity is None else asdict(identity),
    )
    # Last, because it is what makes a folder a study's.
    write_whole(path / STATE, json.dumps(asdict(state), indent=2) + "\n")


def _write_settings(path: Path, config: StudyConfig, overrides: Sequence[str]) -> None:
    """Keep what was told last."""
    write_whole(path / CONFIG, OmegaConf.to_yaml(OmegaConf.create(_settings(config))))
    write_whole(path / _OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(list(overrides))))


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if _is_lock(entry):
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _is_lock(entry: Path) -> bool:
    """Say whether a file is the lock, or its holder's name where there is no `flock`."""
    return entry.name == _LOCK or f"{_LOCK}{locks.MARK}" in entry.name


def _settings(config: StudyConfig) -> dict[str, Any]:
    # Hidden here too, so that a study can be resumed when a password has changed.
    settings: dict[str, Any] = passwords.without(to_dict(config))
    return {k: v for k, v in settings.items() if k not in NOT_SETTINGS}


def _check_same(
    held: StudyFolder, name: str, config: StudyConfig
) -> dict[str, tuple[Any, Any]]:
    """Refuse settings that may not differ, and return those that do and may."""
    stored: Any = OmegaConf.to_container(OmegaConf.load(held.path / CONFIG))
    before, after = flatten(stored), flatten(_settings(config))
    if held.state.store is not None:
        # What `null` stood for, should MLFLOW_TRACKING_URI have changed.
        before["tracking.uri"] = held.state.store
        after["tracking.uri"] = plain_store(config.tracking.uri)
    refused, allowed = differing(before, after)
    if refused:
        said = "; ".join(f"{key}: was {old}, now {new}" for key, (old, new) in refused.items())
        raise StudyError(f"study={name} exists with other settings ({said}). {_WAYS_OUT}")
    return allowed


def _check_identity(
    held: StudyFolder, name: str, config: StudyConfig, identity: Identity
) -> None:
    """Refuse to resume a study on other things than it was begun with; take note of consent."""
    state = held.state
    if state.identity is None:
        state.identity = asdict(identity)
        return
    begun = Identity(**state.identity)
    if changed := identity.changes_since(begun):
        raise StudyError(
            f"study={name} cannot be resumed, since its trials could not be compared: changed "
            f"since it was begun: {'; '.join(changed)}. Put back what was there. {_WAYS_OUT}"
        )
    if identity.versions in (begun.versions, *state.accepted):
        return
    last = state.accepted[-1] if state.accepted else begun.versions
    said = ", ".join(
        f"{'the engine of Glassy' if name == 'engine' else name} {last.get(name)} is now {now}"
        for name, now in identity.versions.items()
        if last.get(name) != now
    )
    if not config.extend:
        raise StudyError(
            f"study={name} was begun with other versions ({said}), so its next trials may "
            f"differ from the earlier ones in more than their values. Give extend=true to "
            f"resume it with these versions, or install the earlier ones again."
        )
    logger.warning("Resuming with other versions, as extend=true allows: %s.", said)
    state.accepted.append(identity.versions)
