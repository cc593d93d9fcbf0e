"""What MLflow holds of studies, found again by name: for commands that come after a search."""

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
from tuner import history, names, passwords
from tuner.errors import ConfigError, StudyError
from tuner.schema import StudyConfig
from tuner.tracking import Tracker


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
        return str(self.run.data.tags[names.STUDY])


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
    experiments = history.experiments(client)
    runs = history.studies(client, experiments)
    if not runs:
        raise ConfigError(
            "There is no study in this tracking store: make one with tuner.search, or give "
            "`tracking.uri` of another store."
        )
    where = "in this tracking store"
    if experiment is not None:
        where = f"in experiment {experiment}"
        holding = {experiments[run.info.experiment_id] for run in runs}
        if experiment not in holding:
            raise ConfigError(
                f"`tracking.experiment={experiment}` holds no study; these do: "
                f"{', '.join(sorted(holding))}."
            )
        runs = [run for run in runs if experiments[run.info.experiment_id] == experiment]
    if name is None:
        return runs
    found = [run for run in runs if run.data.tags[names.STUDY] == name]
    if not found:
        known = list(dict.fromkeys(run.data.tags[names.STUDY] for run in runs))
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
    return _with_config(client, client.get_run(trial.data.tags[names.PARENT]))


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
    if run.data.tags.get(names.KIND) not in (names.KIND_TRIAL, names.KIND_REFIT):
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
    facts = history.read_study(study.run)
    found = []
    if facts.best_trial is not None:
        found = history.trials(
            client, facts.experiment_id, facts.study_id, trial_id=facts.best_trial
        )
    finished = [trial for trial in found if trial.status == "FINISHED"]
    if not finished:
        raise StudyError(f"Study {study.name} has no finished trial yet: let it go on.")
    return client.get_run(finished[-1].run_id)


def tracker_of(client: mlflow.MlflowClient, study: StudyRun) -> Tracker:
    """Return what records a run more of a study."""
    facts = history.read_study(study.run)
    experiment = client.get_experiment(facts.experiment_id).name
    tracker = Tracker(client, experiment, facts.name, facts.study_id)
    tracker.join_study(study.run)
    return tracker


def _with_config(client: mlflow.MlflowClient, run: Run) -> StudyRun:
    with TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(run.info.run_id, names.CONFIG, folder))
        stored: Any = OmegaConf.load(path)
    return StudyRun(run, configuration.load(stored))
