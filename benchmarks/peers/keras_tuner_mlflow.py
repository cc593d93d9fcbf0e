"""Keras Tuner with MLflow: a grid search with a nested run per trial.

It follows the docstring of `keras_tuner.Tuner.run_trial`, and MLflow's page on parent and child
runs. With `--pinned`, MLflow is given the models' requirements.
"""

import sys
from typing import Any

import keras_tuner
import mlflow

from benchmarks.job import Job, load_splits
from benchmarks.peers import tracked


class TrackedGridSearch(keras_tuner.GridSearch):  # type: ignore[misc]
    """A grid search that records its trials."""

    def run_trial(
        self, trial: Any, job: Job, splits: dict[str, Any], run_id: str, pinned: bool
    ) -> dict[str, float]:
        """Run a trial, and return its objective."""
        values = trial.hyperparameters.values
        return {"val_accuracy": tracked.run_trial(job, values, splits, run_id, pinned)}


def main() -> None:
    """Search the job's space."""
    job = Job.from_command_line()
    tracked.open_store()
    space = keras_tuner.HyperParameters()
    for name, options in job.space.items():
        space.Choice(name, options)
    tuner = TrackedGridSearch(
        objective=keras_tuner.Objective("val_accuracy", "max"),
        hyperparameters=space,
        directory="keras_tuner",
    )
    with mlflow.start_run(run_name="search") as search:
        tuner.search(job, load_splits(job.splits), search.info.run_id, "--pinned" in sys.argv)


if __name__ == "__main__":
    main()
