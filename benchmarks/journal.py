"""The runs of a benchmark, kept in a file so that an interrupted benchmark can be resumed."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import Run
from tuner.errors import UserError


class Journal:
    """The runs that have been measured so far.

    Args:
        path: The file that keeps them.
        settings: Settings that must be the same for runs to be comparable, as strings.

    Attributes:
        path: The file.
        runs: The successful runs, in the order in which they ended. Failed ones are retried.

    Raises:
        UserError: If the file holds runs with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, str]) -> None:
        self.path = path
        self._settings = dict(settings)
        self.runs: list[Run] = []
        if not path.exists():
            return
        content = json.loads(path.read_text(encoding="utf-8"))
        differing = [
            name for name in settings if settings[name] != content["settings"].get(name)
        ]
        if differing:
            raise UserError(
                f"The runs in {path} must have the same {', '.join(settings)} to be resumed, "
                f"but differ in {', '.join(differing)}. Remove the file to start over."
            )
        for run in content["runs"]:
            self.runs.append(Run(**{**run, "accuracies": tuple(run["accuracies"])}))

    def find(self, trials: str, row: str, seed: int) -> Run | None:
        """Return a run that has been measured before, or None."""
        wanted = (trials, row, seed)
        return next((r for r in self.runs if (r.trials, r.row, r.seed) == wanted), None)

    def add(self, run: Run) -> None:
        """Keep a successful run."""
        self.runs.append(run)
        content = {
            "settings": self._settings,
            "runs": [dataclasses.asdict(run) for run in self.runs],
        }
        # Written to another file and renamed: a kill leaves either the old file or the new one.
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(beside, self.path)

    def close(self) -> None:
        """Move the file aside, so that the next benchmark starts over."""
        self.path.replace(self.path.with_name(f"finished-{self.path.name}"))
