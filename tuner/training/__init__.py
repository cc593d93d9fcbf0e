"""The epochs themselves: train a compiled Keras model, the same way every time."""

from tuner.training.fitting import (
    OnState,
    fit,
    forget_models,
    predict,
    seed_everything,
)
from tuner.training.state import TrainingState

__all__ = [
    "OnState",
    "TrainingState",
    "fit",
    "forget_models",
    "predict",
    "seed_everything",
]
