"""The metrics of every epoch of a study, in one file: a line for each trial that has ended.

MLflow has them too, but answers for one metric of one trial at a time. The file lies in the
study's folder while it runs, and among the files of the study's run once it has ended.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.runtime import files
from tuner.trial import Metrics


@dataclass(frozen=True)
class Epochs:
    """The metrics of one trial after each epoch.

    Attributes:
        metrics: Their names.
        values: A row for each epoch, from the first, with a value for each metric; None if it
            was not measured.
    """

    metrics: tuple[str, ...]
    values: Sequence[Sequence[float | None]]

    @classmethod
    def of(cls, epochs: Sequence[Metrics]) -> Epochs:
        """Return the metrics of a trial that has them by epoch."""
        names = tuple(dict.fromkeys(name for metrics in epochs for name in metrics))
        return cls(names, [[metrics.get(name) for name in names] for metrics in epochs])

    def of_metric(self, name: str) -> list[float]:
        """Return one metric after each epoch; NaN where it was not measured."""
        place = self.metrics.index(name)
        return [math.nan if (value := row[place]) is None else value for row in self.values]

    def after(self, epoch: int | None) -> Metrics:
        """Return what was measured after an epoch, from 1; after the last one if None."""
        if not self.values:
            return {}
        row = zip(self.metrics, self.values[(epoch or 0) - 1], strict=True)
        return {name: value for name, value in row if value is not None}


def append(path: Path, run_id: str, epochs: Sequence[Metrics]) -> None:
    """Add a trial that has ended; of two lines for one run, the later counts.

    Args:
        path: The file; its folder exists.
        run_id: Id of the trial's run in MLflow.
        epochs: Its metrics after each epoch.
    """
    kept = Epochs.of(epochs)
    line = {"run_id": run_id, "metrics": kept.metrics, "epochs": kept.values}
    files.append(path, json.dumps(line, separators=(",", ":")) + "\n")


def read(content: bytes) -> dict[str, Epochs]:
    """Return what a file holds, by run; a line that is torn or damaged is left out."""
    found: dict[str, Epochs] = {}
    for line in content.splitlines():
        try:
            said = json.loads(line)
            names, values = tuple(said["metrics"]), said["epochs"]
            if all(len(row) == len(names) for row in values):
                found[said["run_id"]] = Epochs(names, values)
        except (ValueError, KeyError, TypeError):
            continue
    return found
