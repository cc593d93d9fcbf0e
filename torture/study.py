"""The study that is tortured: how to run it, and how to read its results."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow

from tuner.driver.study_folder import StudyFolder

NAME = "tortured"
NUM_TRIALS = 24

Process = subprocess.Popen[str]

_MINUTES = 5.0
WORKERS = 2

_COMMON = (
    f"study={NAME}",
    f"executor.workers={WORKERS}",
    "data.train_size=400",
    "space.layers=1",
    "space.epochs=[1,2,3]",
    "space.dropout=0.1",
    # Otherwise epochs this short would get a checkpoint only now and then.
    "curves.every_seconds=0",
    "search.finalists=null",
)
SEARCHES: Mapping[str, tuple[str, ...]] = {
    "grid": (
        *_COMMON,
        "search=grid",
        "space.units=[8,16]",
        "space.learning_rate=[0.01,0.003,0.001,0.0003]",
    ),
    "random": (
        *_COMMON,
        "search=random",
        f"search.max_trials={NUM_TRIALS}",
        "space.units=[8,16]",
        "space.learning_rate={min: 1e-3, max: 1e-2, log: true}",
    ),
    # With more workers than one, what a search asks for and when trials leave a race depends on
    # which trials have ended.
    "repeats": (
        *_COMMON,
        "executor.workers=1",
        "search=grid",
        "search.repeats=2",
        "space.units=[8,16]",
        "space.learning_rate=[0.01,0.003,0.001,0.0003]",
    ),
    "tpe": (
        *_COMMON,
        "executor.workers=1",
        "search=tpe",
        f"search.max_trials={NUM_TRIALS}",
        "search.num_initial_points=5",
        "search.pruner=median",
        "space.units={min: 8, max: 16}",
        "space.learning_rate={min: 1e-3, max: 1e-2, log: true}",
    ),
    "asha": (
        *_COMMON,
        "executor.workers=1",
        "search=asha",
        f"search.max_trials={NUM_TRIALS}",
        "space.epochs={min: 1, max: 4}",
        "search.reduction_factor=2",
        "space.units={min: 8, max: 16}",
        "space.learning_rate={min: 1e-3, max: 1e-2, log: true}",
    ),
    "small": (
        *_COMMON,
        "search=grid",
        "space.epochs=[1,2]",
        "space.units=[8,16]",
        "space.learning_rate=[0.01,0.003]",
    ),
}
"""Overrides of `tuner.search`; all but `small` make `NUM_TRIALS` trials."""

# Metrics in which two runs of one study may differ.
_TIMES = {
    "train_seconds",
    "compile_seconds",
    "evaluate_seconds",
    "trial_seconds",
    "epochs_trained",
    "epochs_reused",
}

_EPOCH = re.compile(
    r"trial (\d+) (?:repeat (\d+)/\d+ )?epoch (\d+)/\d+ .*?(\(trained before\))?$", re.MULTILINE
)


@dataclass(frozen=True)
class Place:
    """Where and how a study is run.

    Attributes:
        folder: The current folder of its processes.
        search: A key of `SEARCHES`.
        tracking_uri: The store; None for the default.
        environment: Environment variables besides those of this process.
    """

    folder: Path
    search: str
    tracking_uri: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def study_dir(self) -> Path:
        """The study's folder."""
        return self.folder / "experiments" / NAME

    @property
    def is_finished(self) -> bool:
        """Whether the study is complete."""
        begun = (self.study_dir / "study.json").exists()
        return begun and StudyFolder(self.study_dir).state.finished is not None

    def start(self) -> Process:
        """Run the command as the leader of its own process group."""
        overrides = [*SEARCHES[self.search]]
        if self.tracking_uri is not None:
            overrides.append(f"tracking.uri={self.tracking_uri}")
        return subprocess.Popen(
            [sys.executable, "-m", "tuner.search", *overrides],
            cwd=self.folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


class Unclear(Exception):
    """A study did not end as it should have; the text says how."""


def check_end(process: Process) -> int:
    """Wait for the process of a study, and return its exit status.

    Raises:
        Unclear: If it does not end, or fails without exactly one clear message.
    """
    try:
        _, errors = process.communicate(timeout=_MINUTES * 60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Unclear(f"The study had not ended after {_MINUTES:g} minutes.") from None
    status: int = process.returncode
    num_messages = sum(line.startswith("Error: ") for line in errors.splitlines())
    # A negative status is the signal that killed it.
    if status < 0 or (status in (0, 130) and not errors):
        return status
    if status != 1 or num_messages != 1 or "Traceback" in errors:
        raise Unclear(f"The study ended with exit status {status} and printed:\n{errors}")
    return status


@dataclass(frozen=True)
class Trial:
    """The record of a trial, as far as it must be the same in every run of the study.

    Attributes:
        status: Status of its run in MLflow.
        params: Its values.
        metrics: `(step, value)` of each metric.
        error: Its error, if it failed.
    """

    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, tuple[tuple[int, float], ...]]
    error: str = ""


@dataclass(frozen=True)
class Record:
    """The results of a study.

    Attributes:
        trials: All runs of each trial.
        num_told: How many times the oracle was told about each trial.
        summary: The record of the study itself: status, best trial, champion.
        num_trained: How many times each epoch of each curve was trained, by the values and the
            repeat, and the epoch.
        others: Names of other files and folders next to the study and the store.
    """

    trials: Mapping[str, list[Trial]]
    num_told: Mapping[str, int]
    summary: tuple[Any, ...]
    num_trained: Mapping[tuple[str, int], int]
    others: frozenset[str]

    @property
    def trained_again(self) -> int:
        """Number of times that epochs were trained again."""
        return sum(times - 1 for times in self.num_trained.values())


def record(place: Place) -> Record:
    """Read the results of a study.

    Args:
        place: Where it was run; the store is `mlflow.db` there, whoever has written it.
    """
    client = mlflow.MlflowClient(f"sqlite:///{place.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    trials: dict[str, list[Trial]] = {}
    summary: tuple[Any, ...] = ()
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        tags, metrics = run.data.tags, run.data.metrics
        if tags["tuner.kind"] == "study":
            best = (tags["tuner.best_trial"], metrics["best_val_accuracy"])
            summary = (*summary, run.info.status, *best)
            continue
        histories = {
            name: tuple(
                sorted(
                    (m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)
                )
            )
            for name in metrics
            if name not in _TIMES
        }
        error = tags.get("tuner.error", "")
        trial = Trial(run.info.status, run.data.params, histories, error)
        trials.setdefault(tags["tuner.trial"], []).append(trial)
    champion = client.get_model_version_by_alias("digits-classifier", "champion")
    champion_run = client.get_run(str(champion.run_id))
    events = map(json.loads, (place.study_dir / "oracle.jsonl").read_text().splitlines())
    return Record(
        trials,
        Counter(event["tell"] for event in events if "tell" in event),
        (*summary, champion.version, champion_run.data.tags["tuner.trial"]),
        _num_trained(place, trials),
        frozenset(path.name for path in place.folder.iterdir()),
    )


def _num_trained(place: Place, trials: Mapping[str, list[Trial]]) -> Counter[tuple[str, int]]:
    """Count how many times each epoch was trained, from the log."""
    trained: Counter[tuple[str, int]] = Counter()
    log = (place.study_dir / "tune.log").read_text(encoding="utf-8", errors="replace")
    for trial_id, repeat, epoch, before in _EPOCH.findall(log):
        if not before:
            values = {n: v for n, v in trials[trial_id][0].params.items() if n != "epochs"}
            trained[f"{sorted(values.items())} {repeat}", int(epoch)] += 1
    return trained
