"""Trainings that stop and are resumed, also in a process of their own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from support import models
from tuner import training
from tuner.config.schema import DataConfig
from tuner.curves.checkpoints import Checkpoint, TrainedEpoch
from tuner.datasets import ImageData, images
from tuner.runtime import tensorflow_setup
from tuner.training import TrainingState

# Before TensorFlow starts, in the processes that tests start too.
tensorflow_setup.set_threads(1)


def fitted(
    data: ImageData,
    name: str,
    engine: str,
    epochs: int,
    callbacks: Callable[[], list[Any]] = list,
    found: Checkpoint | None = None,
) -> tuple[Any, Checkpoint]:
    """Train, and return the model and the checkpoint after the last epoch."""
    training.forget_models()
    training.seed_everything(1)
    model = getattr(models, name)()
    states: list[TrainingState] = []

    def keep(is_last: bool, copy: Callable[[], TrainingState]) -> None:
        if is_last:
            states.append(copy())

    before = list(found.epochs) if found else []
    history = training.fit(
        model,
        data.train,
        data.validation,
        epochs=epochs,
        batch_size=32,
        seed=3,
        engine=engine,
        callbacks=callbacks(),
        initial_epoch=len(before),
        state=found.state if found else None,
        on_state=keep,
    ).history
    num_epochs = len(history["loss"]) if history else 0
    new = [
        TrainedEpoch({name: float(values[i]) for name, values in history.items()}, 0.0, "")
        for i in range(num_epochs)
    ]
    state = states[0] if states else found.state if found else None
    assert state is not None
    return model, Checkpoint([*before, *new], state)


def outcome(model: Any, checkpoint: Checkpoint, data: ImageData) -> dict[str, Any]:
    """Return all that must be the same."""
    return {
        "weights": [weight.tolist() for weight in model.get_weights()],
        "optimizer": [np.array(v).tolist() for v in model.optimizer.variables],
        "metrics": [dict(epoch.metrics) for epoch in checkpoint.epochs],
        "predictions": training.predict(model, data.test).tolist(),
    }


def part(folder: str, name: str, engine: str, epochs: str) -> None:
    """Train up to that epoch in this process, from the checkpoint of an earlier one."""
    config = DataConfig("tuner.datasets.digits.load", "digits", validation_split=0.15)
    data = images.load(config, seed=0)
    path = Path(folder, "checkpoint")
    found = Checkpoint.decode(path.read_bytes()) if path.exists() else None
    model, checkpoint = fitted(data, name, engine, int(epochs), found=found)
    path.write_bytes(checkpoint.encode())
    Path(folder, "outcome").write_text(json.dumps(outcome(model, checkpoint, data)))
