"""How likely more trials of a search beat its best score, from the scores that it has.

The trials to come are taken to be like those there are: exchangeable draws from one
distribution. Then the share `U` of the distribution that lies above the best of `n` draws has
the Beta distribution `(1, n)`, whatever the distribution is: `m` more draws beat the best of
`n` with probability `m / (n + m)`. The share that lies above the best by more than a gain `d`
depends on the upper tail, which is taken to be exponential: `U * exp(-d / s)`. Its scale `s` is
the mean of the first `k` normalised spacings `i * (y[i] - y[i + 1])` of the sorted scores,
which are independent draws from an exponential distribution of that scale (Renyi, "On the
theory of order statistics", Acta Mathematica Hungarica 1953; Weissman, "Estimation of
parameters and large quantiles based on the k largest observations", JASA 1978). As `k` spacings
leave `s` uncertain, the mean of `exp(-d / s)` over what they leave open is taken, which is
`(1 + d / (k * s)) ** -k`. So one of `m` more trials is better by more than `d` with probability

    E[1 - (1 - U * (1 + d / (k * s)) ** -k) ** m].

The later trials of an oracle that learns are better than its earlier ones. So the later half
alone counts as draws, and `d` is measured from the best of these. `docs/measurements.md`
compares the estimate with what happened in studies that were given more trials.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MIN_SCORES = 5
"""Fewest scores that say anything of the trials to come."""

_TAIL = 0.3
"""Share of the scores that is taken to be the upper tail."""

_QUANTILES = 1000
"""Points at which the distribution of `U` is evaluated."""


def chance_of_gain(
    scores: Sequence[float], num_more: int, gain: float, learns: bool = False
) -> float:
    """Return the probability that more trials beat the best score by more than a gain.

    Args:
        scores: Scores of a search in the order in which its trials ended, at least
            `MIN_SCORES`; larger is better.
        num_more: Number of trials to come, at least 1.
        gain: How much better than the best score one of them must be, at least 0.
        learns: Whether the trials to come depend on the scores so far.

    Returns:
        A probability in `[0, 1]`.

    Raises:
        ValueError: If there are too few scores.
    """
    if len(scores) < MIN_SCORES:
        raise ValueError(f"`scores` must be at least {MIN_SCORES}, but are {len(scores)}.")
    drawn = scores[len(scores) // 2 :] if learns else scores
    best_first = np.sort(np.asarray(drawn, dtype=np.float64))[::-1]
    share = _share_beyond(best_first, max(scores) + gain - best_first[0])
    # The quantiles of Beta(1, n), whose distribution function is 1 - (1 - u)^n.
    probabilities = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    above = 1 - (1 - probabilities) ** (1 / len(best_first))
    return float(np.mean(1 - (1 - above * share) ** num_more))


def _share_beyond(best_first: npt.NDArray[np.float64], distance: float) -> float:
    """Estimate which share of what lies above the best score lies further up.

    Args:
        best_first: The scores, at least 2, in descending order.
        distance: How much further, at least 0.
    """
    if distance <= 0:
        return 1.0
    num = min(max(math.ceil(_TAIL * len(best_first)), 2), len(best_first) - 1)
    ranks = np.arange(1, num + 1)
    scale = float(np.mean(ranks * (best_first[:num] - best_first[1 : num + 1])))
    # Without any spread among the best, nothing suggests that there is more.
    return (1 + distance / (num * scale)) ** -num if scale > 0 else 0.0
