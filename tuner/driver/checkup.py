"""Compares what a finished study claims with what is still there."""

import mlflow
from mlflow.entities import Run, ViewType

from tuner import names
from tuner.config.schema import StudyConfig
from tuner.errors import ModelError, StudyError
from tuner.registry.versions import Registry
from tuner.tracking import history
from tuner.tracking.checksums import TAG
from tuner.tracking.facts import StudyFacts, TrialRecord
from tuner.tracking.logged_models import LoggedModels
from tuner.tracking.model_check import digest_of_model
from tuner.tracking.stored_files import StoredFiles


def find_missing(client: mlflow.MlflowClient, config: StudyConfig, study_id: str) -> str | None:
    """Say which part of a finished study is lost or damaged and can be repaired; None if none.

    Only its best trial and its version in the registry are checked here; the repair, by the
    same command, checks everything. Whatever somebody has deleted is left alone.

    Args:
        client: Client of the store that the study was recorded in.
        config: The study's configuration.
        study_id: The study's id.
    """
    found = history.studies(client, history.experiments(client), study_id, ViewType.ALL)
    if not found:
        return "MLflow no longer has a record of it"
    facts = history.read_study(found[0])
    if _is_deleted(found[0]) or facts.best_model is None:
        return None
    best = facts.best_model
    presence = history.presence(client, facts.experiment_id, study_id, [best])
    if presence.gone:
        return f"the record of its best trial ({best}) is gone from MLflow"
    if presence.deleted:
        return None
    record = _record(client, facts, best)
    if record is not None and _is_damaged(client, facts, record):
        return f"files of its best trial ({best}) are missing or damaged"
    if config.registry.name is None:
        return None
    judged = facts.judged_trial or best
    if config.registry.refit:
        record = _record(client, facts, names.refit_name(judged))
    elif judged != best:
        record = _record(client, facts, judged)
    registry = Registry(client, config.registry.name, config.registry.alias)
    version = None if record is None else registry.find(record.run_id)
    if record is None or version is None:
        return None
    try:
        digest_of_model(client, record.run_id, version.tags.get(TAG))
    except (ModelError, StudyError):
        return f"the model of version {version.version} of {registry.name} is damaged"
    return None


def _is_deleted(run: Run) -> bool:
    return str(run.info.lifecycle_stage) != "active"


def _record(
    client: mlflow.MlflowClient, facts: StudyFacts, trial_id: str
) -> TrialRecord | None:
    found = history.trials(client, facts.experiment_id, facts.study_id, None, trial_id)
    finished = [record for record in found if record.status == "FINISHED"]
    return finished[-1] if finished else None


def _is_damaged(client: mlflow.MlflowClient, facts: StudyFacts, record: TrialRecord) -> bool:
    models = LoggedModels(client, facts.experiment_id, {names.STUDY_ID: facts.study_id})
    folder = client.get_experiment(facts.experiment_id).artifact_location
    return bool(StoredFiles(client, folder, models).damaged({record.trial_id: record}))
