"""The runs of a benchmark as they come, in a file, so that an interrupted one goes on."""

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
        path: Where they are kept.
        settings: What must be the same for runs to be compared, as strings.

    Attributes:
        path: The file.
        runs: Those that went well, in the order they ended. One that failed is tried again.

    Raises:
        UserError: If the file holds runs of other settings.
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
                f"The runs in {path} must be of the same {', '.join(settings)} to go on with "
                f"them, but differ in {', '.join(differing)}. Remove the file to begin anew."
            )
        for run in content["runs"]:
            self.runs.append(Run(**{**run, "accuracies": tuple(run["accuracies"])}))

    def find(self, trials: str, row: str, seed: int) -> Run | None:
        """Return a run that has been measured before, or None."""
        wanted = (trials, row, seed)
        return next((r for r in self.runs if (r.trials, r.row, r.seed) == wanted), None)

    def add(self, run: Run) -> None:
        """Keep a run that went well."""
        self.runs.append(run)
        content = {
            "settings": self._settings,
            "runs": [dataclasses.asdict(run) for run in self.runs],
        }
        # Written beside and renamed: a kill leaves the old file or the new one.
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(beside, self.path)

    def close(self) -> None:
        """Put the file aside, so that the next benchmark measures anew."""
        self.path.replace(self.path.with_name(f"finished-{self.path.name}"))
