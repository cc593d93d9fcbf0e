"""Trains a compiled Keras model epoch by epoch, reproducibly."""

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
