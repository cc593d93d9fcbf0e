"""The runs of a benchmark, kept in a file so that an interrupted benchmark can be resumed."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from tuner.errors import UserError


class Keyed(Protocol):
    """A dataclass of plain data."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> tuple[object, ...]:
        """What it is found by: of two runs with the same key, the later one counts."""


R = TypeVar("R", bound=Keyed)


class Journal(Generic[R]):
    """The runs that have been measured so far.

    Args:
        path: The file that keeps them.
        settings: Settings that must be the same for runs to be comparable, as strings.
        read: Makes a run of what the file holds of it.

    Attributes:
        path: The file.
        runs: The successful runs, in the order in which they ended. Failed ones are retried.

    Raises:
        UserError: If the file holds runs with other settings.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, str],
        read: Callable[[Mapping[str, Any]], R],
    ) -> None:
        self.path = path
        self._settings = dict(settings)
        self.runs: list[R] = []
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
        self.runs += [read(run) for run in content["runs"]]

    def find(self, *key: object) -> R | None:
        """Return the run with this key that has been measured before, or None."""
        return next((run for run in self.runs if run.key == key), None)

    def add(self, run: R) -> None:
        """Keep a successful run, in place of an earlier one with its key."""
        self.runs = [kept for kept in self.runs if kept.key != run.key] + [run]
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
