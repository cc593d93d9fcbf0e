"""The models that a study's trials log: MLflow's records of them, and their files."""

import json
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from tuner import names
from tuner.runtime import files
from tuner.tracking import history


class LoggedModels:
    """The logged models of one study.

    Args:
        client: Client of the store that holds them.
        experiment_id: Id of the study's experiment.
        tags: Tags that mark the study's models; `names.STUDY_ID` is among them.
    """

    def __init__(
        self, client: mlflow.MlflowClient, experiment_id: str, tags: Mapping[str, str]
    ) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._tags = dict(tags)

    def begin(self, run_id: str, model_dir: Path, model_id: str | None) -> LoggedModel:
        """Make the record of a model that a run logs, and write it into the model's folder.

        Args:
            run_id: The run that made it.
            model_dir: Folder in which a worker saved it, in MLflow's format.
            model_id: Id of the record that an interrupted process has made for it, if any.
        """
        if model_id is None:
            logged = self._client.create_logged_model(
                self._experiment_id, name=names.MODEL, source_run_id=run_id, tags=self._tags
            )
        else:
            logged = self._client.get_logged_model(model_id)
        _complete(
            model_dir / "MLmodel",
            run_id=run_id,
            model_id=logged.model_id,
            artifact_path=logged.artifact_location,
        )
        return logged

    def upload(self, logged: LoggedModel, model_dir: Path) -> None:
        """Move the files of a model to the store, in place of any that are there."""
        store = artifacts(self._client, logged.artifact_location)
        files.uninterrupted(store.log_artifacts, str(model_dir))
        shutil.rmtree(model_dir)

    def complete(self, logged: LoggedModel, run_id: str, num_epochs: int) -> None:
        """Record that a model, at step `num_epochs`, is complete: its files are on disk."""
        self._client.finalize_logged_model(logged.model_id, "READY")
        # Last, since this output marks a model as complete.
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, num_epochs)])

    def by_run(self) -> dict[str, LoggedModel]:
        """Return the study's existing models, the latest of each run that logged any."""
        models = sorted(self.every(), key=lambda model: model.creation_timestamp)
        return {str(m.source_run_id): m for m in models if m.status == "READY"}

    def whole_of(self, run_id: str) -> str | None:
        """Return the complete model of an interrupted process; remove incomplete ones."""
        outputs = self._client.get_run(run_id).outputs
        whole = [output.model_id for output in outputs.model_outputs] if outputs else []
        logged = self._search(f"source_run_id = '{run_id}'")
        for model in logged:
            if model.model_id not in whole:
                self._delete(model)
        # A model that was deleted since then is still among the outputs.
        there = {model.model_id for model in logged}
        return next((model_id for model_id in reversed(whole) if model_id in there), None)

    def drop(self, runs: Container[str]) -> None:
        """Remove the models of some runs, except those that are registered as versions."""
        for model in self.every():
            if model.source_run_id in runs and MLFLOW_MODEL_VERSIONS not in model.tags:
                self._delete(model)

    def every(self) -> list[LoggedModel]:
        """Return the models of the study, including incomplete ones."""
        return self._search(f"tags.`{names.STUDY_ID}` = '{self._tags[names.STUDY_ID]}'")

    def _search(self, query: str) -> list[LoggedModel]:
        return list(
            history.pages(
                self._client.search_logged_models,
                experiment_ids=[self._experiment_id],
                filter_string=query,
            )
        )

    def _delete(self, model: LoggedModel) -> None:
        # The record first: files without a record do no harm.
        self._client.delete_logged_model(model.model_id)
        artifacts(self._client, model.artifact_location).delete_artifacts()


def artifacts(client: mlflow.MlflowClient, uri: str) -> Any:
    """Return the artifact store of an address; the client itself would ask the store first."""
    return get_artifact_repository(uri, tracking_uri=client.tracking_uri)


def logged_model_id(client: mlflow.MlflowClient, run_id: str) -> str:
    """Return the id of the model that a run logged last.

    Raises:
        MlflowException: If it has logged none.
    """
    outputs = client.get_run(run_id).outputs
    if outputs is None or not outputs.model_outputs:
        raise MlflowException(f"Run {run_id} has logged no model.")
    return str(outputs.model_outputs[-1].model_id)


def _complete(mlmodel: Path, **fields: str) -> None:
    """Set top-level fields of a model's description, as `mlflow.models.Model` would.

    It works line by line: parsing the YAML takes a quarter of the time that a trial may cost.
    """
    replaced = tuple(f"{field}:" for field in fields)
    lines = mlmodel.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(replaced)]
    added = [f"{field}: {json.dumps(value)}" for field, value in fields.items()]
    files.write_scratch(mlmodel, "\n".join([*kept, *added]) + "\n")
