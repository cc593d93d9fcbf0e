"""One run of a row: a new process in a new folder, its seconds, and its accuracies."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from benchmarks.job import SCORES, Job, Values
from benchmarks.rows import ROOT, Row

OUTPUT = "output.log"

_ENVIRONMENT = {
    # The folder of the package `benchmarks`; Ray passes it on to its actors.
    "PYTHONPATH": str(ROOT),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}

# Variables that keep Python from writing bytecode, or send records or work elsewhere.
_REMOVED = ("PYTHONDONTWRITEBYTECODE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")


class RunFailed(Exception):
    """A run did not do everything that it should; the message says what is missing."""


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
        why = f"{error} {_last_line(folder)}".rstrip()
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
    environment = {k: v for k, v in os.environ.items() if k not in _REMOVED} | _ENVIRONMENT
    with (folder / OUTPUT).open("wb") as output:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise RunFailed(f"It could not be started: {error}.") from error
        try:
            status = process.wait(timeout)
            seconds = time.perf_counter() - start
        except subprocess.TimeoutExpired:
            raise RunFailed(f"It was stopped after {timeout:.0f} s.") from None
        finally:
            # Also processes that it has left running, which would disturb the next row.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
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


def _last_line(folder: Path) -> str:
    """Return the last line that a run has printed, which often says what went wrong."""
    text = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
