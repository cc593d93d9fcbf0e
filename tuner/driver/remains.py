"""What is left of a study that was broken off while its folder was made, or removed.

A study's folder is one from `study.json` on. What comes before it, and what processes that have
not ended yet put into a folder that somebody removes, is worth nothing: the same command begins
anew there. Whatever else lies in the folder is somebody's.
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

_NEED_THE_LOCK = {names.CONFIG, names.OVERRIDES, STATE}
"""Names that others use too: ours are written under the lock alone."""

_PARTS = ".*.part"
_TRIAL = re.compile(r"\d{4,}(-\w+)?")


def is_lock(name: str) -> bool:
    """Say whether a file is the lock, or its holder's name where there is no `flock`."""
    return name == LOCK or f"{LOCK}{locks.MARK}" in name


def is_half_made(folder: Path) -> bool:
    """Say whether nothing of worth, and nothing of anybody else's, lies in a folder.

    Args:
        folder: A study's, whose `study.json` is missing or empty.
    """
    entries = {entry.name: entry for entry in folder.iterdir()}
    if entries.keys() & _NEED_THE_LOCK and not any(map(is_lock, entries)):
        return False
    return all(_is_worthless(entry) for entry in entries.values())


def _is_worthless(entry: Path) -> bool:
    """Say whether an entry of a study's folder can be thrown away when it is made anew."""
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
        CURVES: ("epoch-*.checkpoint", "epoch-*.damaged", _PARTS, "epoch-*.part"),
    }.get(entry.name)
    return patterns is not None and all(
        any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns) for path in files
    )
