"""What a finished study claims, compared with what is still there."""

import mlflow

from tuner.checksums import TAG
from tuner.errors import ModelError, StudyError
from tuner.model_check import digest_of_model
from tuner.records import REFIT, refit_name
from tuner.registry import Registry
from tuner.schema import StudyConfig
from tuner.tracking import Tracker


def find_missing(
    client: mlflow.MlflowClient, config: StudyConfig, study: str, study_id: str
) -> str | None:
    """Say what of a finished study's claims is not there any more, or return None.

    Looks at its best trial and its version in the registry alone: the same command, which
    makes them again, looks at everything.

    Args:
        client: Of the store that the study was recorded in.
        config: The study's.
        study: Its name.
        study_id: What tells it from another study of that name.
    """
    name = str(config.tracking.experiment)
    experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage != "active":
        return f"the experiment {name} is no longer in MLflow"
    tracker = Tracker(client, name, study, study_id)
    best = tracker.best_trial()
    if best is None:
        return "its run is no longer in MLflow"
    trial = tracker.find_run("trial", best)
    if trial is None:
        return f"the run of its best trial, {best}, is no longer in MLflow"
    if trial.finished is None:
        return f"its best trial, {best}, is no longer whole"
    if config.registry.name is None:
        return None
    if config.registry.refit:
        trial = tracker.find_run(REFIT, refit_name(best))
    version = None
    if trial is not None and trial.finished is not None:
        version = Registry(client, config.registry.name).find(trial.run_id)
    if trial is None or version is None:
        return f"its version of {config.registry.name} is no longer in the registry"
    try:
        digest_of_model(client, trial.run_id, version.tags.get(TAG))
    except (ModelError, StudyError):
        return f"the model of version {version.version} of {config.registry.name} is damaged"
    return None
