"""What MLflow holds of studies, found again by name: for commands that come after a search."""

import ast
import difflib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from tuner import passwords, trust
from tuner.errors import ConfigError, StudyError
from tuner.schema import StudyConfig
from tuner.tracking import Tracker
from tuner.trial import Value

CONFIG = "config.yaml"
"""The study's resolved configuration, an artifact of its run."""

REFIT = "refit"
"""The tag `tuner.kind` of a trial's values trained again: no search takes it for a trial."""

PAGE = 1000
"""Runs that are asked for at a time."""


@dataclass(frozen=True)
class StudyRun:
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


def find_studies(
    client: mlflow.MlflowClient, experiment: str | None, name: str | None = None
) -> list[Run]:
    """Return the runs of studies, the latest first.

    Args:
        client: Of the store they are kept in.
        experiment: MLflow's, by name; None for all.
        name: Of the studies; None for all.

    Raises:
        ConfigError: If there is no study, or none in that experiment.
        StudyError: If there is no study of that name.
    """
    experiments = pages(client.search_experiments, view_type=ViewType.ACTIVE_ONLY)
    names = {found.experiment_id: found.name for found in experiments}
    query = {"filter_string": "tags.`tuner.kind` = 'study'", "max_results": PAGE}
    runs: list[Run] = list(pages(client.search_runs, experiment_ids=list(names), **query))
    if not runs:
        raise ConfigError(
            "There is no study in this tracking store: make one with tuner.search, or give "
            "`tracking.uri` of another store."
        )
    where = "in this tracking store"
    if experiment is not None:
        where = f"in experiment {experiment}"
        holding = {names[run.info.experiment_id] for run in runs}
        if experiment not in holding:
            raise ConfigError(
                f"`tracking.experiment={experiment}` holds no study; these do: "
                f"{', '.join(sorted(holding))}."
            )
        runs = [run for run in runs if names[run.info.experiment_id] == experiment]
    runs.sort(key=lambda run: -run.info.start_time)
    if name is None:
        return runs
    found = [run for run in runs if run.data.tags["tuner.study"] == name]
    if not found:
        known = list(dict.fromkeys(run.data.tags["tuner.study"] for run in runs))
        close = difflib.get_close_matches(name, known, 3, 0.5)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"The latest: {known[0]}."
        raise StudyError(f"There is no study {name!r} {where}. {hint}")
    return found


def find_study(client: mlflow.MlflowClient, name: str) -> StudyRun:
    """Find a study by its name; of several, the one begun last.

    Raises:
        ConfigError: If there is no study at all.
        StudyError: If there is none of that name.
    """
    return _with_config(client, find_studies(client, None, name)[0])


def study_of(client: mlflow.MlflowClient, trial: Run) -> StudyRun:
    """Find the study that a trial is of."""
    return _with_config(client, client.get_run(trial.data.tags["mlflow.parentRunId"]))


def refit_name(trial_id: str) -> str:
    """Return what a trial's values trained again are called, as trials are by their ids."""
    return f"{trial_id}-{REFIT}"


def find_trial(client: mlflow.MlflowClient, run_id: str) -> Run:
    """Find a trial by its run.

    Raises:
        StudyError: If there is no such run, or it is of no finished trial.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise StudyError(
            f"`run={run_id}` must be a run that is recorded in "
            f"{passwords.hide(client.tracking_uri)}, but there is none: copy its id from "
            f"`mlflow ui`."
        ) from error
    if run.data.tags.get("tuner.kind") not in ("trial", REFIT):
        raise StudyError(
            f"`run={run_id}` must be the run of a trial; for the best trial of a study give "
            f"study=<name>."
        )
    if run.info.status != "FINISHED":
        raise StudyError(
            f"`run={run_id}` must be a finished trial, but is {run.info.status.lower()}."
        )
    return run


def best_trial(client: mlflow.MlflowClient, study: StudyRun) -> Run:
    """Return the run of a study's best trial so far.

    Raises:
        StudyError: If none has finished.
    """
    tags = study.run.data.tags
    trial_id = tags.get("tuner.best_trial")
    query = (
        f"tags.`tuner.kind` = 'trial' and tags.`tuner.study_id` = '{tags['tuner.study_id']}' "
        f"and tags.`tuner.trial` = '{trial_id}' and attributes.status = 'FINISHED'"
    )
    found = client.search_runs([study.run.info.experiment_id], query)
    if trial_id is None or not found:
        raise StudyError(f"Study {study.name} has no finished trial yet: let it go on.")
    best: Run = found[0]
    return best


def values_of(trial: Run) -> dict[str, Value]:
    """Return what a trial was trained with; MLflow keeps it as text."""
    return {name: plain(text) for name, text in trial.data.params.items()}


@functools.lru_cache(maxsize=10_000)
def plain(text: str) -> Any:
    """Return a value that MLflow keeps as text: a number, a list, a mapping, or the text."""
    try:
        value: Value | Sequence[Value] | Mapping[str, Value] = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value


def tracker_of(client: mlflow.MlflowClient, study: StudyRun) -> Tracker:
    """Return what records a run more of a study."""
    tracker = Tracker(
        client,
        str(study.config.tracking.experiment),
        study.name,
        study.run.data.tags["tuner.study_id"],
    )
    tracker.join_study(study.run)
    return tracker


def _with_config(client: mlflow.MlflowClient, run: Run) -> StudyRun:
    name = str(run.data.tags["tuner.study"])
    with TemporaryDirectory() as folder:
        try:
            path = Path(client.download_artifacts(run.info.run_id, CONFIG, folder))
            content = path.read_bytes()
        except (MlflowException, OSError) as error:
            raise StudyError(
                f"Study {name} cannot be used: its {CONFIG} cannot be read in "
                f"{passwords.hide(str(run.info.artifact_uri))}. Bring it back."
            ) from error
    return StudyRun(run, trust.read_config(content, name))


def pages(search: Any, **query: Any) -> Iterator[Any]:
    """Return what a search finds, page by page."""
    token = None
    while token != "":
        page = search(**query, page_token=token)
        yield from page
        token = page.token or ""
