"""The Pareto front: the trials that no other one beats in all objectives."""

from collections.abc import Mapping

import numpy as np

from tuner.trial import Metrics, Objective


def pareto_front(trials: Mapping[str, Metrics], objective: Objective) -> list[str]:
    """Return the trials that no other one dominates.

    A trial dominates another if it is at least as good in every objective and better in one. So
    trials with equal values are either all on the front or not.

    Args:
        trials: Metrics by trial id.
        objective: The study's objectives.

    Returns:
        Their ids, in the order given. A trial that lacks an objective is not among them.
    """
    wanted = objective.all
    known = {i: m for i, m in trials.items() if all(one.name in m for one in wanted)}
    if not known:
        return []
    signs = np.array([1.0 if one.direction == "max" else -1.0 for one in wanted])
    places = signs * np.array([[m[one.name] for one in wanted] for m in known.values()])
    front = []
    for trial_id, place in zip(known, places, strict=True):
        is_beaten = (places >= place).all(axis=1) & (places > place).any(axis=1)
        if not is_beaten.any():
            front.append(trial_id)
    return front
