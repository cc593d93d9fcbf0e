"""One run of a row: a new process in a new folder, its seconds, and its accuracies."""

import json
import math
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import mlflow
from mlflow.exceptions import MlflowException

from benchmarks.job import SCORES, Job, Values
from benchmarks.process import RunFailed, last_line, started
from benchmarks.rows import Row


@dataclass(frozen=True)
class Run:
    """One run of a row.

    Attributes:
        trials: Name of the list.
        row: Name of the row.
        seed: The seed, which is also the number of the repeat, from 0.
        seconds: Time from the start of the process to its exit; NaN if the run failed.
        accuracies: Validation accuracy of each trial after its last epoch, in the list's order;
            empty if the run failed.
        error: Why it failed, or None.
    """

    trials: str
    row: str
    seed: int
    seconds: float
    accuracies: tuple[float, ...] = ()
    error: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What a journal finds it by."""
        return self.trials, self.row, self.seed

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Self:
        """Return a run as a journal has kept it."""
        return cls(**{**kept, "accuracies": tuple(kept["accuracies"])})


def measure(row: Row, trials: str, job: Job, folder: Path, timeout: float) -> Run:
    """Run a row once, and check its results.

    Args:
        row: The row.
        trials: Name of the list.
        job: The job for the run.
        folder: Folder that is made for the run, and removed if it succeeds.
        timeout: Seconds after which the run is stopped.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job.write(folder / "job.json")
    try:
        seconds = _execute(row, job, folder, timeout)
        reached = _recorded(folder, job) if row.is_tracked else _handed_back(folder)
        if missing := [values for values in job.trials() if _key(values) not in reached]:
            raise RunFailed(f"Trials missing: {len(missing)} of {len(job.trials())}.")
    except (RunFailed, MlflowException) as error:
        why = f"{error} {last_line(folder)}".rstrip()
        return Run(trials, row.name, job.seed, seconds=math.nan, error=why)
    shutil.rmtree(folder)
    accuracies = tuple(reached[_key(values)] for values in job.trials())
    return Run(trials, row.name, job.seed, seconds, accuracies)


def _execute(row: Row, job: Job, folder: Path, timeout: float) -> float:
    """Run the row's process to its end, and return the seconds it took.

    Raises:
        RunFailed: If it cannot be started, fails or takes too long.
    """
    command = [str(row.environment / "bin" / "python"), *row.arguments(job)]
    start = time.perf_counter()
    with started(command, folder) as process:
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"It was stopped after {timeout:.0f} s.") from None
        seconds = time.perf_counter() - start
    if status != 0:
        raise RunFailed(f"It ended with exit status {status}.")
    return seconds


Reached = dict[tuple[int, ...], float]
"""Validation accuracies by the values of their trials; see `_key`."""


def _key(values: Values) -> tuple[int, ...]:
    return values["epochs"], values["units_1"], values["units_2"]


def _handed_back(folder: Path) -> Reached:
    """Read the scores that a row without a tracking store has written."""
    path = folder / SCORES
    if not path.exists():
        raise RunFailed(f"It has not written {SCORES}.")
    return {_key(values): accuracy for values, accuracy in json.loads(path.read_text())}


def _recorded(folder: Path, job: Job) -> Reached:
    """Read what a row has recorded in MLflow, and check that it is complete.

    Raises:
        RunFailed: If anything is missing.
    """
    store = folder / "mlflow.db"
    if not store.exists():
        raise RunFailed(f"It has not made {store.name}.")
    client = mlflow.MlflowClient(f"sqlite:///{store}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    reached: Reached = {}
    for run in client.search_runs(experiments):
        params, metrics = run.data.params, run.data.metrics
        if not job.space.keys() <= params.keys():
            # This is the search's run, not a trial's.
            continue
        values = {name: int(params[name]) for name in job.space}
        run_id = run.info.run_id
        logged = {artifact.path for artifact in client.list_artifacts(run_id)}
        epochs = client.get_metric_history(run_id, "val_accuracy")
        for what, is_there in {
            "its end": run.info.status == "FINISHED",
            "the metrics of every epoch": len(epochs) == values["epochs"],
            "its test accuracy": "test_accuracy" in metrics,
            "its confusion matrix": "confusion_matrix.png" in logged,
            "its model": bool(run.outputs and run.outputs.model_outputs),
        }.items():
            if not is_there:
                raise RunFailed(f"The run of {values} has not recorded {what}.")
        reached[_key(values)] = metrics["val_accuracy"]
    return reached
