"""The network and its training in plain Keras, the same for every peer."""

from typing import Any

import keras

from benchmarks.job import Job, Values


def build(values: Values, images: Any, labels: Any) -> Any:
    """Return the compiled network of `conf/model/mlp.yaml` and `tuner/models/mlp.py`.

    Args:
        values: `units_1` and `units_2` are the widths of the hidden layers.
        images: The training images; their shape is that of its input.
        labels: Their classes; the number of classes is that of its outputs.
    """
    model = keras.Sequential(
        [
            keras.Input(shape=images.shape[1:], dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(values["units_1"], activation="relu"),
            keras.layers.Dense(values["units_2"], activation="relu"),
            keras.layers.Dense(int(labels.max()) + 1, activation="softmax"),
        ]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fit(
    model: Any, job: Job, values: Values, splits: dict[str, Any], **arguments: Any
) -> dict[str, list[float]]:
    """Train the network with `model.fit`, and return each metric as a list over the epochs.

    Args:
        model: The compiled network.
        job: The settings that all trials share.
        values: `epochs` is the number of epochs to train.
        splits: The images.
        **arguments: Other arguments of `model.fit`.
    """
    history = model.fit(
        splits["train_images"],
        splits["train_labels"],
        batch_size=job.batch_size,
        epochs=values["epochs"],
        validation_data=(splits["validation_images"], splits["validation_labels"]),
        verbose=0,
        **arguments,
    )
    return dict(history.history)
