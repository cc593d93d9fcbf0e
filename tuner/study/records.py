"""Finds recorded studies and trials in MLflow, for the commands that come after a search."""

import datetime
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from tuner import names, passwords
from tuner.config.schema import StudyConfig
from tuner.constraints import NO_CONSTRAINTS, Constraints
from tuner.driver.study_folder import id_of_folder
from tuner.errors import ConfigError, StudyError
from tuner.study import trust
from tuner.tracking import history
from tuner.tracking.history import restore
from tuner.tracking.logged_models import logged_model_id
from tuner.tracking.runs import Tracker

MIN_ID = 4
"""Fewest characters of a study's id that can select it."""

_STATES = {
    "FAILED": "failed",
    "KILLED": "was interrupted",
    "RUNNING": "is still running, or was killed without notice",
    "SCHEDULED": "is paused",
}
"""What MLflow's states of a run mean for a trial that has not finished."""


@dataclass(frozen=True)
class StudyRun:
    """A study that has been recorded.

    Attributes:
        run: MLflow's run of it.
        config: The configuration it was searched with.
    """

    run: Run
    config: StudyConfig

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.run.data.tags[names.STUDY])

    @property
    def engine(self) -> str:
        """The engine that runs its epochs; see `tuner.config.engine`."""
        # A study of an earlier version has no tag; this engine can train every model.
        return str(self.run.data.tags.get(names.ENGINE, "graph"))


def find_studies(
    client: mlflow.MlflowClient, experiment: str | None, name: str | None = None
) -> list[Run]:
    """Return the runs of studies, the latest first.

    Args:
        client: Client of the store that holds them.
        experiment: Name of the MLflow experiment; None for all.
        name: Name of the studies; None for all.

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
        experiment_ids = {run.info.experiment_id for run in runs}
        for run in history.studies(client, experiment_ids, view=ViewType.DELETED_ONLY):
            # Files that tuner.delete has removed cannot be restored.
            is_whole = names.DELETED not in run.data.tags
            if run.data.tags[names.STUDY] == name and is_whole:
                raise StudyError(
                    f"The run of study {name!r} was deleted in MLflow; to bring it back: "
                    f"{restore(run.info.run_id)}. Or resume its search, which makes another."
                )
        known = list(dict.fromkeys(run.data.tags[names.STUDY] for run in runs))
        close = difflib.get_close_matches(name, known, 3, 0.5)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"The latest: {known[0]}."
        raise StudyError(f"There is no study {name!r} {where}. {hint}")
    return found


def choose(client: mlflow.MlflowClient, experiment: str | None, wanted: str) -> Run:
    """Return the run of the one study that is meant.

    A study is identified by its id, since several people may have one of the same name. If the
    study's folder is here, that study is meant; otherwise an ambiguous name is an error.

    Args:
        client: Client of the store that holds it.
        experiment: Name of the MLflow experiment; None for all.
        wanted: A study's name, or the beginning of its id.

    Raises:
        ConfigError: If there is no study at all.
        StudyError: If there is none of that name, or more than one.
    """
    runs = find_studies(client, experiment)
    named = [run for run in runs if run.data.tags[names.STUDY] == wanted]
    here = id_of_folder(wanted)
    if mine := [run for run in named if run.data.tags[names.STUDY_ID] == here]:
        return mine[0]
    if named and here is not None:
        raise StudyError(
            f"The study {wanted} of this folder has no run in this store. Others have studies "
            f"of that name:\n{listed(named)}"
        )
    if not named and len(wanted) >= MIN_ID:
        named = [run for run in runs if run.data.tags[names.STUDY_ID].startswith(wanted)]
    if len(named) > 1:
        raise StudyError(
            f"`study={wanted}` must say which of {len(named)} studies is meant:\n"
            f"{listed(named)}"
        )
    return named[0] if named else find_studies(client, experiment, wanted)[0]


def listed(runs: Sequence[Run]) -> str:
    """List studies, each with the argument that selects it, for a message."""
    lines = []
    for facts in map(history.read_study, runs):
        began = f"{datetime.datetime.fromtimestamp(facts.began):%Y-%m-%d %H:%M}"
        who = " in ".join(text for text in (facts.owner, facts.folder) if text) or "somebody"
        lines.append(f"  study={facts.study_id[:8]}  {facts.name}, started {began} by {who}")
    return "\n".join(lines)


def find_study(client: mlflow.MlflowClient, wanted: str) -> StudyRun:
    """Find a study by its name, or the beginning of its id; see `choose`."""
    return _with_config(client, choose(client, None, wanted))


def study_of(client: mlflow.MlflowClient, trial: Run) -> StudyRun:
    """Find the study that a trial belongs to.

    Raises:
        StudyError: If MLflow no longer has its run.
    """
    study_id = trial.data.tags[names.STUDY_ID]
    found = history.studies(client, [trial.info.experiment_id], study_id)
    if not found:
        raise StudyError(
            f"The run of the study of `run={trial.info.run_id}` is no longer in MLflow. If it "
            f"was deleted: {restore(trial.data.tags.get(names.PARENT, ''))}; "
            f"or resume its search, which makes another."
        )
    return _with_config(client, found[0])


def find_trial(client: mlflow.MlflowClient, run_id: str) -> Run:
    """Find a trial by its run.

    Raises:
        StudyError: If there is no such run, or it is not that of a finished trial.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise StudyError(
            f"`run={run_id}` must be a run that is recorded in "
            f"{passwords.hide(client.tracking_uri)}, but there is none: copy its id from "
            f"`mlflow ui`."
        ) from error
    if run.data.tags.get(names.KIND) in (None, names.KIND_STUDY):
        raise StudyError(
            f"`run={run_id}` must be the run of a trial; for the best trial of a study give "
            f"study=<name>."
        )
    if run.info.status != "FINISHED":
        raise StudyError(
            f"`run={run_id}` must be a finished trial, but is {run.info.status.lower()}."
        )
    return run


def trial_of(client: mlflow.MlflowClient, study: StudyRun, trial_id: str) -> Run:
    """Return the run of a study's trial, which has finished.

    Args:
        client: Client of the store that holds the study.
        study: The study.
        trial_id: The trial's number in it, with or without zeros in front; the name of a refit
            is such as `0003-refit`, that of a finalist such as `0003-seed1`.

    Raises:
        StudyError: If there is no such trial, or it has not finished; the message says how it
            ended.
    """
    facts = history.read_study(study.run)
    place = facts.experiment_id, facts.study_id
    asked, wanted = f"`trial={trial_id}`", trial_id.zfill(4)
    found = history.trials(client, *place, None, wanted)
    if not found:
        known = sorted(trial.trial_id for trial in history.trials(client, *place))
        there = f"its trials are {known[0]} to {known[-1]}" if known else "it has no trial yet"
        raise StudyError(
            f"{asked} must be a trial of study {study.name}, but there is none; {there}."
        )
    finished = [trial for trial in found if trial.status == "FINISHED"]
    if not finished:
        state, error = _STATES[found[-1].status], found[-1].error
        why = "" if error is None else f" ({error.rstrip('.')})"
        raise StudyError(
            f"{asked} must be a finished trial, but it {state}{why}. The best trial of study "
            f"{study.name} is promoted without trial=…."
        )
    return client.get_run(finished[-1].run_id)


def has_model(client: mlflow.MlflowClient, trial: Run) -> bool:
    """Say whether the model of a trial was logged and still has its record."""
    try:
        client.get_logged_model(logged_model_id(client, trial.info.run_id))
    except MlflowException:
        return False
    return True


def best_trial(
    client: mlflow.MlflowClient, study: StudyRun, limits: Constraints = NO_CONSTRAINTS
) -> Run:
    """Return the run of a study's best trial so far, or of the finalist that is its model.

    Args:
        client: Client of the store that holds the study.
        study: The study.
        limits: The gate's limits: if a trial keeps within them, the best that does is returned.

    Raises:
        StudyError: If none has finished, or none meets the study's constraints.
    """
    facts, objective = history.read_study(study.run), study.config.objective
    if facts.race is not None and facts.best_model is not None:
        return trial_of(client, study, facts.best_model)
    trials = history.trials(client, facts.experiment_id, facts.study_id)
    ranked = history.ranked(trials, objective, facts.constraints)
    if not ranked and history.finished(trials, objective):
        raise StudyError(
            f"No finished trial of study {study.name} meets its constraints "
            f"({facts.constraints}): give trial=<number> to promote one all the same."
        )
    if not ranked:
        raise StudyError(f"Study {study.name} has no finished trial yet: resume its search.")
    kept = [trial for trial in ranked if limits.are_met(trial.metrics)]
    return client.get_run((kept or ranked)[0].run_id)


def tracker_of(client: mlflow.MlflowClient, study: StudyRun) -> Tracker:
    """Return a tracker that can add a run to a study."""
    facts = history.read_study(study.run)
    experiment = client.get_experiment(facts.experiment_id).name
    tracker = Tracker(client, experiment, facts.name, facts.study_id)
    tracker.join_study(study.run)
    return tracker


def _with_config(client: mlflow.MlflowClient, run: Run) -> StudyRun:
    name = str(run.data.tags[names.STUDY])
    with TemporaryDirectory() as folder:
        try:
            path = Path(client.download_artifacts(run.info.run_id, names.CONFIG, folder))
            content = path.read_bytes()
        except (MlflowException, OSError) as error:
            raise StudyError(
                f"Study {name} cannot be used: its {names.CONFIG} cannot be read in "
                f"{passwords.hide(str(run.info.artifact_uri))}. Restore the file."
            ) from error
    return StudyRun(run, trust.read_config(content, name))
