"""The epochs themselves: train a compiled Keras model, the same way every time."""

from tuner.training.fitting import (
    fit,
    forget_models,
    predict,
    seed_everything,
    set_threads,
)

__all__ = ["fit", "forget_models", "predict", "seed_everything", "set_threads"]
