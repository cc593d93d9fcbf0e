"""A study's folder: who holds it, which settings it was made with, and how far it has got."""

import contextlib
import datetime
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tuner.config.schema import StudyConfig
from tuner.curves.identity import (
    MAY_CHANGE,
    Change,
    Identity,
    is_of_search,
    plain_store,
    reopens,
)
from tuner.driver import remains, same_study, stored_settings
from tuner.driver.remains import LOCK, STATE
from tuner.driver.study_state import StudyState
from tuner.errors import FolderGone, StudyError
from tuner.names import CONFIG, EPOCHS, OVERRIDES, REPORT
from tuner.runtime import files, locks
from tuner.tracking import epochs_file
from tuner.trial import Metrics
from tuner.wording import REPORT_AT, did_you_mean, say_changes

logger = logging.getLogger(__name__)

EXPERIMENTS_DIR = Path("experiments")


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
        self.state = StudyState.read(path)
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
        return stored_settings.overrides(self.path)

    @property
    def blank(self) -> list[str]:
        """Names of files that a finished study must have, but that are missing or empty."""
        # If the report could not be made, no closing line names one.
        claims_report = any(line.startswith(REPORT_AT) for line in self.state.finished or ())
        claimed = [CONFIG, OVERRIDES, *([REPORT] if claims_report else [])]
        return [name for name in claimed if remains.is_blank(self.path / name)]

    @property
    def said_of_told(self) -> str:
        """The settings that are told otherwise now, in words."""
        return say_changes(self.told)

    @property
    def changes_search(self) -> bool:
        """Whether it is told to search in another way now (`extend=true`)."""
        return any(is_of_search(key) and key not in MAY_CHANGE for key in self.told)

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
        if self.changes_search:
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

    def keep_epochs(self, run_id: str, epochs: Sequence[Metrics]) -> None:
        """Keep the metrics of a trial that has ended, by its run; see `epochs_file`."""
        epochs_file.append(self.path / EPOCHS, run_id, epochs)

    def save_state(self) -> None:
        """Write the state; a kill or a power cut leaves either the old or the new one."""
        self.check_held()
        self.state.write(self.path)

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


def id_of_folder(name: str) -> str | None:
    """Return the id of the study of that name whose folder is here, if there is one."""
    try:
        return StudyFolder(EXPERIMENTS_DIR / name).state.study_id
    except StudyError:
        return None


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
        StudyError: If there is one with other settings, or a folder that is not a study's; or
            if there is none, but `extend` asks to extend it.
    """
    found = _find(name, config)
    if found is None and config.extend:
        others = [path.parent.name for path in EXPERIMENTS_DIR.glob(f"*/{STATE}")]
        raise StudyError(
            f"`extend=true` extends an earlier study, but there is no study={name} in "
            f"{EXPERIMENTS_DIR}/.{did_you_mean(name, others, 'study={}')} To begin a new one, "
            f"leave extend out."
        )
    return found


def _find(name: str, config: StudyConfig) -> StudyFolder | None:
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
    if (path / remains.DELETING).exists():
        raise StudyError(
            f"study={name} is being deleted: give python -m tuner.delete study={name} to "
            f"complete that, another name, or overwrite=true to start it over."
        )
    found = StudyFolder(path)
    found.told = same_study.check_settings(path, found.state, name, config)
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
            stored_settings.write(path, config, overrides)
            # Last, because this file makes the folder a study's.
            begun = None if identity is None else asdict(identity)
            StudyState(store=plain_store(config.tracking.uri), identity=begun).write(path)
            yield StudyFolder(path, descriptor)
            return
        held = StudyFolder(path, descriptor)
        held.told = found.told
        if identity is not None:
            same_study.check_identity(held.state, name, config, identity)
        held._extend()
        if missing := [n for n in (CONFIG, OVERRIDES) if remains.is_blank(path / n)]:
            logger.warning(
                "%s was missing or empty in %s: rewritten from this command.",
                " and ".join(missing),
                path,
            )
        stored_settings.write(path, config, overrides)
        held.save_state()
        yield held


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Keep a folder open, so that no other folder can take its inode number."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if remains.is_lock(entry.name):
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
