"""A search over the finitely many points of a table, whatever space it was made for."""

import math
import random
from collections.abc import Sequence

from tuner.config.hyperparameters import Choice, Dimension, Range, is_same
from tuner.config.space import Space
from tuner.oracles.oracle import Oracle
from tuner.trial import Proposal, Value, Values, is_number, number


class NearestOracle(Oracle):
    """Proposes, for each proposal of another oracle, the nearest point that is left.

    The other oracle is told the truth: of the point that was tried, what came of it, and of the
    point that it had proposed, unless it is the same, that nobody knows. Its model is that of
    the recorded points, and no score is ascribed to a place where nothing was measured.

    Args:
        inner: The oracle that proposes; it does not set the epochs.
        points: The points of the table, whole; each is proposed once.
    """

    def __init__(self, inner: Oracle, points: Sequence[Values]) -> None:
        super().__init__(inner.search, inner.space, inner.objective, inner.seed)
        self._inner = inner
        self._left = list(points)
        self._tried: dict[str, tuple[Values, Values]] = {}

    def propose(self, trial_id: str) -> Proposal | None:
        """See `Oracle.propose`."""
        if not self._left:
            return None
        proposal = self._inner.propose(trial_id)
        if proposal is None:
            return None
        near = min(self._left, key=lambda point: distance(self.space, proposal.values, point))
        self._left.remove(near)
        self._tried[trial_id] = proposal.values, near
        return Proposal(trial_id, near, proposal.tags)

    def observe(self, trial_id: str, score: float | None) -> None:
        """See `Oracle.observe`."""
        proposed, tried = self._tried[trial_id]
        if proposed == tried:
            self._inner.observe(trial_id, score)
            return
        self._inner.observe(trial_id, None)
        if score is not None:
            self._inner.adopt(tried, score)


class ShuffledOracle(Oracle):
    """Proposes the points of a table in random order, each as likely as any other.

    The point nearest to a random one would not do: it is often one that stands alone.

    Args:
        inner: The oracle in whose place it is.
        points: The points of the table, whole; each is proposed once.
    """

    def __init__(self, inner: Oracle, points: Sequence[Values]) -> None:
        super().__init__(inner.search, inner.space, inner.objective, inner.seed)
        self._left = list(points)
        random.Random(inner.seed).shuffle(self._left)

    def propose(self, trial_id: str) -> Proposal | None:
        """See `Oracle.propose`."""
        return Proposal(trial_id, self._left.pop(), {}) if self._left else None

    def observe(self, trial_id: str, score: float | None) -> None:
        """See `Oracle.observe`."""


def distance(space: Space, one: Values, other: Values) -> float:
    """Return how far apart two points are: the sum of squares over the hyperparameters.

    A range has the length 1, by logarithms if it is logarithmic, and so has a choice of
    numbers, in which neighbours are equally far apart. Other options, and a hyperparameter that
    only one of the points has, are 1 apart or not at all.
    """
    return sum(
        _apart(dimension, one[name], other[name]) ** 2 if name in one and name in other else 1.0
        for name, dimension in space.expanded()
        if name in one or name in other
    )


def _apart(dimension: Dimension, one: Value, other: Value) -> float:
    match dimension:
        case Range(low, high, _, log):
            scale = math.log if log else float
            return (scale(number(one)) - scale(number(other))) / (scale(high) - scale(low))
        case Choice(options) if all(map(is_number, options)):
            places = sorted(map(number, options))
            steps = places.index(number(one)) - places.index(number(other))
            return steps / (len(places) - 1)
        case _:
            return float(not is_same(one, other))
