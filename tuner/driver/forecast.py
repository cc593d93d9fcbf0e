"""How long the rest of a study takes: from the epochs and sizes still to come.

A trial's time is modelled as `a + epochs * (b + c * size + d / batch_size)`, where `epochs` are
those it trains itself and `size` is the number of weights between dense layers. `a`, for
building, compiling, evaluating and recording, is the mean time that trials took outside their
epochs. The other coefficients, at least 0, are fitted to the time of their epochs by
non-negative least squares. The trials still to come are known for a grid and for Hyperband; for
an oracle that proposes as it goes, they are taken to be the space's average.
"""

import functools
import math
import random
from collections import deque
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from tuner.config.space import Space
from tuner.trial import Values, is_number, whole

_SAMPLES = 2000

_NUM_FEATURES = 4
"""The factors of the coefficients `a`, `b`, `c` and `d`."""

_REMEMBERED = 200
"""A prediction is fitted to this many of the latest trials, so that its cost does not grow."""


class Forecast:
    """Predicts the seconds that a study still needs.

    Args:
        space: The space that is searched.
        num_trials: Trials of the whole search, or None if that is unknown.
        rounds: The rungs if the oracle sets the epochs, see `Oracle.rounds`; otherwise None.
        is_exhaustive: Whether every point of the space will be tried, so that a point once
            tried will not come again.
        shares: Whether a trial resumes where another one, whose values differ only in their
            epochs, has ended.
        num_repeats: Trainings of each trial, unless it ends before the last.
    """

    def __init__(
        self,
        space: Space,
        num_trials: int | None,
        rounds: Sequence[tuple[int, int]] | None,
        is_exhaustive: bool,
        shares: bool,
        num_repeats: int = 1,
    ) -> None:
        self._space = space
        self._num_repeats = num_repeats
        self._num_trials = num_trials
        self._rounds = rounds
        self._is_exhaustive = is_exhaustive
        self._shares = shares
        self._seen: deque[tuple[npt.NDArray[np.float64], float, float]] = deque(
            maxlen=_REMEMBERED
        )
        self._coefficients: npt.NDArray[np.float64] | None = None
        self._started = np.zeros(_NUM_FEATURES)
        self._num_started = 0
        self._longest: dict[Hashable, int] = {}

    def start(self, values: Values, rung: int | None = None, is_resumed: bool = False) -> int:
        """Take note of a trial that starts, and return how many epochs it will train.

        Args:
            values: The trial's values.
            rung: Epochs after which it is paused; None if it trains all that its values say.
            is_resumed: Whether it was paused before.

        Returns:
            Its epochs, without those that it or another trial has trained before.
        """
        epochs = new = rung or whole(values.get("epochs", 1))
        if self._shares or self._rounds is not None:
            curve = frozenset((k, str(v)) for k, v in values.items() if k != "epochs")
            longest = self._longest.get(curve, 0)
            new = max(epochs - longest, 0)
            self._longest[curve] = max(epochs, longest)
        new *= self._num_repeats
        self._started += _features(values, new)
        self._num_started += not is_resumed
        return new

    def learn(
        self, values: Values, epochs: int, train_seconds: float, other_seconds: float
    ) -> None:
        """Take note of how long a trial took.

        Args:
            values: The trial's values.
            epochs: Number of epochs that it trained itself.
            train_seconds: Time those epochs took.
            other_seconds: Time the rest of the trial took.
        """
        self._seen.append((_features(values, epochs), train_seconds, other_seconds))
        self._coefficients = None

    def trial_seconds(self, values: Values, epochs: int) -> float | None:
        """Predict the seconds of one trial with `epochs` new epochs; None without data."""
        return self._predict(_features(values, epochs))

    def seconds_to_come(self) -> float | None:
        """Predict the seconds of all trials not started yet, in sequence; None if unknown."""
        if self._num_trials is None:
            return None
        remaining = self._num_trials - self._num_started
        if remaining <= 0:
            return 0.0
        if not self._seen:
            return None
        to_come = self._mean * remaining
        if self._is_exhaustive:
            to_come = np.maximum(self._mean * self._num_trials - self._started, 0)
            to_come[0] = remaining
        return self._predict(to_come)

    @functools.cached_property
    def _mean(self) -> npt.NDArray[np.float64]:
        """Features of an average trial; drawing so many takes 0.2 s when nobody waits."""
        drawn = random.Random(0)
        mean_epochs = None
        if self._rounds is not None:
            mean_epochs = _mean_of_rounds(self._rounds)
        elif self._is_exhaustive and self._shares:
            # The longest trial trains all epochs that the shorter ones reuse.
            options = self._space.dimensions["epochs"].options or ()
            mean_epochs = max(map(whole, options)) / len(options)
        points = [self._space.sample(drawn) for _ in range(_SAMPLES)]
        # A grid has more points with many layers than with few; an oracle draws the number of
        # layers evenly. So it is with whatever else has conditions.
        weights = [_num_alike(self._space, p) if self._is_exhaustive else 1 for p in points]
        features = [
            _features(p, self._num_repeats * (mean_epochs or whole(p["epochs"])))
            for p in points
        ]
        mean: npt.NDArray[np.float64] = np.average(features, axis=0, weights=weights)
        return mean

    def _predict(self, features: npt.NDArray[np.float64]) -> float | None:
        if not self._seen:
            return None
        if self._coefficients is None:
            self._coefficients = self._fit()
        return float(features @ self._coefficients)

    def _fit(self) -> npt.NDArray[np.float64]:
        coefficients = np.zeros(_NUM_FEATURES)
        coefficients[0] = np.mean([other for *_, other in self._seen])
        # Rows are divided by the time measured, so that a short trial counts as much as a long
        # one, and columns are scaled to one size. While the data cannot separate the columns,
        # only epochs count.
        rows = [
            features[1:] / max(seconds, 1e-3)
            for features, seconds, _ in self._seen
            if features[1]
        ]
        if rows:
            # Not before the workers start: it takes 0.4 s if nothing else has imported SciPy.
            from scipy.optimize import nnls

            scale = np.maximum(np.max(rows, axis=0), 1e-12)
            coefficients[1:] = nnls(np.array(rows) / scale, np.ones(len(rows)))[0] / scale
        return coefficients


def _mean_of_rounds(rounds: Sequence[tuple[int, int]]) -> float:
    """Return the epochs that an average trial trains where trials are paused at rungs.

    A rung with more epochs than the one before holds the best trials of that one: a bracket
    ends with its largest number of epochs.
    """
    total = num_trials = before = 0
    for size, epochs in rounds:
        is_resumed = epochs > before
        total += size * (epochs - before if is_resumed else epochs)
        num_trials += 0 if is_resumed and before else size
        before = epochs
    return total / num_trials


def _features(values: Values, epochs: float) -> npt.NDArray[np.float64]:
    widths = [float(v) for n, v in values.items() if n.startswith("units") and is_number(v)]
    size = sum(a * b for a, b in zip([64.0, *widths], [*widths, 10.0], strict=True))
    num_steps = 1 / whole(values.get("batch_size", 1))
    return np.array([1.0, epochs, epochs * size, epochs * num_steps])


def _num_alike(space: Space, values: Values) -> int:
    """Count the points that differ from this one only in what not every trial has."""
    options = {name: dimension.options or () for name, dimension in space.expanded()}
    conditions = space.conditions()
    return math.prod(len(options[n]) or 1 for n in values if conditions.get(n))
