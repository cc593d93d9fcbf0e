"""A small study of the digits, as a user runs it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

SMALL_GRID = (
    "study=first",
    "executor.workers=2",
    "search=grid",
    "space.epochs=[1,2]",
    "space.units=[8,16]",
    "space.layers=1",
    "space.learning_rate=0.01",
    "search.finalists=null",
)


@dataclass(frozen=True)
class FinishedStudy:
    """The folder a search was run in, and what it printed."""

    folder: Path
    printed: subprocess.CompletedProcess[str]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"
