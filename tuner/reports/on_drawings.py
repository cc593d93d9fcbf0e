"""Measures a logged model on image files whose folder or name gives their class."""

from __future__ import annotations

import logging

from tuner.datasets import class_folders
from tuner.errors import UserError
from tuner.images import image_files
from tuner.images.image_files import Chosen
from tuner.reports.records import OnDrawings


def measure(drawings: Chosen, run_id: str, tracking_uri: str) -> OnDrawings | None:
    """Classify files with the model of a run, and count the hits.

    Args:
        drawings: Image files, as `tuner.images.image_files.find` finds them; those that cannot
            be read are not counted, and those without ink are wrong.
        run_id: Run of a finished trial.
        tracking_uri: Address of the store that holds it.

    Returns:
        None if the run's model has not been kept, or no file is labelled with one of its
        classes.
    """
    # Not imported at the top: it imports TensorFlow.
    from tuner.classifier import safe_loading

    # Every model is traced again, which TensorFlow would warn about.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        classifier = safe_loading.load(f"runs:/{run_id}/model", tracking_uri=tracking_uri)
    except UserError:
        return None
    said = class_folders.true_classes(drawings.paths, drawings.root, classifier.classes)
    true = {p: name for p, name in zip(drawings.paths, said, strict=True) if name is not None}
    if not true:
        return None
    files = image_files.read(
        list(true), classifier.image_shape, classifier.form, may_leave_out=True
    )
    found = classifier.predict_read(files)
    hits = sum(name == true[path] for path, name in zip(files.paths, found.names, strict=True))
    return OnDrawings(hits, len(files.paths))
