"""How far a study has got: the state in its folder, besides the oracle's journal."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tuner.driver.remains import STATE
from tuner.errors import StudyError
from tuner.runtime import files
from tuner.wording import first_line


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

    @classmethod
    def read(cls, folder: Path) -> StudyState:
        """Read the state in a study's folder.

        Raises:
            StudyError: If it cannot be read.
        """
        path = folder / STATE
        try:
            state = cls(**json.loads(path.read_text(encoding="utf-8")))
            if not (
                isinstance(state.study_id, str) and state.seconds + state.worker_seconds >= 0
            ):
                raise ValueError("it names no study or no time")
        except (ValueError, TypeError, OSError) as error:
            raise StudyError(
                f"{path} is damaged ({first_line(error)}). It says which runs in MLflow are "
                f"the study's (their tag tuner.study_id): restore the file, or give "
                f"overwrite=true to delete the study's folder and start over."
            ) from error
        return state

    def write(self, folder: Path) -> None:
        """Write the state; a kill or a power cut leaves either the old or the new one."""
        files.write(folder / STATE, json.dumps(asdict(self), indent=2) + "\n")
