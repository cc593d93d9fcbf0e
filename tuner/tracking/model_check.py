"""Checks that a run's model is still the one that the run logged."""

import tempfile
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from tuner import names
from tuner.errors import ModelError, StudyError
from tuner.tracking import manifest
from tuner.tracking.checksums import MODEL_FILE, sha256_of
from tuner.tracking.logged_models import artifacts, logged_model_id
from tuner.tracking.manifest import Manifest
from tuner.wording import first_line


def digest_of_model(client: mlflow.MlflowClient, run_id: str, registered: str | None) -> str:
    """Check that a run's model is the one that was logged, and return its SHA-256.

    Args:
        client: Client of the store that the run is in.
        run_id: The run.
        registered: SHA-256 in the tags of the model's version, if it is registered; used if
            the run has none. A model that was damaged and made again has a new checksum only
            in its run.

    Raises:
        StudyError: If the run has logged no model.
        ModelError: If the model's file is gone, or is not the one that the run logged.
    """
    try:
        model_id = logged_model_id(client, run_id)
        uri = client.get_logged_model(model_id).artifact_location
    except MlflowException as error:
        raise StudyError(
            f"Run {run_id} has logged no model, or it has been deleted: search with "
            f"tracking.log_models=all, or give another run."
        ) from error
    logged = Manifest.decode(client.get_run(run_id).data.tags.get(names.FILES))
    expected = registered if logged is None else logged.model.get(MODEL_FILE, registered)
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = Path(artifacts(client, uri).download_artifacts(MODEL_FILE, folder))
            what = manifest.model_damage(path, expected)
            if what is None:
                return sha256_of(path)
        except (MlflowException, OSError) as error:
            what = first_line(error)
    raise ModelError(
        f"The model of run {run_id} is damaged or gone ({what}), so it is not registered. Give "
        f"the study's own tuner.search command again: it repairs the model."
    )
