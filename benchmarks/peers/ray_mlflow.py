"""Ray Tune with Keras and MLflow: one actor per core.

It follows Ray's pages "Getting Started with Ray Tune" and "Using MLflow with Tune".
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import ray
from ray import tune

from benchmarks.job import Job, load_splits
from benchmarks.peers import tracked


def trainable(
    config: dict[str, int], job: Job, splits: dict[str, Any], store: str, parent_run_id: str
) -> None:
    """Run one trial, in an actor that then runs another one."""
    tracked.use_store(store)
    accuracy = tracked.run_trial(job, config, splits, parent_run_id)
    tune.report({"val_accuracy": accuracy})


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[None]:
    """Start Ray on this machine, with a core for each worker."""
    with (
        # Not in the run's folder: a socket's path must be short.
        tempfile.TemporaryDirectory(prefix="ray-") as session_dir,
        # A separate cluster that only this machine can reach.
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=session_dir,
        ),
    ):
        yield


def main() -> None:
    """Search the job's space."""
    job = Job.from_command_line()
    with cluster(job.workers):
        search(job)


def search(job: Job) -> None:
    """Run all trials on the cluster."""
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
        space = {name: tune.grid_search(options) for name, options in job.space.items()}
        tune_config = tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            max_concurrent_trials=job.workers,
            reuse_actors=True,
        )
        run_config = tune.RunConfig(storage_path=str(Path.cwd()))
        tuner = tune.Tuner(
            prepared, param_space=space, tune_config=tune_config, run_config=run_config
        )
        tuner.fit()


if __name__ == "__main__":
    main()
