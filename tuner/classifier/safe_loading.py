"""Loads models of the store without running any code that is not Keras's own.

MLflow's own loader imports or unpickles whatever a model's folder names. Here the folder is
only read as data: MLflow's description of the model, and the `.keras` file in safe mode, after
a comparison with its checksum in the registry.
"""

from __future__ import annotations

import logging
import re
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from mlflow.exceptions import MlflowException

from tuner.classifier import lookup
from tuner.classifier.lookup import FoundModel
from tuner.drawings import Form, Steps
from tuner.errors import GlassyError, ModelError, wants_memory
from tuner.evaluation import measures
from tuner.evaluation.measures import Probabilities
from tuner.images import image_files
from tuner.images.image_files import ImageFiles
from tuner.models import DIRECTIONS
from tuner.models.custom_objects import CustomObjects, permitted
from tuner.runtime import cards, tensorflow_setup
from tuner.tracking import (
    checksums,
    history,
    plain_yaml,
    tracking_store,
    trial_card,
    trial_epochs,
)
from tuner.wording import first_line

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

_SHOWN_CLASSES = 10

BATCH_SIZE = 256
"""Number of images per batch, so that ten thousand images need no more memory than these."""


@dataclass(frozen=True)
class FilePredictions:
    """A model's predictions for image files.

    Attributes:
        files: The files, the images shown to the model, and whether they have any ink.
        probabilities: float32 `(num_files, classes)`; NaN for a file without ink, for which a
            model of drawings has no prediction.
        classes: The names of the classes.
    """

    files: ImageFiles
    probabilities: Probabilities
    classes: tuple[str, ...]

    @property
    def names(self) -> tuple[str | None, ...]:
        """The name of each file's most probable class; None for a file without ink."""
        return tuple(
            self.classes[label] if has_ink else None
            for label, has_ink in zip(
                self.probabilities.argmax(axis=1), self.files.has_ink, strict=True
            )
        )


@dataclass(frozen=True, repr=False)
class Classifier:
    """A model, ready to predict; `tuner.load` returns one.

    Attributes:
        source: Where it was found.
        classes: The names of the classes; label `i` is `classes[i]`.
        image_shape: Shape of one image, `(height, width)` or `(height, width, channels)`.
        form: Form of the drawings it was trained on; None if its data are not drawings.
        data: Name of the data it was trained on.
        data_digest: Digest of those data.
        model: The Keras model.
    """

    source: FoundModel
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    form: Form | None
    data: str
    data_digest: str
    model: keras.Model
    _tracking_uri: str = field(default="", repr=False, compare=False)

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
        # Called directly, since `model.predict` would first compile for a second.
        batches = [
            np.asarray(self.model(given[start : start + BATCH_SIZE], training=False))
            for start in range(0, len(given), BATCH_SIZE)
        ]
        if not batches:
            return np.empty((0, len(self.classes)), np.float32)
        return measures.as_probabilities(np.concatenate(batches), len(given), len(self.classes))

    def predict_files(
        self, paths: Sequence[Path | str], steps: Steps | None = None
    ) -> FilePredictions:
        """Classify image files of any size, brought into the form of the training images.

        Args:
            paths: The files.
            steps: The steps that prepare drawings; all by default.

        Returns:
            The prediction for each file, in the order of `paths`. A blank or black drawing, or
            a picture that is fully transparent, has no prediction: its name is None.

        Raises:
            DataError: If any of them is not an image, naming all that are not.
        """
        given = [Path(path) for path in paths]
        return self.predict_read(image_files.read(given, self.image_shape, self.form, steps))

    def predict_read(self, files: ImageFiles) -> FilePredictions:
        """Classify files that `tuner.images.image_files.read` has read for this model."""
        probabilities = self.predict_proba(files.images)
        probabilities[~files.has_ink] = np.nan
        return FilePredictions(files, probabilities, self.classes)

    def __repr__(self) -> str:
        """Show where it was found and what it classifies."""
        return f"Classifier({self.source.title!r}, {len(self.classes)} classes of {self.data})"

    def _repr_html_(self) -> str:
        num_classes = len(self.classes)
        shown = ", ".join(self.classes[:_SHOWN_CLASSES])
        more = f", … ({num_classes} in all)" if num_classes > _SHOWN_CLASSES else ""
        rows: list[tuple[str, object]] = [
            ("data", f"{self.data} ({self.data_digest[:8]})"),
            ("classes", f"{shown}{more}"),
            ("images", f"uint8, {' x '.join(map(str, self.image_shape))}"),
            ("parameters", f"{self.model.count_params():,}"),
        ]
        trained, picture = _recorded(self._tracking_uri, self.source.run_id)
        return cards.card(f"Classifier {self.source.title}", [*rows, *trained], picture)


def _recorded(uri: str, run_id: str | None) -> tuple[trial_card.Rows, str]:
    """Return what is recorded of a model's training: rows and a picture; empty if nothing."""
    if not uri or run_id is None:
        return [], ""
    try:
        client = tracking_store.connect_to_existing(uri)
        trial = history.read_trial(client.get_run(run_id))
        objective = next((name for name in DIRECTIONS if name in trial.metrics), "")
        epochs = trial_epochs.epochs(client, trial, (objective, objective.removeprefix("val_")))
    # The store may be gone, and the run may have been logged by somebody else.
    except (GlassyError, MlflowException, KeyError):
        return [], ""
    rows = [*trial_card.values(trial.values), *trial_card.test_accuracy(trial.metrics)]
    return rows, trial_card.curve(epochs, objective)


def load(
    model: str, *, tracking_uri: str | None = None, custom_objects: CustomObjects = None
) -> Classifier:
    """Load a model of the store, safely.

    The file of a registry version is compared with the SHA-256 in the version's tag
    `tuner.sha256` before Keras sees it. A version without the tag, such as one registered by
    hand, is loaded with a warning.

    Args:
        model: `<name>`, which is `models:/<name>@champion`; `models:/<name>@<alias>`,
            `models:/<name>/<version>`, `models:/<model id>` or `runs:/<run>/model`.
        tracking_uri: Address of the store; None for `MLFLOW_TRACKING_URI` or, if that is not
            set, `sqlite:///mlflow.db` in the current folder.
        custom_objects: What the model may hold besides Keras's own layers: modules of your own
            (`"my_layers"`, a module, or a list of them), which are imported and whose code then
            runs, or a mapping from names to classes and functions.

    Raises:
        ConfigError: If a module cannot be imported.
        UserError: If there is no such model, its file was altered, or it holds something that
            is neither Keras's own nor permitted.
        UnavailableError: If the store does not answer.
    """
    client = tracking_store.connect_to_existing(tracking_uri)
    found = lookup.find(client, model)
    # A folder that nobody else can write to: the checked files are the ones that are loaded.
    with tempfile.TemporaryDirectory(prefix="glassy-") as folder:
        description = lookup.fetch(client, found, checksums.DESCRIPTION_FILE, Path(folder))
        metadata = _metadata(found, description)
        file = lookup.fetch(client, found, checksums.MODEL_FILE, Path(folder))
        _check_files(found, file, description)
        loaded = _classifier(found, metadata, file, custom_objects)
    return replace(loaded, _tracking_uri=client.tracking_uri)


def load_folder(folder: Path, what: str, custom_objects: CustomObjects = None) -> Classifier:
    """Load a model that `packaging.save` has just written, as `load` will load it.

    Args:
        folder: The model's folder, in MLflow's format.
        what: The model's name in messages.
        custom_objects: See `load`.

    Raises:
        ModelError: If it cannot be loaded.
    """
    found = FoundModel(what, str(folder), None)
    metadata = _metadata(found, folder / checksums.DESCRIPTION_FILE)
    return _classifier(found, metadata, folder / checksums.MODEL_FILE, custom_objects)


def _classifier(
    found: FoundModel, metadata: dict[str, Any], file: Path, custom_objects: CustomObjects
) -> Classifier:
    form = metadata.get("form")
    classifier = Classifier(
        found,
        classes=tuple(map(str, metadata["class_names"])),
        image_shape=tuple(metadata["image_shape"]),
        form=Form.from_dict(form) if form else None,
        data=str(metadata.get("data")),
        data_digest=str(metadata.get("data_digest")),
        model=load_file(file, found.reference, custom_objects),
    )
    _check_form(classifier)
    return classifier


def _metadata(found: FoundModel, description: Path) -> dict[str, Any]:
    """Return the metadata that `packaging.save` has written next to a model's file."""
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
    """Refuse files that are not the ones that were registered."""
    version = found.version
    if version is None:
        return
    for tag in checksums.missing_tags(version.tags):
        logger.warning(
            "%s has no tag %s, so it cannot be verified that its file is the one that was "
            "registered.",
            found.title,
            tag,
        )
    differing = checksums.differing(found.title, version.tags, file, description)
    for name, why in differing.items():
        raise _unusable(
            found.reference,
            f"{name} in {found.location} is not the file that was registered: {why}. Restore "
            f"the file, or register the model again",
        )


def load_file(path: Path, what: str, custom_objects: CustomObjects = None) -> keras.Model:
    """Load a `.keras` file in Keras's safe mode, not compiled.

    Args:
        path: The file.
        what: The model's name in messages.
        custom_objects: See `load`.

    Raises:
        ConfigError: If a module cannot be imported, or Keras does not run on TensorFlow.
        ModelError: If it is damaged, needs more memory than there is, or holds something that
            is neither Keras's own nor permitted.
    """
    tensorflow_setup.import_tensorflow()
    import keras

    known = permitted(custom_objects)
    try:
        return keras.models.load_model(
            path, custom_objects=known, compile=False, safe_mode=True
        )
    except Exception as error:
        # Any exception: it depends on the damage, or on what somebody has put into the file.
        raise _unusable(what, _why_not(error, path)) from error


def _why_not(error: Exception, path: Path) -> str:
    """Say why Keras does not load a file, in words that follow "because"."""
    text = str(error)
    if wants_memory(error):
        return f"it needs more memory than there is ({first_line(error)})"
    if "`Lambda` layer" in text:
        return (
            "it holds a Lambda layer, whose code could do anything. Only Keras's own layers "
            "are loaded, and no other code: make it a registered class of your own, in a "
            "module that `custom_objects` permits"
        )
    if unknown := re.search(r"Could not locate (class|function) '([^'\n]{1,100})'", text):
        return (
            f"it holds the {unknown[1]} {unknown[2]!r}, which is not Keras's own. If you trust "
            f"the model, permit the module that defines {unknown[2]}: "
            f"custom_objects=<module> (model.custom_objects=<module> in a search)"
        )
    if not zipfile.is_zipfile(path):
        return f"its file is damaged: it is not a .keras archive ({path.stat().st_size} bytes)"
    if isinstance(error, zipfile.BadZipFile | EOFError | OSError | KeyError | zlib.error):
        return f"its file is damaged ({first_line(error)})"
    return (
        f"it holds something that Keras's safe mode does not know ({first_line(error)}). Only "
        f"Keras's own layers are loaded, and no other code"
    )


def _check_form(classifier: Classifier) -> None:
    """Refuse a model whose input or output does not match its description.

    It is shown images just as the worker has shown it some: how Keras treats a channel axis or
    a batch size in the model's Input is left to Keras.
    """
    from tuner.models.building import answer, reason_of

    shape, num_classes = classifier.image_shape, len(classifier.classes)
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    try:
        answer(classifier.model, images, num_classes)
    except Exception as error:
        # Any exception: it is the model's own computation.
        if wants_memory(error):
            raise _unusable(
                classifier.source.reference,
                f"it needs more memory than there is ({first_line(error)})",
            ) from error
        expected = f"{(None, *shape)} and {(None, num_classes)}"
        raise _unusable(
            classifier.source.reference,
            f"it must take and return arrays of the shapes {expected}, as its description "
            f"says, but: {reason_of(error).rstrip('.')}",
        ) from error


def _unusable(what: str, why: str) -> ModelError:
    return ModelError(f"The model {what} cannot be loaded: {why}.")
