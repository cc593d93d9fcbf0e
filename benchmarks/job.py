"""The input and output of one run of a row: plain files in its own folder.

A peer is started as `python -m benchmarks.peers.<peer> job.json` in an empty folder.
"""

import dataclasses
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SCORES = "scores.json"

Values = Mapping[str, int]
"""`epochs`, `units_1` and `units_2` of one trial."""


@dataclass(frozen=True)
class Job:
    """One run of a row.

    Attributes:
        images: The `.npz` file that Glassy itself reads.
        name: Name of the data.
        splits: The same images as another `.npz` file, with the validation images split off as
            Glassy does with this seed.
        validation_split: Share of the training images used for validation.
        space: The options of each hyperparameter; the trials are all combinations of them.
        batch_size: Images per training step.
        seed: Seed of everything random.
        workers: Number of trials that may run at a time.
    """

    images: str
    name: str
    splits: str
    validation_split: float
    space: Mapping[str, Sequence[int]]
    batch_size: int
    seed: int
    workers: int

    def trials(self) -> list[Values]:
        """Return the values of all trials."""
        return [
            dict(zip(self.space, options, strict=True))
            for options in itertools.product(*self.space.values())
        ]

    def write(self, path: Path) -> None:
        """Write the job to the file that `read_job` reads."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")


def read_job() -> Job:
    """Return the job whose file is the first argument on the command line."""
    return Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def load_splits(path: str) -> dict[str, Any]:
    """Return the arrays `<split>_images`, uint8, and `<split>_labels`, int64, by name.

    Args:
        path: The job's `splits`; the splits are train, validation and test.
    """
    with np.load(path) as archive:
        return dict(archive)


def write_scores(scores: Sequence[tuple[Values, float]]) -> None:
    """Write the scores of a row that has no tracking store.

    Args:
        scores: The values of each trial, and its validation accuracy after the last epoch.
    """
    Path(SCORES).write_text(json.dumps(scores), encoding="utf-8")
