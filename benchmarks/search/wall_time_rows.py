"""The searches whose wall time is compared, and the space that they search."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.job import SearchJob
from benchmarks.rows import BENCH_DIR, ROOT
from tuner import names

SPACE: Mapping[str, Mapping[str, Any]] = {
    "units_1": {"min": 32, "max": 512, "step": 32},
    "units_2": {"min": 32, "max": 512, "step": 32},
    "learning_rate": {"min": 1e-4, "max": 1e-1, "log": True},
    "dropout": {"min": 0.0, "max": 0.5},
}
"""The space of all searches, beside the number of epochs."""

MAX_EPOCHS = 27

REFERENCE = "asha"
"""The row that all others are compared with."""

TARGET = "random"
"""The row that sets the target."""


@dataclass(frozen=True)
class SearchRow:
    """One search.

    Attributes:
        name: Its name in `--rows`.
        title: Its title in the table.
        environment: The virtual environment it runs in.
        arguments: Returns the interpreter's arguments for a job; the job itself is in
            `job.json` in the folder where the run is started.
        metric: Metric in MLflow of the accuracies that the search is told of; None if it
            writes them to `job.RESULTS`.
        at_least: The smallest multiple of the reference's time that it must take.
    """

    name: str
    title: str
    environment: Path
    arguments: Callable[[SearchJob], list[str]]
    metric: str | None
    at_least: float | None = None


def _ours(search: str, at_least: float | None = None) -> SearchRow:
    """Return one of Glassy's searches, as a user types it."""

    def arguments(job: SearchJob) -> list[str]:
        space = {"epochs": {"min": 1, "max": job.max_epochs}, **job.space}
        return [
            *("-m", "tuner.search", "data=npz", f"data.path='{job.splits}'"),
            *(f"data.name='{job.name}'", f"search={search}"),
            # Until the target is reached, and no further.
            *(f"search.max_trials={job.max_trials}", "search.finalists=null"),
            *(f"++space.{name}={_flow(limits)}" for name, limits in space.items()),
            *(f"space.batch_size={job.batch_size}", f"executor.workers={job.workers}"),
            f"seed={job.seed}",
        ]

    # The study's run has its best score, recorded as soon as the oracle was told of it.
    metric = names.best_metric("val_accuracy")
    return SearchRow(
        search, f"Glassy, `search={search}`", ROOT / ".venv", arguments, metric, at_least
    )


def _flow(limits: Mapping[str, Any]) -> str:
    """Write a range as the command line takes it."""
    return f"{{{', '.join(f'{key}: {json.dumps(value)}' for key, value in limits.items())}}}"


def _peer(module: str, *flags: str) -> Callable[[SearchJob], list[str]]:
    return lambda job: ["-m", f"benchmarks.peers.{module}", "job.json", *flags]


ROWS = (
    _ours(REFERENCE),
    _ours(TARGET, at_least=4),
    _ours("bayesian"),
    SearchRow(
        "optuna_hyperband",
        "Optuna's TPE and Hyperband pruner + Keras + MLflow, two processes",
        BENCH_DIR / "optuna_mlflow",
        _peer("optuna_pruned"),
        "val_accuracy",
        at_least=5,
    ),
    SearchRow(
        "optuna_median",
        "Optuna's TPE and median pruner + Keras + MLflow, two processes",
        BENCH_DIR / "optuna_mlflow",
        _peer("optuna_pruned", "--median"),
        "val_accuracy",
        at_least=5,
    ),
    SearchRow(
        "ray_asha",
        "Ray Tune's ASHA + Keras + MLflow, two actors",
        BENCH_DIR / "ray_mlflow",
        _peer("ray_asha"),
        "val_accuracy",
        at_least=5,
    ),
    SearchRow(
        "keras_tuner_hyperband",
        "Keras Tuner's Hyperband, nothing logged",
        BENCH_DIR / "keras_tuner_alone",
        _peer("keras_tuner_hyperband"),
        None,
        at_least=15,
    ),
)
"""The searches, in the order of the table."""
