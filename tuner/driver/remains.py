"""Remains of a study that was interrupted while its folder was made or removed.

A folder becomes a study's once `study.json` is in it. Files written before that, and files that
running processes put into a folder while somebody removes it, are worthless: the same command
starts over there. Any other file in the folder belongs to somebody.
"""

import fnmatch
import re
from pathlib import Path

from tuner import names
from tuner.runtime import locks

STATE = "study.json"
LOCK = "lock"
LOG = "tune.log"
CURVES = "curves"
TRIALS = "trials"
IMAGES = "images"
DELETING = "deleting"
"""Empty file in the folder of a study whose deletion has begun."""

_NEED_THE_LOCK = {names.CONFIG, names.OVERRIDES, STATE, DELETING}
"""Names that other programs use too: Glassy writes them only under the lock."""

_PARTS = ".*.part"
GIVEN_MODEL = "study_model"
"""Name of the module in a study's folder that holds the model function it was given."""

GIVEN_DATA = "data.npz"
"""File in a study's folder that holds the arrays it was given."""

_RESULTS = (
    names.REPORT,
    names.DATA_PICTURE,
    names.EPOCHS,
    "oracle.jsonl",
    "oracle-*.jsonl",
    f"{GIVEN_MODEL}.py",
    GIVEN_DATA,
)
"""What else Glassy writes into a study's folder; none of it is worthless."""
_TRIAL = re.compile(r"\d{4,}(-\w+)?")


def is_lock(name: str) -> bool:
    """Say whether a file is the lock, or names its holder where there is no `flock`."""
    return name == LOCK or f"{LOCK}{locks.MARK}" in name


def is_blank(path: Path) -> bool:
    """Say whether a file is missing or has nothing in it, as a power cut may leave it."""
    return not path.is_file() or not path.read_bytes().strip(b"\0 \r\n\t")


def is_half_made(folder: Path) -> bool:
    """Say whether a folder holds only worthless remains of Glassy's own.

    Args:
        folder: A study's folder without `study.json`, or with an empty one.
    """
    entries = {entry.name: entry for entry in folder.iterdir()}
    if entries.keys() & _NEED_THE_LOCK and not any(map(is_lock, entries)):
        return False
    return all(_is_worthless(entry) for entry in entries.values())


def is_half_deleted(folder: Path) -> bool:
    """Say whether a folder is what an interrupted deletion has left, without its study."""
    return (folder / DELETING).exists() and not (folder / STATE).exists()


def is_ours(entry: Path) -> bool:
    """Say whether an entry of a study's folder, with all that is in it, is Glassy's."""
    is_result = entry.is_file() and not entry.is_symlink()
    return _is_worthless(entry) or (
        is_result and any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in _RESULTS)
    )


def _is_worthless(entry: Path) -> bool:
    """Say whether an entry of a study's folder can be deleted when the study starts over."""
    if entry.is_symlink():
        return False
    if not entry.is_dir():
        ours = {LOG} | _NEED_THE_LOCK
        return (
            entry.name in ours or is_lock(entry.name) or fnmatch.fnmatchcase(entry.name, _PARTS)
        )
    if entry.name == TRIALS:
        return all(_TRIAL.fullmatch(trial.name) for trial in entry.iterdir())
    files = [path for path in entry.rglob("*") if not path.is_dir()]
    patterns = {
        IMAGES: ("*.npy",),
        # Of the model function, which workers import.
        "__pycache__": (f"{GIVEN_MODEL}.*.pyc", f"{GIVEN_MODEL}.*.pyc.*"),
        CURVES: ("epoch-*.checkpoint", "epoch-*.damaged", _PARTS, "epoch-*.part"),
    }.get(entry.name)
    return patterns is not None and all(
        any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns) for path in files
    )
