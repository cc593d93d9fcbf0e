"""How well a logged model does on image files whose folder or name says their class."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tuner import images
from tuner.errors import UserError
from tuner.reports.records import OnDrawings


def measure(paths: Sequence[Path], run_id: str, tracking_uri: str) -> OnDrawings | None:
    """Classify files with the model of a run, and count the hits.

    Args:
        paths: Image files, as `tuner.images.find` finds them.
        run_id: Of a finished trial.
        tracking_uri: Of the store that it is in.

    Returns:
        None if the run's model has not been kept, or none of the files names a class of it.
    """
    # Not at the top: it imports TensorFlow.
    from tuner import loading

    # Every model is traced anew; TensorFlow takes that for a mistake.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        classifier = loading.load(f"runs:/{run_id}/model", tracking_uri=tracking_uri)
    except UserError:
        return None
    said = [(path, images.class_of(path, classifier.classes)) for path in paths]
    known = [(path, name) for path, name in said if name is not None]
    if not known:
        return None
    predictions = classifier.predict_files([path for path, _ in known])
    hits = sum(found == name for found, (_, name) in zip(predictions.names, known, strict=True))
    return OnDrawings(hits, len(known))
