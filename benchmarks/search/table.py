"""Tables of recorded learning curves: what each point of a space scored, seed by seed."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.config.space import Space
from tuner.simulation import Evaluate
from tuner.trial import Value, Values

FOLDER = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Table:
    """Every point of a space, trained with several seeds.

    Attributes:
        name: Its file's name.
        model: Dotted name of the model function.
        space: The space, as a configuration has it, without `epochs`.
        points: Every point of the space, without `epochs`.
        right: How many validation images were right after each epoch, uint16, shape
            `(points, seeds, epochs)`.
        num_validation: Number of validation images.
        seconds: CPU seconds of an epoch of each point, with its validation; float32, shape
            `(points,)`.
        facts: What it was made with, for people.
    """

    name: str
    model: str
    space: Mapping[str, Any]
    points: list[Values]
    right: npt.NDArray[np.uint16]
    num_validation: int
    seconds: npt.NDArray[np.float32]
    facts: str

    @property
    def accuracy(self) -> npt.NDArray[np.float64]:
        """Validation accuracies in [0, 1], shape `(points, seeds, epochs)`."""
        return self.right / self.num_validation

    def parsed(self) -> Space:
        """Return the space that a search without `epochs` has."""
        return Space.parse(self.space, self.model)

    @functools.cached_property
    def options(self) -> dict[str, Sequence[Value]]:
        """What each hyperparameter that is searched may be."""
        searched = self.parsed().searched
        expanded = dict(self.parsed().expanded())
        return {name: expanded[name].options or () for name in expanded if name in searched}

    def place(self, values: Values) -> int:
        """Return where a point is, by the hyperparameters that are searched."""
        return self._places[tuple(values[name] for name in self.options)]

    def evaluate(self, seed: int) -> Evaluate:
        """Return the function that a search with this seed sees; see `seen`."""
        accuracy, options = self.accuracy, list(self.options)

        def look_up(values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
            place = self._places[tuple(values[name] for name in options)]
            trained = (self.seen(seed) + repeat) % accuracy.shape[1]
            score = float(accuracy[place, trained, epoch - 1])
            return {"val_accuracy": score, "seconds": float(self.seconds[place])}

        return look_up

    def seen(self, seed: int) -> int:
        """Return which training of each point a search with this seed sees."""
        num_seeds: int = self.right.shape[1]
        return seed % num_seeds

    def regrets(self, seed: int) -> npt.NDArray[np.float64]:
        """Return the true regret of each point, judged by the trainings that are not seen.

        0 is the point with the best mean after the last epoch, 1 the median of these means.
        """
        means = np.delete(self.accuracy[:, :, -1], self.seen(seed), axis=1).mean(axis=1)
        regrets: npt.NDArray[np.float64] = (means.max() - means) / (
            means.max() - np.median(means)
        )
        return regrets

    @functools.cached_property
    def _places(self) -> dict[tuple[Value, ...], int]:
        names = list(self.options)
        return {tuple(point[n] for n in names): i for i, point in enumerate(self.points)}

    def save(self, folder: Path = FOLDER) -> Path:
        """Write the table, compressed, and return its path."""
        path = folder / f"{self.name}.npz"
        about = {
            "model": self.model,
            "space": self.space,
            "points": self.points,
            "num_validation": self.num_validation,
            "facts": self.facts,
        }
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez_compressed(path, about=text, right=self.right, seconds=self.seconds)
        return path


def load(name: str, folder: Path = FOLDER) -> Table:
    """Read a table.

    Args:
        name: Its name, such as `mlp_digits`.
        folder: The folder that holds it.
    """
    with np.load(folder / f"{name}.npz") as arrays:
        about = json.loads(arrays["about"].tobytes())
        return Table(name=name, right=arrays["right"], seconds=arrays["seconds"], **about)
