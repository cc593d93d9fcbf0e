"""Glassy: an experiment-tracking hyperparameter tuner for Keras image classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.loading import Classifier

__version__ = "0.1.0"


def load(model: str, *, tracking_uri: str | None = None) -> Classifier:
    """Load a model that `tuner.search` has logged; see `tuner.loading.load`."""
    # Not at the top: it imports TensorFlow.
    from tuner import loading

    return loading.load(model, tracking_uri=tracking_uri)
