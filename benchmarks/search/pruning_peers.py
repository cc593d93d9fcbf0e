"""Optuna's TPE with its pruners, on tables of learning curves.

It is called as its documentation teaches. Workers are simulated: an epoch takes the seconds
that the table has for it, and of two events at one moment the earlier begun comes first.
"""

import heapq
import itertools
import warnings
from collections.abc import Callable, Mapping

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner

from benchmarks.search.table import Table
from benchmarks.search.trajectory import Step
from tuner.trial import Value

Peer = Callable[[Table, int, int, int], list[Step]]
"""Searches a table with a seed, at most so many trials, and so many workers."""


def _optuna(make_pruner: Callable[[int], BasePruner]) -> Peer:
    def search(table: Table, seed: int, num_trials: int, workers: int) -> list[Step]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        num_epochs = table.right.shape[2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                direction="maximize",
                sampler=optuna.samplers.TPESampler(seed=seed),
                pruner=make_pruner(num_epochs),
            )
        evaluate, order = table.evaluate(seed), itertools.count()
        events: list[tuple[float, int, optuna.Trial, int]] = []
        points: dict[int, dict[str, Value]] = {}
        steps, now, spent = [], 0.0, 0

        def begin() -> None:
            if len(points) == num_trials:
                return
            trial = study.ask()
            points[trial.number] = _suggested(trial, table)
            seconds = evaluate(points[trial.number], 1, 0)["seconds"]
            heapq.heappush(events, (now + seconds, next(order), trial, 1))

        for _ in range(workers):
            begin()
        while events:
            now, _, trial, epoch = heapq.heappop(events)
            seen = evaluate(points[trial.number], epoch, 0)
            trial.report(seen["val_accuracy"], epoch)
            if epoch < num_epochs and not trial.should_prune():
                heapq.heappush(events, (now + seen["seconds"], next(order), trial, epoch + 1))
                continue
            spent += epoch
            if epoch < num_epochs:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, seen["val_accuracy"])
            if study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
                best = points[study.best_trial.number]
                steps.append(Step(spent, table.place(best)))
            begin()
        return steps

    return search


def _suggested(trial: optuna.Trial, table: Table) -> dict[str, Value]:
    """Ask for a point: numbers by their places in the grid, as ordered; names as they are."""
    return {
        name: trial.suggest_categorical(name, options)
        if isinstance(options[0], str)
        else options[trial.suggest_int(f"{name}_index", 0, len(options) - 1)]
        for name, options in table.options.items()
    }


PEERS: Mapping[str, Peer] = {
    "Optuna TPE, Hyperband pruner": _optuna(
        lambda num_epochs: HyperbandPruner(min_resource=1, max_resource=num_epochs)
    ),
    "Optuna TPE, median pruner": _optuna(lambda _: MedianPruner()),
    "Optuna TPE": _optuna(lambda _: NopPruner()),
}
"""The searches of others. Keras Tuner's Hyperband is Glassy's `hyperband`: it is its oracle."""
