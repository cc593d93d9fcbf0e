"""The MLflow experiment that a study belongs to: its name, and its creation."""

import os

import mlflow
from mlflow.exceptions import MlflowException

from tuner import names
from tuner.errors import ConfigError
from tuner.tracking import history, project_folder, tracking_store
from tuner.wording import first_line


def name_of(client: mlflow.MlflowClient, given: str | None, default: str) -> str:
    """Return the name of the experiment that a study belongs to.

    Args:
        client: Client of the store.
        given: `tracking.experiment`; None to use MLflow's own environment variables.
        default: Name to use if these are not set either.

    Raises:
        ConfigError: If there is no experiment with the id in `MLFLOW_EXPERIMENT_ID`.
    """
    if given is not None:
        return given
    if name := os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip():
        return name
    experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID", "").strip()
    if not experiment_id:
        return default
    try:
        return str(client.get_experiment(experiment_id).name)
    except MlflowException as error:
        raise ConfigError(
            f"MLFLOW_EXPERIMENT_ID={experiment_id} must be an experiment of this store, but: "
            f"{first_line(error)}. Set another id, or give tracking.experiment=…."
        ) from error


def of_study(client: mlflow.MlflowClient, study_id: str, name: str) -> str:
    """Return the experiment that holds a study; otherwise find or make the one named.

    A study stays in its experiment, even if new studies go to another one now.

    Args:
        client: Client of the store.
        study_id: The study's id.
        name: The experiment's name.

    Returns:
        The experiment's id.

    Raises:
        ConfigError: As `find` raises it.
    """
    if found := history.studies(client, history.experiments(client), study_id):
        return str(found[0].info.experiment_id)
    return find(client, name)


def find(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is created if it is missing.

    Raises:
        ConfigError: If it has been deleted, or MLflow does not accept its name.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            made = str(client.create_experiment(name))
        except MlflowException as error:
            raise ConfigError(
                f"`tracking.experiment={name}` must be a name that MLflow accepts, but: "
                f"{first_line(error)}."
            ) from error
        _remember_folder(client, made)
        return made
    if found.lifecycle_stage != "active":
        raise ConfigError(
            f"`tracking.experiment={name}` has been deleted in MLflow: restore it there "
            f"(mlflow experiments restore -x {found.experiment_id}), or give another name."
        )
    _remember_folder(client, str(found.experiment_id))
    return str(found.experiment_id)


def _remember_folder(client: mlflow.MlflowClient, experiment_id: str) -> None:
    """Record in an experiment where its database lies, so that a move can be detected."""
    path = tracking_store.sqlite_path(client.tracking_uri)
    if path is not None and names.FOLDER not in client.get_experiment(experiment_id).tags:
        folder = str(project_folder.folder_of(path))
        client.set_experiment_tag(experiment_id, names.FOLDER, folder)
