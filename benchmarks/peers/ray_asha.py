"""Ray Tune's ASHA with Keras and MLflow: one actor per core.

It follows Ray's pages "Getting Started with Ray Tune", "Tune Trial Schedulers" and "Using
MLflow with Tune".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from benchmarks.job import SearchJob, load_splits
from benchmarks.peers import tracked
from benchmarks.peers.ray_mlflow import cluster

REDUCTION_FACTOR = 3


def trainable(
    config: dict[str, Any],
    job: SearchJob,
    splits: dict[str, Any],
    store: str,
    parent_run_id: str,
) -> None:
    """Run one trial, in an actor that then runs another one."""

    def report(_: int, accuracy: float) -> None:
        tune.report({"val_accuracy": accuracy})

    tracked.use_store(store)
    tracked.run_watched_trial(job, config, splits, parent_run_id, report)


def domain(limits: Mapping[str, Any]) -> Any:
    """Return the values of one hyperparameter in Ray's terms."""
    low, high = limits["min"], limits["max"]
    if "step" in limits:
        return tune.qrandint(low, high, limits["step"])
    return tune.loguniform(low, high) if limits.get("log") else tune.uniform(low, high)


def search(job: SearchJob) -> None:
    """Run trials on the cluster until somebody stops it."""
    store = tracked.open_store()
    with mlflow.start_run(run_name="search") as run:
        # The images are put into Ray's object store once.
        prepared = tune.with_parameters(
            trainable,
            job=job,
            splits=load_splits(job.splits),
            store=store,
            parent_run_id=run.info.run_id,
        )
        tune_config = tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            search_alg=BasicVariantGenerator(random_state=job.seed),
            scheduler=ASHAScheduler(
                max_t=job.max_epochs, grace_period=1, reduction_factor=REDUCTION_FACTOR
            ),
            num_samples=job.max_trials,
            max_concurrent_trials=job.workers,
            reuse_actors=True,
        )
        tuner = tune.Tuner(
            prepared,
            param_space={name: domain(limits) for name, limits in job.space.items()},
            tune_config=tune_config,
            run_config=tune.RunConfig(storage_path=str(Path.cwd())),
        )
        tuner.fit()


def main() -> None:
    """Search the job's space."""
    job = SearchJob.from_command_line()
    with cluster(job.workers):
        search(job)


if __name__ == "__main__":
    main()
