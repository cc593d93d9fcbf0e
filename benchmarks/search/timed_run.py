"""One run of a search: a new process in a new folder, and when it reached which accuracy."""

import contextlib
import json
import math
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.job import RESULTS, SearchJob
from benchmarks.process import RunFailed, last_line, started
from benchmarks.search.wall_time_rows import SearchRow

POLL_SECONDS = 1.0
"""How often the results of a running search are read; their times are those of its records."""

DIGITS = 6
"""Digits of an accuracy that count: what one program keeps as float32 and another as float64
must be equal."""

Result = tuple[float, float]
"""Seconds from the start of the command, and a validation accuracy."""


@dataclass(frozen=True)
class TimedRun:
    """One run of a search.

    Attributes:
        row: Name of the row.
        seed: The seed, which is also the number of the run, from 0.
        seconds: Seconds until it ended or was stopped.
        gains: Each result that was better than all before it.
        has_ended: Whether it ended by itself.
        error: Why it failed, or None.
    """

    row: str
    seed: int
    seconds: float
    gains: tuple[Result, ...] = ()
    has_ended: bool = False
    error: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What a journal finds it by."""
        return self.row, self.seed

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Self:
        """Return a run as a journal has kept it."""
        return cls(**{**kept, "gains": tuple(tuple(gain) for gain in kept["gains"])})

    @property
    def best(self) -> float:
        """The best accuracy; 0 if there was no result."""
        return self.gains[-1][1] if self.gains else 0.0

    def until(self, target: float) -> float:
        """Return the seconds until the first result at or above `target`, or infinity."""
        reached = (seconds for seconds, accuracy in self.gains if accuracy >= target)
        return next(reached, math.inf)

    def is_enough(self, target: float, limit: float) -> bool:
        """Say whether it says how long the search takes, or that it takes longer than `limit`.

        Args:
            target: The accuracy to reach.
            limit: Seconds after which a search is stopped.
        """
        has_reached = math.isfinite(self.until(target))
        return has_reached or self.has_ended or self.seconds >= limit


def measure(
    row: SearchRow, job: SearchJob, folder: Path, target: float, limit: float
) -> TimedRun:
    """Run a search once, until it has reached the target.

    Args:
        row: The search.
        job: The job for the run.
        folder: Folder that is made for the run, and removed if it succeeds.
        target: The accuracy to reach; infinity to let it run to its end.
        limit: Seconds after which it is stopped.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job.write(folder / "job.json")
    command = [str(row.environment / "bin" / "python"), *row.arguments(job)]
    begin, status = time.time(), None
    try:
        with started(command, folder) as process:
            while status is None and time.time() - begin < limit:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(POLL_SECONDS)
                if any(accuracy >= target for _, accuracy in _so_far(row, folder)):
                    break
            seconds = time.time() - begin
        if status:
            raise RunFailed(f"It ended with exit status {status}.")
        found = gains(results(row, folder), begin)
        if status is not None and not found:
            raise RunFailed("It ended without any result.")
    except RunFailed as error:
        why = f"{error} {last_line(folder)}".rstrip()
        return TimedRun(row.name, job.seed, seconds=time.time() - begin, error=why)
    shutil.rmtree(folder)
    return TimedRun(row.name, job.seed, seconds, found, has_ended=status is not None)


def gains(timed: Iterable[Result], begin: float) -> tuple[Result, ...]:
    """Return each result that was better than all before it.

    Args:
        timed: Results in any order, with the time of each since the epoch.
        begin: When the command was started, as well.
    """
    found: list[Result] = []
    for moment, accuracy in sorted(timed):
        if not found or accuracy > found[-1][1]:
            found.append((moment - begin, accuracy))
    return tuple(found)


def _so_far(row: SearchRow, folder: Path) -> list[Result]:
    """Return what a running search has recorded; nothing while its store is made or locked."""
    with contextlib.suppress(sqlite3.OperationalError):
        return results(row, folder)
    return []


def results(row: SearchRow, folder: Path) -> list[Result]:
    """Return the results that a search has recorded, with the time of each since the epoch."""
    found = (
        _handed_back(folder / RESULTS)
        if row.metric is None
        else _recorded(folder / "mlflow.db", row.metric)
    )
    return [(moment, round(accuracy, DIGITS)) for moment, accuracy in found]


def _handed_back(path: Path) -> list[Result]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    # The last line may be half written.
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [(moment, accuracy) for moment, accuracy in map(json.loads, whole)]


def _recorded(store: Path, metric: str) -> list[Result]:
    """Read a metric of all runs.

    In SQL: MLflow's client would ask once for each run, and take time from the search.
    """
    if not store.exists():
        return []
    with contextlib.closing(sqlite3.connect(store)) as connection:
        rows = connection.execute(
            "SELECT timestamp, value FROM metrics WHERE key = ?", [metric]
        )
        return [(milliseconds / 1000, value) for milliseconds, value in rows]
