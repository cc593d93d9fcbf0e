"""What MLflow holds of studies, found again by name: for commands that come after a search."""

import ast
import difflib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from omegaconf import OmegaConf

from tuner import config as configuration
from tuner.errors import StudyError
from tuner.schema import StudyConfig
from tuner.tracking import Tracker
from tuner.trial import Value

CONFIG = "config.yaml"
"""The study's resolved configuration, an artifact of its run."""


@dataclass(frozen=True)
class StudyRecord:
    """A study that has been recorded.

    Attributes:
        run: MLflow's run of it.
        config: What it was searched with.
    """

    run: Run
    config: StudyConfig

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.run.data.tags["tuner.study"])


def find_study(client: mlflow.MlflowClient, name: str) -> StudyRecord:
    """Find a study by its name; of several, the one begun last.

    Raises:
        StudyError: If there is none, with the names that are most like it.
    """
    found = _runs(client, f"tags.`tuner.kind` = 'study' and tags.`tuner.study` = '{name}'")
    if not found:
        runs = _runs(client, "tags.`tuner.kind` = 'study'")
        known = sorted({run.data.tags["tuner.study"] for run in runs})
        close = difflib.get_close_matches(name, known, 5, 0.4) or known[:5]
        hint = f" Like it are: {', '.join(close)}." if close else " There are none."
        raise StudyError(
            f"`study={name}` must be a study that is recorded in {client.tracking_uri}.{hint}"
        )
    return _record(client, found[0])


def study_of(client: mlflow.MlflowClient, trial: Run) -> StudyRecord:
    """Find the study that a trial is of."""
    return _record(client, client.get_run(trial.data.tags["mlflow.parentRunId"]))


def find_trial(client: mlflow.MlflowClient, run_id: str) -> Run:
    """Find a trial by its run.

    Raises:
        StudyError: If there is no such run, or it is of no finished trial.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise StudyError(
            f"`run={run_id}` must be a run that is recorded in {client.tracking_uri}, but "
            f"there is none: copy its id from `mlflow ui`."
        ) from error
    if run.data.tags.get("tuner.kind") not in ("trial", "refit"):
        raise StudyError(
            f"`run={run_id}` must be the run of a trial; for the best trial of a study give "
            f"study=<name>."
        )
    if run.info.status != "FINISHED":
        raise StudyError(
            f"`run={run_id}` must be a finished trial, but is {run.info.status.lower()}."
        )
    return run


def best_trial(client: mlflow.MlflowClient, study: StudyRecord) -> Run:
    """Return the run of a study's best trial so far.

    Raises:
        StudyError: If none has finished.
    """
    tags = study.run.data.tags
    trial_id = tags.get("tuner.best_trial")
    found = _runs(
        client,
        f"tags.`tuner.kind` = 'trial' and tags.`tuner.study_id` = '{tags['tuner.study_id']}' "
        f"and tags.`tuner.trial` = '{trial_id}' and attributes.status = 'FINISHED'",
    )
    if trial_id is None or not found:
        raise StudyError(f"Study {study.name} has no finished trial yet: let it go on.")
    return found[0]


def values_of(trial: Run) -> dict[str, Value]:
    """Return what a trial was trained with; MLflow keeps it as text."""
    values: dict[str, Value] = {}
    for name, text in trial.data.params.items():
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values


def tracker_of(client: mlflow.MlflowClient, study: StudyRecord) -> Tracker:
    """Return what records a run more of a study."""
    tracker = Tracker(
        client,
        str(study.config.tracking.experiment),
        study.name,
        study.run.data.tags["tuner.study_id"],
    )
    tracker.join_study(study.run)
    return tracker


def _record(client: mlflow.MlflowClient, run: Run) -> StudyRecord:
    with TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(run.info.run_id, CONFIG, folder))
        stored: Any = OmegaConf.load(path)
    return StudyRecord(run, configuration.load(stored))


def _runs(client: mlflow.MlflowClient, query: str) -> list[Run]:
    """Return the runs of all experiments that a query finds, the latest first."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs: list[Run] = []
    token = None
    while token != "":
        page = client.search_runs(
            experiments,
            query,
            max_results=1000,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        runs.extend(page)
        token = page.token or ""
    return runs
