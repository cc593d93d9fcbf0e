"""Whether a run's model is still what the run logged, before anything is claimed of it."""

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
    """Return the SHA-256 of a run's model, whose file is there and is what was logged.

    Args:
        client: Client of the store that the run is in.
        run_id: The run.
        registered: What the model's version in the registry says, if it is one; it counts where
            the run says nothing. A model that was damaged and made again has a new checksum in
            its run alone.

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
        f"The model of run {run_id} is damaged or gone ({what}), so nothing is registered of "
        f"it. Give the study's own tuner.search command again: it makes the model again."
    )
