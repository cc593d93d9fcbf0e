"""Optuna's TPE with a pruner, Keras and MLflow: one process per core, all on one study.

It follows Optuna's tutorials "Easy Parallelization" and "Efficient Optimization Algorithms".
The pruner is Hyperband's, which the second recommends for TPE; with `--median`, the default.
"""

import sys
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.pruners import HyperbandPruner, MedianPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.job import SearchJob, load_splits
from benchmarks.peers import tracked
from benchmarks.peers.optuna_mlflow import in_processes

REDUCTION_FACTOR = 3


def open_study(job: SearchJob, is_median: bool) -> optuna.Study:
    """Make the study that all processes share, or open it."""
    return optuna.create_study(
        study_name="benchmark",
        storage=JournalStorage(JournalFileBackend("journal.log")),
        # Without a seed: with the same one, both processes would begin with the same points.
        sampler=optuna.samplers.TPESampler(),
        pruner=MedianPruner()
        if is_median
        else HyperbandPruner(1, job.max_epochs, REDUCTION_FACTOR),
        direction="maximize",
        load_if_exists=True,
    )


def optimize(job: SearchJob, is_median: bool, store: str, parent_run_id: str) -> None:
    """Run trials in one process."""
    tracked.use_store(store)
    splits = load_splits(job.splits)

    def objective(trial: Any) -> float:
        def report(epoch: int, accuracy: float) -> None:
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        values = {name: suggest(trial, name, limits) for name, limits in job.space.items()}
        return tracked.run_watched_trial(job, values, splits, parent_run_id, report)

    open_study(job, is_median).optimize(objective, n_trials=job.max_trials)


def suggest(trial: Any, name: str, limits: Mapping[str, Any]) -> int | float:
    """Ask for the value of one hyperparameter."""
    low, high = limits["min"], limits["max"]
    value: int | float = (
        trial.suggest_int(name, low, high, step=limits["step"])
        if "step" in limits
        else trial.suggest_float(name, low, high, log=limits.get("log", False))
    )
    return value


def main() -> None:
    """Search the job's space until somebody stops it."""
    job, is_median = SearchJob.from_command_line(), "--median" in sys.argv
    open_study(job, is_median)
    in_processes(optimize, job, is_median, workers=job.workers)


if __name__ == "__main__":
    main()
