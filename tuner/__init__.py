"""Glassy: an experiment-tracking hyperparameter tuner for Keras image classifiers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.classifier.safe_loading import Classifier, load

__all__ = ["Classifier", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is public only when it is asked for: MLflow and TensorFlow take seconds."""
    if name in __all__:
        from tuner.classifier import safe_loading

        return getattr(safe_loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
