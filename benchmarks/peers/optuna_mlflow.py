"""Optuna with Keras and MLflow: one process per core, all on one study.

It follows Optuna's tutorial "Easy Parallelization", section "Multi-process Optimization".
"""

import multiprocessing
from collections.abc import Callable
from typing import Any

import mlflow
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState

from benchmarks.job import Job, load_splits
from benchmarks.peers import tracked


def open_study(job: Job) -> optuna.Study:
    """Make the study that all processes share, or open it."""
    return optuna.create_study(
        study_name="benchmark",
        storage=JournalStorage(JournalFileBackend("journal.log")),
        sampler=optuna.samplers.GridSampler(job.space),
        direction="maximize",
        load_if_exists=True,
    )


def optimize(job: Job, store: str, parent_run_id: str) -> None:
    """Run trials in one process until all points of the grid are taken."""
    import keras

    tracked.use_store(store)
    splits = load_splits(job.splits)

    def objective(trial: Any) -> float:
        # As in Optuna's own example for Keras: nothing from earlier trials is kept.
        keras.backend.clear_session()
        values = {
            name: trial.suggest_categorical(name, options)
            for name, options in job.space.items()
        }
        return tracked.run_trial(job, values, splits, parent_run_id)

    # Running trials count too, so that two processes never train one of the last points.
    enough = MaxTrialsCallback(len(job.trials()), (TrialState.COMPLETE, TrialState.RUNNING))
    open_study(job).optimize(objective, callbacks=[enough])


def in_processes(optimize: Callable[..., None], *given: Any, workers: int) -> None:
    """Call `optimize(*given, store, id of the search's run)` in a process for each worker."""
    store = tracked.open_store()
    context = multiprocessing.get_context("spawn")
    with mlflow.start_run(run_name="search") as search:
        arguments = (*given, store, search.info.run_id)
        processes = [context.Process(target=optimize, args=arguments) for _ in range(workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()


def main() -> None:
    """Search the job's space."""
    job = Job.from_command_line()
    open_study(job)
    in_processes(optimize, job, workers=job.workers)


if __name__ == "__main__":
    main()
