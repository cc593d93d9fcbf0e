"""Models of the store, loaded so that nothing runs which is not Keras's own.

MLflow's own loader imports or unpickles what a model's folder tells it to. Here the folder is
read as data alone: MLflow's description of the model, and the `.keras` file in safe mode, after
it was compared with the checksum that the registry has of it.
"""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner import checksums, evaluation, images, plain_yaml, references, store
from tuner.drawings import Form, Steps
from tuner.errors import ModelError
from tuner.evaluation import Probabilities
from tuner.images import ImageFiles
from tuner.references import FoundModel

logger = logging.getLogger(__name__)

BATCH_SIZE = 256
"""Images that are predicted at once, so that ten thousand need no more memory than these."""


@dataclass(frozen=True)
class FilePredictions:
    """What a model takes image files for.

    Attributes:
        files: The files, and what the model was shown of them.
        probabilities: float32 `(num_files, classes)`.
        classes: The names of the classes.
    """

    files: ImageFiles
    probabilities: Probabilities
    classes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each file's most probable class."""
        return tuple(self.classes[label] for label in self.probabilities.argmax(axis=1))


@dataclass(frozen=True)
class Classifier:
    """A model, ready to predict; `tuner.load` returns one.

    Attributes:
        source: Where it was found.
        classes: The names of the classes; label `i` is `classes[i]`.
        image_shape: Of one image, `(height, width)` or `(height, width, channels)`.
        form: How drawings look in the data it was trained on; None if those are no drawings.
        data: Name of those data.
        data_digest: Of those data.
        model: The Keras model.
    """

    source: FoundModel
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    form: Form | None
    data: str
    data_digest: str
    model: Any

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return the most probable class of each image, int64 `(n,)`.

        Args:
            images: Raw images, uint8 `(n, *image_shape)`.

        Raises:
            ValueError: If the images are of another shape or dtype.
        """
        labels: npt.NDArray[np.int64] = self.predict_proba(images).argmax(axis=1)
        return labels

    def predict_proba(self, images: npt.NDArray[np.uint8]) -> Probabilities:
        """Return the probability of each class for each image.

        Args:
            images: Raw images, uint8 `(n, *image_shape)`.

        Returns:
            float32 `(n, classes)`; each row sums to 1.

        Raises:
            ValueError: If the images are of another shape or dtype, or the model does not
                return probabilities.
        """
        given = np.asarray(images)
        if given.dtype != np.uint8 or given.shape[1:] != self.image_shape or not given.ndim:
            shape = ", ".join(["n", *map(str, self.image_shape)])
            raise ValueError(
                f"`images` must be raw images, uint8 from 0 to 255 of shape ({shape}), but got "
                f"{given.dtype} of shape {given.shape}."
            )
        # Called rather than `model.predict`, which compiles for a second first.
        batches = [
            np.asarray(self.model(given[start : start + BATCH_SIZE], training=False))
            for start in range(0, len(given), BATCH_SIZE)
        ]
        if not batches:
            return np.empty((0, len(self.classes)), np.float32)
        return evaluation.as_probabilities(
            np.concatenate(batches), len(given), len(self.classes)
        )

    def predict_files(
        self, paths: Sequence[Path | str], steps: Steps | None = None
    ) -> FilePredictions:
        """Classify image files of any size, brought to the form of the training images.

        Args:
            paths: The files.
            steps: What is done to drawings; all by default.

        Raises:
            DataError: If any of them is no image, naming all that are not.
        """
        files = images.read([Path(path) for path in paths], self.image_shape, self.form, steps)
        return FilePredictions(files, self.predict_proba(files.images), self.classes)


def load(model: str, *, tracking_uri: str | None = None) -> Classifier:
    """Load a model of the store, safely.

    The file of a registry version is compared with the SHA-256 in the version's tag
    `tuner.sha256` before Keras sees it. A version without the tag, as one that was registered
    by hand, is loaded with a warning.

    Args:
        model: `<name>`, which is `models:/<name>@champion`; `models:/<name>@<alias>`,
            `models:/<name>/<version>`, `models:/<model id>` or `runs:/<run>/model`.
        tracking_uri: Of the store; None for `MLFLOW_TRACKING_URI`, and without that for
            `sqlite:///mlflow.db` in the current folder.

    Raises:
        UserError: If there is no such model, its file was altered, or it holds what is not
            Keras's own.
        UnavailableError: If the store does not answer.
    """
    client = store.connect(tracking_uri)
    found = references.find(client, model)
    # A folder that nobody else can write to: what is checked is what is loaded.
    with tempfile.TemporaryDirectory(prefix="glassy-") as folder:
        description = references.fetch(client, found, checksums.DESCRIPTION_FILE, Path(folder))
        metadata = _metadata(found, description)
        file = references.fetch(client, found, checksums.MODEL_FILE, Path(folder))
        _check_files(found, file, description)
        loaded = load_file(file, found.reference)
    form = metadata.get("form")
    classifier = Classifier(
        found,
        classes=tuple(map(str, metadata["class_names"])),
        image_shape=tuple(metadata["image_shape"]),
        form=Form.from_dict(form) if form else None,
        data=str(metadata.get("data")),
        data_digest=str(metadata.get("data_digest")),
        model=loaded,
    )
    _check_shapes(classifier)
    return classifier


def _metadata(found: FoundModel, description: Path) -> dict[str, Any]:
    """Return what `packaging.save` has written of a model beside its file."""
    try:
        said = plain_yaml.read(description.read_bytes())
    except plain_yaml.NotPlain as error:
        raise _unusable(
            found.reference, f"its file {description.name} is damaged ({error})"
        ) from error
    metadata = (said.get("metadata") if isinstance(said, dict) else None) or {}
    if not {"class_names", "image_shape"} <= metadata.keys():
        raise _unusable(
            found.reference,
            "it must be a model that tuner.search has logged, but does not name its classes "
            "and the shape of its images",
        )
    for key, kind in (("class_names", str), ("image_shape", int)):
        values = metadata[key]
        if not isinstance(values, list) or not all(type(value) is kind for value in values):
            raise _unusable(
                found.reference,
                f"its file {description.name} is damaged (`{key}` must be a list of "
                f"{'names' if kind is str else 'whole numbers'})",
            )
    return dict(metadata)


def _check_files(found: FoundModel, file: Path, description: Path) -> None:
    """Refuse files that are not those that were registered."""
    version = found.version
    if version is None:
        return
    for tag in checksums.missing_tags(version.tags):
        logger.warning(
            "%s has no tag %s, so nothing tells whether its file is the one that was "
            "registered.",
            found.title,
            tag,
        )
    differing = checksums.differing(found.title, version.tags, file, description)
    for name, why in differing.items():
        raise _unusable(
            found.reference,
            f"{name} in {found.location} is not the file that was registered: {why}. Bring the "
            f"file back, or register the model again",
        )


def load_file(path: Path, what: str) -> Any:
    """Load a `.keras` file in Keras's safe mode, not compiled.

    Args:
        path: The file.
        what: How a message calls the model.

    Raises:
        ModelError: If it is damaged, or holds what is not Keras's own.
    """
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Anything: Keras raises what the damage, or what somebody has put there, leads to.
        found = "a Lambda layer, whose code could do anything"
        if "`Lambda` layer" not in str(error):
            found = f"what Keras's safe mode does not know ({_first_line(error)})"
        raise _unusable(
            what,
            f"it holds {found}. Only Keras's own layers are loaded, and no code beside them",
        ) from error


def _check_shapes(classifier: Classifier) -> None:
    """Refuse a model that is not of the form that its description says."""
    expected = (None, *classifier.image_shape), (None, len(classifier.classes))
    actual = classifier.model.input_shape, classifier.model.output_shape
    if actual != expected:
        raise _unusable(
            classifier.source.reference,
            f"it must take and return arrays of the shapes {expected[0]} and {expected[1]}, as "
            f"its description says, but takes {actual[0]} and returns {actual[1]}",
        )


def _unusable(what: str, why: str) -> ModelError:
    return ModelError(f"The model {what} cannot be loaded: {why}.")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
