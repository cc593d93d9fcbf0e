"""A study's folder: who holds it, which settings it was made with, and how far it has got."""

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

from tuner import passwords
from tuner.config.compose import flatten, to_dict
from tuner.config.schema import StudyConfig
from tuner.curves.identity import (
    MAY_CHANGE,
    NOT_SETTINGS,
    Change,
    Identity,
    differing,
    is_of_search,
    plain_store,
    reopens,
)
from tuner.driver import remains
from tuner.driver.remains import LOCK, STATE
from tuner.errors import FolderGone, StudyError
from tuner.names import CONFIG, OVERRIDES, REPORT
from tuner.runtime import files, locks
from tuner.wording import REPORT_AT, first_line, say_changes

logger = logging.getLogger(__name__)

EXPERIMENTS_DIR = Path("experiments")


@dataclass
class StudyState:
    """A study's own state, besides the oracle's journal.

    Attributes:
        study_id: Distinguishes it from other studies of the same name in the tracking store.
        seconds: Wall time of all its runs so far.
        worker_seconds: The same, multiplied by the number of workers.
        spent: Seconds of the driver `waiting` for workers, `recording` and `proposing`.
        finished: The closing lines, once it is finished.
        engine: What runs its epochs, once that was chosen: it is chosen once.
        store: The tracking store that it was begun in, without a password.
        identity: What it was begun with; it stays, whatever a resumed search is told.
        accepted: The versions of engine and libraries that the user has agreed to since.
        extensions: What it was told otherwise since: `when` (ISO 8601, UTC), after how many
            `trials`, and the `changes`, by key, before and after.
        was_stopped: Whether somebody asked it to end before its budget was used.
        searches: How many times its search has been changed (`extend=true`).
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
    extensions: list[dict[str, Any]] = field(default_factory=list)
    was_stopped: bool = False
    searches: int = 0


class StudyFolder:
    """The folder `experiments/<study>/`, held by this process.

    Args:
        path: The folder; it exists.
        descriptor: The folder's open file descriptor, if this process holds it.

    Attributes:
        told: Settings that differ now and may differ: before and now, by key.

    Raises:
        StudyError: If its state cannot be read.
    """

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        self.state = _read_state(path / STATE)
        self.told: dict[str, Change] = {}
        self._descriptor = descriptor

    @property
    def journal(self) -> Path:
        """The questions to the oracle of the search that is under way, and its answers."""
        return self._journal(self.state.searches)

    @property
    def earlier_journals(self) -> list[Path]:
        """Those of the searches before it, in their order."""
        return [self._journal(number) for number in range(self.state.searches)]

    def _journal(self, number: int) -> Path:
        return self.path / (f"oracle-{number}.jsonl" if number else "oracle.jsonl")

    @property
    def log_file(self) -> Path:
        """The study's whole log, with timestamps."""
        return self.path / remains.LOG

    @property
    def settings(self) -> list[Path]:
        """The resolved configuration and the overrides it was made with."""
        return [self.path / CONFIG, self.path / OVERRIDES]

    @property
    def overrides(self) -> list[str]:
        """What the study was asked for on the command line."""
        return [str(line) for line in OmegaConf.load(self.path / OVERRIDES)]

    @property
    def blank(self) -> list[str]:
        """Names of files that a finished study must have, but that are missing or empty."""
        # If the report could not be made, no closing line names one.
        claims_report = any(line.startswith(REPORT_AT) for line in self.state.finished or ())
        claimed = [CONFIG, OVERRIDES, *([REPORT] if claims_report else [])]
        return [name for name in claimed if _is_blank(self.path / name)]

    @property
    def said_of_told(self) -> str:
        """The settings that are told otherwise now, in words."""
        return say_changes(self.told)

    def note_progress(self, num_trials: int) -> None:
        """Record after how many trials the study is told what it is told now.

        Args:
            num_trials: Trials that have ended by now.
        """
        for extension in self.state.extensions:
            if extension["trials"] is None:
                extension["trials"] = num_trials
        self.save_state()

    def _extend(self) -> None:
        """Record what the study is told otherwise from now on, if anything is."""
        if not self.told:
            return
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        changes = {key: list(values) for key, values in self.told.items()}
        self.state.extensions.append({"when": when, "trials": None, "changes": changes})
        if reopens(self.told):
            self.state.finished = None
        if any(is_of_search(key) and key not in MAY_CHANGE for key in self.told):
            self.state.searches += 1
        # Before the settings, which the next process compares with.
        self.save_state()

    @property
    def curves(self) -> Path:
        """The checkpoints of its curves."""
        return curves_dir(self.path)

    @property
    def images(self) -> Path:
        """The images as memory-mapped by its workers, while it runs."""
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
        """Write the state; a kill or a power cut leaves either the old or the new one."""
        self.check_held()
        _write_state(self.path, self.state)

    def check_held(self) -> None:
        """Check that nobody has removed the folder or put another in its place.

        Writing to such a folder would make one that no study can be resumed from.

        Raises:
            FolderGone: If it is not the folder that this process holds.
        """
        if self._descriptor is None:
            return
        ours = os.fstat(self._descriptor)
        with contextlib.suppress(OSError):
            if os.path.samestat(ours, self.path.stat()) and (self.path / STATE).exists():
                return
        raise FolderGone(self.path)


def curves_dir(study: Path) -> Path:
    """Return where a study's curves lie."""
    return study / remains.CURVES


def all_curves() -> list[Path]:
    """Return where the curves of all studies here lie."""
    return [curves_dir(study) for study in sorted(EXPERIMENTS_DIR.iterdir())]


def is_running(study: Path) -> bool:
    """Say whether a process holds a study's folder now.

    Args:
        study: The folder.
    """
    return locks.is_held(study / LOCK)


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
    """Look for a study of that name that can be resumed; write nothing.

    Args:
        name: The study's name.
        config: Its configuration.

    Returns:
        None if there is none, or if `overwrite` asks to delete it.

    Raises:
        StudyError: If there is one with other settings, or a folder that is not a study's.
    """
    path = EXPERIMENTS_DIR / name
    for part in (EXPERIMENTS_DIR, path):
        if not part.is_dir() and os.path.lexists(part):
            raise StudyError(f"{part} must be a folder, but is not: move it away.")
    if not path.exists():
        return None
    state = path / STATE
    if not (state.is_file() and state.stat().st_size) and remains.is_half_made(path):
        return None
    if not state.exists():
        raise StudyError(
            f"{path} exists but is not a study's folder ({STATE} is missing): move it away, "
            f"or give another name with study=…."
        )
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
        name: The study's name.
        config: Its configuration; `overwrite` empties an older folder first.
        overrides: The command line's arguments, kept next to the configuration.
        identity: What the settings stand for now; None records and compares nothing.

    Raises:
        StudyError: If another process holds it, if it was made with other settings, or if
            what they stand for has changed. Nothing has been written then.
    """
    path = EXPERIMENTS_DIR / name
    find(name, config)
    files.make_folder(path)
    with locks.hold_file(path / LOCK, f"study={name}"), _opened(path) as descriptor:
        found = find(name, config)
        if found is None:
            _empty(path)
            _write_settings(path, config, overrides)
            # Last, because this file makes the folder a study's.
            _write_state(path, _begun(config, identity))
            yield StudyFolder(path, descriptor)
            return
        held = StudyFolder(path, descriptor)
        held.told = found.told
        if identity is not None:
            _check_identity(held, name, config, identity)
        held._extend()
        if missing := [n for n in (CONFIG, OVERRIDES) if _is_blank(path / n)]:
            logger.warning(
                "%s was missing or empty in %s: rewritten from this command.",
                " and ".join(missing),
                path,
            )
        _write_settings(path, config, overrides)
        held.save_state()
        yield held


def _write_settings(path: Path, config: StudyConfig, overrides: Sequence[str]) -> None:
    files.write(path / CONFIG, OmegaConf.to_yaml(OmegaConf.create(_settings(config))))
    files.write(path / OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(list(overrides))))


_WAYS_OUT = (
    "Give another name, or overwrite=true to delete the earlier study's folder; its runs stay "
    "in MLflow."
)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Keep a folder open, so that no other folder can take its inode number."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _begun(config: StudyConfig, identity: Identity | None) -> StudyState:
    """Return the state of a study that is about to start."""
    return StudyState(
        store=plain_store(config.tracking.uri),
        identity=None if identity is None else asdict(identity),
    )


def _write_state(path: Path, state: StudyState) -> None:
    files.write(path / STATE, json.dumps(asdict(state), indent=2) + "\n")


def _read_state(path: Path) -> StudyState:
    try:
        state = StudyState(**json.loads(path.read_text(encoding="utf-8")))
        if not (isinstance(state.study_id, str) and state.seconds + state.worker_seconds >= 0):
            raise ValueError("it names no study or no time")
    except (ValueError, TypeError, OSError) as error:
        raise StudyError(
            f"{path} is damaged ({first_line(error)}). It says which runs in MLflow are the "
            f"study's (their tag tuner.study_id): restore the file, or give overwrite=true to "
            f"delete the study's folder and start over."
        ) from error
    return state


def _is_blank(path: Path) -> bool:
    """Say whether a file is missing or has nothing in it."""
    return not path.is_file() or not path.read_bytes().strip(b"\0 \r\n\t")


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if remains.is_lock(entry.name):
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _settings(config: StudyConfig) -> dict[str, Any]:
    # Hidden here too, so that a study can be resumed when a password has changed.
    settings: dict[str, Any] = passwords.without(to_dict(config))
    return {k: v for k, v in settings.items() if k not in NOT_SETTINGS}


def _check_same(held: StudyFolder, name: str, config: StudyConfig) -> dict[str, Change]:
    """Refuse settings that may not differ, and return those that do and may."""
    settings = held.path / CONFIG
    if _is_blank(settings):
        # `hold` will write it; the journal knows what the trials were made with.
        return {}
    try:
        stored: Any = OmegaConf.to_container(OmegaConf.load(settings))
        before = flatten(stored)
    except Exception as error:
        # Any exception: OmegaConf passes on what the YAML parser or its own grammar raises.
        raise StudyError(
            f"{settings} is damaged, so it is unknown whether study={name} is the same study: "
            f"restore the file (MLflow has a copy among the artifacts of the study's run), or "
            f"give overwrite=true to delete the study's folder."
        ) from error
    after = flatten(_settings(config))
    if held.state.store is not None:
        # Compares what `null` stood for, in case MLFLOW_TRACKING_URI has changed.
        before["tracking.uri"] = held.state.store
        after["tracking.uri"] = plain_store(config.tracking.uri)
    refused, allowed = differing(before, after)
    if config.extend:
        allowed |= {key: change for key, change in refused.items() if is_of_search(key)}
        refused = {key: change for key, change in refused.items() if key not in allowed}
    if refused:
        said = "; ".join(f"{key}: was {old}, now {new}" for key, (old, new) in refused.items())
        way = ""
        if all(map(is_of_search, refused)):
            way = " Give extend=true to search on with these; the earlier trials stay its own."
        raise StudyError(f"study={name} exists with other settings ({said}).{way} {_WAYS_OUT}")
    return allowed


def _check_identity(
    held: StudyFolder, name: str, config: StudyConfig, identity: Identity
) -> None:
    """Refuse to resume a study if what it was started with has changed; record consent."""
    state = held.state
    if state.identity is None:
        state.identity = asdict(identity)
        return
    begun = Identity(**state.identity)
    if changed := identity.changes_since(begun):
        raise StudyError(
            f"study={name} cannot be resumed, since its trials would not be comparable. "
            f"Changed since it was started: {'; '.join(changed)}. Undo that. {_WAYS_OUT}"
        )
    if identity.versions in (begun.versions, *state.accepted):
        return
    last = state.accepted[-1] if state.accepted else begun.versions
    said = ", ".join(
        f"{'Glassy engine' if name == 'engine' else name} {last.get(name)} is now {now}"
        for name, now in identity.versions.items()
        if last.get(name) != now
    )
    if not config.extend:
        raise StudyError(
            f"study={name} was started with other versions ({said}), so its next trials may "
            f"differ from the earlier ones in more than their values. Give extend=true to "
            f"resume it with these versions, or reinstall the earlier ones."
        )
    logger.warning("Resuming with other versions, as extend=true allows: %s.", said)
    state.accepted.append(identity.versions)
