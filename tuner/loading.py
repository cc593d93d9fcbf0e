"""A logged model, loaded so that nothing in its files is run: `tuner.load`.

MLflow's own loaders run the `loader_module` that a model's description names, and unpickle what
lies beside it. Here the description is only read, and of the files only what Keras has saved is
used, in Keras's safe mode, after its digest was compared with the registry's.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import numpy.typing as npt
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from tuner import images, store, training
from tuner.drawings import Form, Steps
from tuner.errors import ModelError, UserError
from tuner.evaluation import Probabilities, as_probabilities
from tuner.images import ImageFiles
from tuner.logged_models import artifacts
from tuner.registry import MODEL_FILE, SHA256, sha256_of

logger = logging.getLogger(__name__)

_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_DESCRIPTION = "MLmodel"


@dataclass(frozen=True)
class Prediction:
    """What an image file is taken for.

    Attributes:
        path: The file.
        name: The most probable class.
        probability: Its probability, in `[0, 1]`.
        probabilities: Those of all classes, float32 `(classes,)`.
    """

    path: Path
    name: str
    probability: float
    probabilities: Probabilities


class Classifier:
    """A model that `tuner.search` has logged, ready for images.

    Args:
        uri: What it was asked for by.
        model: From raw images to class probabilities.
        metadata: What its description says of it.
        version: In the registry, if it was asked for there.

    Attributes:
        classes: One name a class; label `i` is `classes[i]`.
        image_shape: `(height, width)` or `(height, width, channels)` of an image.
        form: How drawings look in the data it was trained on; None if those are no drawings.
    """

    def __init__(
        self,
        uri: str,
        model: keras.Model,
        metadata: dict[str, Any],
        version: ModelVersion | None = None,
    ) -> None:
        self.uri = uri
        self.metadata = metadata
        self.version = version
        self.classes = tuple(metadata["class_names"])
        self.image_shape = tuple(metadata["image_shape"])
        self.form = Form.from_dict(metadata["form"]) if metadata.get("form") else None
        self._model = model

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return the most probable class of each image, int64 `(n,)`; see `predict_proba`."""
        labels: npt.NDArray[np.int64] = self.predict_proba(images).argmax(axis=1)
        return labels

    def predict_proba(self, images: npt.NDArray[np.uint8]) -> Probabilities:
        """Return the probability of each class.

        Args:
            images: Raw, uint8 `(n, *image_shape)`, as those it was trained on.

        Returns:
            float32 `(n, classes)`; each row sums to 1.

        Raises:
            ValueError: If the images are of another shape or type.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape:
            shape = ", ".join(map(str, self.image_shape))
            raise ValueError(
                f"`images` must be raw images, uint8 of shape (n, {shape}), but are "
                f"{images.dtype} of shape {images.shape}."
            )
        if not len(images):
            return np.empty((0, len(self.classes)), np.float32)
        output = training.predict(self._model, images)
        return as_probabilities(output, len(images), len(self.classes))

    def read_files(self, paths: Sequence[Path], steps: Steps | None = None) -> ImageFiles:
        """Read image files and bring them to what the model was trained on.

        Args:
            paths: PNG, JPEG and others, of any size.
            steps: Which steps are taken with drawings; all by default.

        Raises:
            DataError: If a file is no image.
        """
        return images.read(paths, self.image_shape, self.form, steps or Steps())

    def predict_files(self, paths: Sequence[Path | str]) -> tuple[Prediction, ...]:
        """Say what image files are taken for.

        Args:
            paths: PNG, JPEG and others, of any size; drawings are brought to the form of the
                images that the model was trained on.

        Raises:
            DataError: If a file is no image.
        """
        files = [Path(path) for path in paths]
        images.check(files)
        rows = self.predict_proba(self.read_files(files).images)
        return tuple(
            Prediction(path, self.classes[row.argmax()], float(row.max()), row)
            for path, row in zip(files, rows, strict=True)
        )


def load(model: str, *, tracking_uri: str | None = None) -> Classifier:
    """Load a model that `tuner.search` has logged.

    Args:
        model: Name of a registered model, whose champion is meant;
            `models:/<name>@<alias>`, `models:/<name>/<version>`, `models:/<model id>`,
            `runs:/<run id>/model`, or a folder.
        tracking_uri: Of the store that it is in; None as for `tuner.search`.

    Raises:
        ModelError: If it has been altered, holds what Keras's safe mode does not know, or is
            not of `tuner.search`.
        UserError: If there is no such model, or its files are gone.
        UnavailableError: If the store does not answer.
    """
    uri = model if re.search(r"[:/\\]", model) else f"models:/{model}@champion"
    # Keras would draw progress bars.
    keras.config.disable_interactive_logging()
    client = store.connect(tracking_uri)
    version = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            version = _version(client, uri)
            source = uri
            if version is not None:
                source = client.get_model_version_download_uri(version.name, version.version)
            files = artifacts(client, source)
            description = Path(files.download_artifacts(_DESCRIPTION, folder))
            path = Path(files.download_artifacts(MODEL_FILE, folder))
        except (MlflowException, OSError) as error:
            found = client.search_registered_models()
            known = ", ".join(sorted(registered.name for registered in found)) or "none"
            raise UserError(
                f"`model={uri}` cannot be loaded: {str(error).splitlines()[0]} Give "
                f"models:/<name>@champion or models:/<name>/<version>; registered here: "
                f"{known}."
            ) from error
        if version is not None:
            _check(version, path)
        metadata = Model.load(str(description)).metadata or {}
        if not {"class_names", "image_shape"} <= metadata.keys():
            raise ModelError(
                f"`model={uri}` must be a model that tuner.search has logged: this one does "
                f"not name its classes and the shape of its images."
            )
        return Classifier(uri, load_file(path, f"model={uri}"), metadata, version)


def load_file(path: Path, what: str) -> keras.Model:
    """Load a `.keras` file in Keras's safe mode.

    Args:
        path: The file.
        what: How a message calls it.

    Raises:
        ModelError: If it is damaged, or holds what is not Keras's own.
    """
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (TypeError, ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"`{what}` cannot be loaded, since it is damaged or holds what Keras's safe mode "
            f"does not know, such as a layer of your own: {str(error).splitlines()[0]}"
        ) from error


def _version(client: mlflow.MlflowClient, uri: str) -> ModelVersion | None:
    """Return the version that a URI of the registry means."""
    match = _REGISTERED.fullmatch(uri)
    if match is None:
        return None
    name, alias = match["name"], match["alias"]
    if alias is not None:
        return client.get_model_version_by_alias(name, alias)
    return client.get_model_version(name, match["version"])


def _check(version: ModelVersion, path: Path) -> None:
    """Compare a copy of a version's file with what was registered.

    Raises:
        ModelError: If it is another one.
    """
    registered = version.tags.get(SHA256)
    if registered is None:
        logger.warning(
            "%s version %s has no tag %s, so nobody can say whether its file is the one that "
            "was registered: `python -m tuner.promote` sets it.",
            version.name,
            version.version,
            SHA256,
        )
    elif registered != sha256_of(path):
        raise ModelError(
            f"{version.name} version {version.version} has been altered: its file "
            f"{MODEL_FILE} is not the one that was registered (its SHA-256 is not that of the "
            f"tag {SHA256}). Put back the file, or give another version."
        )
