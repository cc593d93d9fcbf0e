"""Glassy: an experiment-tracking hyperparameter tuner for Keras image classifiers."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.classifier.safe_loading import Classifier, load
    from tuner.datasets import LabelledImages
    from tuner.drawings import measure, prepare
    from tuner.study.running import run_study
    from tuner.study.study import Study, Trial, list_studies, open_study

__all__ = [
    "Classifier",
    "LabelledImages",
    "Study",
    "Trial",
    "list_studies",
    "load",
    "measure",
    "open_study",
    "prepare",
    "run_study",
]

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "tuner.classifier.safe_loading",
    "LabelledImages": "tuner.datasets",
    "Study": "tuner.study.study",
    "Trial": "tuner.study.study",
    "list_studies": "tuner.study.study",
    "load": "tuner.classifier.safe_loading",
    "measure": "tuner.drawings",
    "open_study": "tuner.study.study",
    "prepare": "tuner.drawings",
    "run_study": "tuner.study.running",
}


def __getattr__(name: str) -> Any:
    """Import what is public only when it is asked for: MLflow and TensorFlow take seconds."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
