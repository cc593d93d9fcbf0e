"""The network and its training in plain Keras, the same for every peer."""

from collections.abc import Mapping
from typing import Any

import keras


def build(values: Mapping[str, Any], images: Any, labels: Any) -> Any:
    """Return the compiled network of `conf/model/mlp.yaml` and `tuner/models/mlp.py`.

    Args:
        values: `units_1` and `units_2` are the widths of the hidden layers. If `dropout` is
            there, it follows each of them; `learning_rate` is Adam's.
        images: The training images; their shape is that of its input.
        labels: Their classes; the number of classes is that of its outputs.
    """
    model = keras.Sequential(
        [
            keras.Input(shape=images.shape[1:], dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
        ]
    )
    for name in ("units_1", "units_2"):
        model.add(keras.layers.Dense(values[name], activation="relu"))
        if "dropout" in values:
            model.add(keras.layers.Dropout(values["dropout"]))
    model.add(keras.layers.Dense(int(labels.max()) + 1, activation="softmax"))
    model.compile(
        keras.optimizers.Adam(values.get("learning_rate", 1e-3)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def fit(
    model: Any,
    batch_size: int,
    values: Mapping[str, Any],
    splits: dict[str, Any],
    **arguments: Any,
) -> dict[str, list[float]]:
    """Train the network with `model.fit`, and return each metric as a list over the epochs.

    Args:
        model: The compiled network.
        batch_size: Images per training step.
        values: `epochs` is the number of epochs to train.
        splits: The images.
        **arguments: Other arguments of `model.fit`.
    """
    history = model.fit(
        splits["train_images"],
        splits["train_labels"],
        batch_size=batch_size,
        epochs=values["epochs"],
        validation_data=(splits["validation_images"], splits["validation_labels"]),
        verbose=0,
        **arguments,
    )
    return dict(history.history)
