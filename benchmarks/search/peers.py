"""Optuna's own samplers on the tables, called as its documentation teaches."""

import heapq
import itertools
import warnings
from collections.abc import Callable, Mapping

import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from benchmarks.search.problems import Problem
from tuner.trial import Value

SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "Optuna random": lambda seed: RandomSampler(seed=seed),
    "Optuna TPE": lambda seed: TPESampler(seed=seed),
    "Optuna CMA-ES": lambda seed: CmaEsSampler(seed=seed),
    "Optuna QMC": lambda seed: QMCSampler(seed=seed),
}
"""Each as it comes, but for its seed."""


def search(
    make_sampler: Callable[[int], BaseSampler],
    problem: Problem,
    seed: int,
    num_trials: int,
    workers: int,
) -> tuple[dict[str, Value], float]:
    """Search a table with several simulated workers.

    Args:
        make_sampler: Makes the sampler from its seed.
        problem: The table.
        seed: Seed of the sampler, and of what it sees of the table.
        num_trials: Trainings that it may spend.
        workers: How many of them run at a time.

    Returns:
        The point that it recommends, and the score that it saw of that.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            sampler=make_sampler(seed),
            direction="minimize" if problem.direction == "min" else "maximize",
        )
        evaluate, order = problem.evaluate(seed), itertools.count()
        running: list[tuple[float, int, optuna.Trial, float]] = []
        now, num_begun = 0.0, 0
        points: dict[int, dict[str, Value]] = {}
        while num_begun < num_trials or running:
            while num_begun < num_trials and len(running) < workers:
                trial = study.ask()
                num_begun += 1
                values = points[trial.number] = _suggested(trial, problem)
                seen = evaluate(values, 1, 0)
                end = now + seen["seconds"]
                heapq.heappush(running, (end, next(order), trial, seen[problem.objective]))
            now, _, trial, score = heapq.heappop(running)
            study.tell(trial, score)
    best = study.best_trial
    return points[best.number], float(best.value)


def _suggested(trial: optuna.Trial, problem: Problem) -> dict[str, Value]:
    """Ask for a point of `Problem.space`."""
    return {
        name: trial.suggest_categorical(name, given)
        if isinstance(given, list)
        else trial.suggest_int(name, given["min"], given["max"])
        for name, given in problem.space.items()
    }
