"""MLflow's client with retries: the one with which the driver records."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tuner.runtime import interrupt, surroundings

logger = logging.getLogger(__name__)

_MAX_TRIES = 3
"""Each attempt waits 20 s for another process that writes to SQLite's file, as MLflow does."""

P = ParamSpec("P")
T = TypeVar("T")


def _patient(method: Callable[P, T]) -> Callable[P, T]:
    """Retry a call that SQLite refused because another process was writing.

    A refused call has changed nothing. An interrupt does not break off a call.
    """

    @functools.wraps(method)
    def retried(*args: P.args, **kwargs: P.kwargs) -> T:
        for tries in range(1, _MAX_TRIES + 1):
            try:
                with interrupt.deferred():
                    return method(*args, **kwargs)
            except MlflowException as error:
                if "database is locked" not in str(error) or tries == _MAX_TRIES:
                    raise
                logger.warning(
                    "Another process is writing to the tracking store; waiting for it."
                )
        raise AssertionError

    return retried


class PatientClient(MlflowClient):
    """Retries in every method that Glassy calls; a test compares the two lists."""

    create_experiment = _patient(MlflowClient.create_experiment)
    create_logged_model = _patient(MlflowClient.create_logged_model)
    create_model_version = _patient(MlflowClient.create_model_version)
    create_registered_model = _patient(MlflowClient.create_registered_model)
    create_run = _patient(MlflowClient.create_run)
    delete_logged_model = _patient(MlflowClient.delete_logged_model)
    delete_model_version = _patient(MlflowClient.delete_model_version)
    delete_model_version_tag = _patient(MlflowClient.delete_model_version_tag)
    delete_registered_model_alias = _patient(MlflowClient.delete_registered_model_alias)
    delete_run = _patient(MlflowClient.delete_run)
    delete_tag = _patient(MlflowClient.delete_tag)
    download_artifacts = _patient(
        surroundings.variables(surroundings.WITHOUT_BARS)(MlflowClient.download_artifacts)
    )
    finalize_logged_model = _patient(MlflowClient.finalize_logged_model)
    get_experiment = _patient(MlflowClient.get_experiment)
    get_experiment_by_name = _patient(MlflowClient.get_experiment_by_name)
    get_logged_model = _patient(MlflowClient.get_logged_model)
    get_metric_history = _patient(MlflowClient.get_metric_history)
    get_model_version = _patient(MlflowClient.get_model_version)
    get_model_version_by_alias = _patient(MlflowClient.get_model_version_by_alias)
    get_model_version_download_uri = _patient(MlflowClient.get_model_version_download_uri)
    get_registered_model = _patient(MlflowClient.get_registered_model)
    get_run = _patient(MlflowClient.get_run)
    list_artifacts = _patient(MlflowClient.list_artifacts)
    log_artifact = _patient(MlflowClient.log_artifact)
    log_batch = _patient(MlflowClient.log_batch)
    log_inputs = _patient(MlflowClient.log_inputs)
    log_outputs = _patient(MlflowClient.log_outputs)
    log_text = _patient(MlflowClient.log_text)
    restore_run = _patient(MlflowClient.restore_run)
    search_experiments = _patient(MlflowClient.search_experiments)
    search_logged_models = _patient(MlflowClient.search_logged_models)
    search_model_versions = _patient(MlflowClient.search_model_versions)
    search_registered_models = _patient(MlflowClient.search_registered_models)
    search_runs = _patient(MlflowClient.search_runs)
    set_experiment_tag = _patient(MlflowClient.set_experiment_tag)
    set_logged_model_tags = _patient(MlflowClient.set_logged_model_tags)
    set_model_version_tag = _patient(MlflowClient.set_model_version_tag)
    set_registered_model_alias = _patient(MlflowClient.set_registered_model_alias)
    set_registered_model_tag = _patient(MlflowClient.set_registered_model_tag)
    set_tag = _patient(MlflowClient.set_tag)
    set_terminated = _patient(MlflowClient.set_terminated)
    update_model_version = _patient(MlflowClient.update_model_version)
    update_run = _patient(MlflowClient.update_run)
