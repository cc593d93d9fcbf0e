"""A dense network over the flattened image."""

from typing import Any

import keras

from tuner.trial import Values


def build(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    """Build and compile a multi-layer perceptron.

    Args:
        values: `layers`, `units_1` to `units_<layers>`, `activation`, `dropout` (a rate in
            `[0, 1)` after every hidden layer), `learning_rate`, `optimizer` and `transform`.
        image_shape: Shape of one image, `(height, width)` or `(height, width, channels)`.
        num_classes: Width of the softmax at the end.

    Returns:
        A compiled `keras.Model` from uint8 images `(n, *image_shape)` to probabilities
        `(n, num_classes)`, float32.
    """
    images = keras.Input(shape=image_shape, dtype="uint8", name="images")
    x = _transform(images, str(values["transform"]))
    x = keras.layers.Flatten()(x)
    for i in range(1, int(values["layers"]) + 1):
        x = keras.layers.Dense(values[f"units_{i}"], activation=values["activation"])(x)
        if values["dropout"]:
            x = keras.layers.Dropout(values["dropout"])(x)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="classes")(x)
    model = keras.Model(images, probabilities, name="mlp")
    optimizer = keras.optimizers.get(values["optimizer"])
    optimizer.learning_rate = values["learning_rate"]
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _transform(images: Any, transform: str) -> Any:
    """Bring pixels from [0, 255] to a range that training likes, inside the model."""
    scaled = keras.layers.Rescaling(1 / 255)(images)
    if transform == "l2_columns":
        # What `keras.utils.normalize(images, axis=1)` does: every column of pixels gets an
        # L2 norm of 1, and a column of zeros stays zero.
        return keras.layers.UnitNormalization(axis=1)(scaled)
    return scaled
