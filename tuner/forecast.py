"""How long the rest of a study takes: from the epochs and sizes still to come.

A trial's time is taken to be `a + epochs * (b + c * size + d / batch_size)`, with coefficients
of at least 0 fitted to the trials so far by non-negative least squares; `size` is the number of
weights between dense layers. What is still to come is known for a grid and for Hyperband, and
is the space's average for an oracle that makes it up as it goes.
"""

import math
import random
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from tuner.dimensions import Choice, Dimension, Fixed, Range
from tuner.space import Space
from tuner.trial import Value, Values

_SAMPLES = 2000

_REMEMBERED = 200
"""Trials that a prediction is fitted to, the latest, so that its cost does not grow."""


class Forecast:
    """Predicts the seconds that a study still needs.

    Args:
        space: What is searched.
        num_trials: Trials of the whole search, or None where nobody knows.
        mean_epochs: Epochs of an average trial where the oracle sets them, else None.
        is_exhaustive: Whether every point of the space will be tried, so that what has been is
            no longer to come.
    """

    def __init__(
        self,
        space: Space,
        num_trials: int | None,
        mean_epochs: float | None,
        is_exhaustive: bool,
    ) -> None:
        self._num_trials = num_trials
        self._is_exhaustive = is_exhaustive
        drawn = random.Random(0)
        points = [_sample(space, drawn, mean_epochs) for _ in range(_SAMPLES)]
        # A grid has more points of many layers than of few; an oracle draws the number evenly.
        weights = [_num_widths(space, point) if is_exhaustive else 1 for point in points]
        self._mean = np.average([_features(p) for p in points], axis=0, weights=weights)
        self._seen: deque[tuple[npt.NDArray[np.float64], float]] = deque(maxlen=_REMEMBERED)
        self._coefficients: npt.NDArray[np.float64] | None = None
        self._started = np.zeros_like(self._mean)
        self._num_started = 0

    def start(self, values: Values) -> None:
        """Take note of a trial that is no longer to come."""
        self._started += _features(values)
        self._num_started += 1

    def learn(self, values: Values, seconds: float) -> None:
        """Take note of how long a trial took, from its start to its record."""
        self._seen.append((_features(values), seconds))
        self._coefficients = None

    def trial_seconds(self, values: Values) -> float | None:
        """Predict one trial, or return None while nothing is known."""
        return self._predict(_features(values))

    def seconds_to_come(self) -> float | None:
        """Predict all trials not started yet, one after another; None if nothing is known."""
        if self._num_trials is None:
            return None
        remaining = self._num_trials - self._num_started
        if remaining <= 0:
            return 0.0
        to_come = self._mean * remaining
        if self._is_exhaustive:
            to_come = np.maximum(self._mean * self._num_trials - self._started, 0)
            to_come[0] = remaining
        return self._predict(to_come)

    def _predict(self, features: npt.NDArray[np.float64]) -> float | None:
        if not self._seen:
            return None
        if self._coefficients is None:
            self._coefficients = self._fit()
        return float(features @ self._coefficients)

    def _fit(self) -> npt.NDArray[np.float64]:
        # Divided by what was seen, so that a short trial counts as much as a long one, and the
        # columns come to one size.
        rows = np.array([features / max(seconds, 1e-3) for features, seconds in self._seen])
        scale = np.maximum(rows.max(axis=0), 1e-12)
        coefficients: npt.NDArray[np.float64] = nnls(rows / scale, np.ones(len(rows)))[0]
        coefficients /= scale
        return coefficients


def _features(values: Values) -> npt.NDArray[np.float64]:
    epochs = float(values.get("epochs", 1))
    widths = [float(v) for n, v in values.items() if n.startswith("units") and _is_number(v)]
    size = sum(a * b for a, b in zip([64.0, *widths], [*widths, 10.0], strict=True))
    num_steps = 1 / float(values.get("batch_size", 1))
    return np.array([1.0, epochs, epochs * size, epochs * num_steps])


def _sample(space: Space, drawn: random.Random, epochs: float | None) -> dict[str, Any]:
    """Draw a point of the space, every hyperparameter by itself."""
    values: dict[str, Any] = space.complete(
        {name: _draw(dimension, drawn) for name, dimension in space.expanded()}
    )
    return values if epochs is None else {**values, "epochs": epochs}


def _num_widths(space: Space, values: Values) -> int:
    """Count the points that differ from this one in the widths of its layers alone."""
    options = {name: dimension.options or () for name, dimension in space.expanded()}
    return math.prod(len(options[n]) or 1 for n in values if n.startswith("units"))


def _draw(dimension: Dimension, drawn: random.Random) -> Value:
    if isinstance(dimension, Fixed):
        return dimension.value
    if isinstance(dimension, Choice):
        return drawn.choice(dimension.options)
    return _draw_range(dimension, drawn)


def _draw_range(dimension: Range, drawn: random.Random) -> Value:
    if dimension.log:
        value = math.exp(drawn.uniform(math.log(dimension.min), math.log(dimension.max)))
        return round(value) if dimension.is_integer else value
    options = dimension.options
    return (
        drawn.uniform(dimension.min, dimension.max)
        if options is None
        else drawn.choice(options)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
