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
from typing import Any, Self

import numpy as np

SCORES = "scores.json"

RESULTS = "results.jsonl"
"""Where a search without a tracking store appends `[time.time(), accuracy]` of each result."""

SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""What the splits are called in an `.npz` file that Glassy reads: `x_<name>`, `y_<name>`."""

Values = Mapping[str, int]
"""`epochs`, `units_1` and `units_2` of one trial."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every program that trains is given.

    Attributes:
        name: Name of the data.
        splits: An `.npz` file of the images, with the validation images split off as Glassy
            does; `images.write_splits` writes it.
        batch_size: Images per training step.
        seed: Seed of everything random.
        workers: Number of trials that may run at a time.
    """

    name: str
    splits: str
    batch_size: int
    seed: int
    workers: int

    def write(self, path: Path) -> None:
        """Write it to the file that `from_command_line` reads."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def from_command_line(cls) -> Self:
        """Read the file that is the first argument on the command line."""
        return cls(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


@dataclass(frozen=True, kw_only=True)
class Job(Task):
    """One run of a row: a grid search.

    Attributes:
        images: The `.npz` file that Glassy itself reads.
        validation_split: Share of the training images used for validation.
        space: The options of each hyperparameter; the trials are all combinations of them.
    """

    images: str
    validation_split: float
    space: Mapping[str, Sequence[int]]

    def trials(self) -> list[Values]:
        """Return the values of all trials."""
        return [
            dict(zip(self.space, options, strict=True))
            for options in itertools.product(*self.space.values())
        ]


@dataclass(frozen=True, kw_only=True)
class SearchJob(Task):
    """One run of a search that is stopped once it is good enough.

    Attributes:
        space: The range of each hyperparameter but `epochs`: `min` and `max`, both included,
            and `step` or `log`. Whole numbers have a step.
        max_epochs: The most epochs of a trial.
        max_trials: Number of trials after which the search ends, if nothing ends it before.
    """

    space: Mapping[str, Mapping[str, Any]]
    max_epochs: int
    max_trials: int


def load_splits(path: str) -> dict[str, Any]:
    """Return the arrays `<split>_images`, uint8, and `<split>_labels`, int64, by name.

    Args:
        path: The job's `splits`; the splits are train, validation and test.
    """
    with np.load(path) as archive:
        return {
            f"{split}_{what}": archive[f"{letter}_{short}"]
            for split, short in SPLITS.items()
            for what, letter in (("images", "x"), ("labels", "y"))
        }


def write_scores(scores: Sequence[tuple[Values, float]]) -> None:
    """Write the scores of a row that has no tracking store.

    Args:
        scores: The values of each trial, and its validation accuracy after the last epoch.
    """
    Path(SCORES).write_text(json.dumps(scores), encoding="utf-8")
