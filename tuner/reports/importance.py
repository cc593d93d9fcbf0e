"""How much each hyperparameter matters: permutation importance of a random forest.

Breiman, "Random forests", Machine Learning 45, 2001. A forest learns to predict a trial's
result from its values; then one hyperparameter's values are shuffled among the trials. How much
worse the forest's predictions become is the importance of that hyperparameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.reports.records import StudyRecord
from tuner.reports.scales import categories, key_of, numbers_of

MIN_TRIALS = 20
"""Fewest trials that say enough about several hyperparameters at once."""

MAX_TRIALS = 2000
"""Number of trials that are used: with more, the forest takes minutes for the same result."""

_SEED = 0


@dataclass(frozen=True)
class Importance:
    """The importance of a study's hyperparameters, by a random forest.

    Attributes:
        names: The hyperparameters that differ, the most important first.
        shares: Share of each in the total loss of accuracy by shuffling; they sum to 1.
        spreads: Standard deviation of these shares over the shuffles.
        explained: Share of the variance that is explained for trials that a tree has not seen
            (R²).
    """

    names: Sequence[str]
    shares: Sequence[float]
    spreads: Sequence[float]
    explained: float


def find_importance(study: StudyRecord) -> Importance | str:
    """Find how much each hyperparameter matters, or say why that is unknown.

    Args:
        study: A study with at least one finished trial.
    """
    num_trials = len(study.finished)
    if num_trials < MIN_TRIALS:
        return (
            f"This needs at least {MIN_TRIALS} finished trials; finished so far: {num_trials}."
        )
    if not study.varied:
        return "All trials have the same values."
    scores = np.array([study.score(trial) for trial in study.finished])
    if not np.ptp(scores):
        return "All trials have the same score."
    columns = [_numbers(study, name) for name in study.varied]
    values = np.stack(columns, axis=1)
    if num_trials > MAX_TRIALS:
        chosen = np.random.default_rng(_SEED).permutation(num_trials)[:MAX_TRIALS]
        values, scores = values[chosen], scores[chosen]
    # Not imported at the top: it takes a second and a half, and small studies do not need it.
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    forest = RandomForestRegressor(100, min_samples_leaf=2, oob_score=True, random_state=_SEED)
    forest.fit(values, scores)
    explained = float(forest.oob_score_)
    if explained <= 0:
        return (
            "The differences between the trials cannot be explained by their values: a random "
            "forest trained on some of them predicts the others no better than their mean."
        )
    found: Any = permutation_importance(forest, values, scores, n_repeats=5, random_state=_SEED)
    drops = found.importances_mean.clip(0)
    order, total = np.argsort(-drops, kind="stable"), drops.sum()
    return Importance(
        names=[study.varied[i] for i in order],
        shares=[float(drops[i] / total) for i in order],
        spreads=[float(found.importances_std[i] / total) for i in order],
        explained=explained,
    )


def _numbers(study: StudyRecord, name: str) -> npt.NDArray[np.float64]:
    """Return a hyperparameter of every trial as a number; trials without it get the lowest.

    A tree only asks whether one value lies above another, so scales do not matter.
    """
    has_it = np.array([name in trial.values for trial in study.finished])
    present = [trial.values[name] for trial in study.finished if name in trial.values]
    numbers = numbers_of(present)
    if numbers is None:
        order = list(categories(present))
        numbers = [float(order.index(key_of(value))) for value in present]
    column = np.full(len(has_it), min(numbers) - 1)
    column[has_it] = numbers
    return column
