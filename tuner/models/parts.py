"""Parts that the built-in models share: their beginning, their hidden layers and their end."""

from collections.abc import Sequence

import keras

from tuner.models import NEUTRAL
from tuner.models import metrics as own_metrics
from tuner.models.augment import augment
from tuner.models.transforms import transform
from tuner.trial import Value, Values

DECAY_STEPS = 1000
"""Training steps over which the learning rate is multiplied by `learning_rate_decay`."""


def prepared(
    values: Values, image_shape: tuple[int, ...]
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the model's input, and the images as input to its first layer with weights.

    Args:
        values: `transform`, and the strengths `augment_…` that are not 0.
        image_shape: Shape of one image, `(height, width)` or `(height, width, channels)`.

    Returns:
        Symbolic uint8 `(n, *image_shape)`, and float32 `(n, height, width, channels)`.
    """
    images = keras.Input(shape=image_shape, dtype="uint8", name="images")
    changed = images
    if (augmentation := augment(image_shape, values)) is not None:
        changed = augmentation(images)
    return images, transform(str(values["transform"]), changed.shape[1:])(changed)


def regularizer(values: Values) -> keras.regularizers.Regularizer | None:
    """Return the penalty on large weights: `l2` times the sum of their squares; None for 0."""
    factor = _given(values, "l2")
    return keras.regularizers.L2(factor) if factor else None


def dense(values: Values, units: Value, features: keras.KerasTensor) -> keras.KerasTensor:
    """Add a hidden dense layer with `units` units, its activation and dropout."""
    layer = keras.layers.Dense(
        units, use_bias=not values["batch_norm"], kernel_regularizer=regularizer(values)
    )
    return dropped(activated(layer(features), values), values)


def activated(x: keras.KerasTensor, values: Values) -> keras.KerasTensor:
    """Add batch normalisation, if `batch_norm` is true, and `activation`."""
    if values["batch_norm"]:
        x = keras.layers.BatchNormalization()(x)
    return keras.layers.Activation(values["activation"])(x)


def dropped(x: keras.KerasTensor, values: Values) -> keras.KerasTensor:
    """Add dropout at the rate `dropout`, unless that is 0 or missing."""
    rate = _given(values, "dropout")
    return keras.layers.Dropout(rate)(x) if rate else x


def _given(values: Values, name: str) -> Value:
    """Return the value of a hyperparameter that not every trial has."""
    return values.get(name, NEUTRAL[name])


def classifier(
    values: Values,
    images: keras.KerasTensor,
    features: keras.KerasTensor,
    num_classes: int,
    name: str,
    metrics: Sequence[str] = (),
) -> keras.Model:
    """End a model with class probabilities, and compile it.

    Args:
        values: `optimizer`, `learning_rate`, `learning_rate_decay` (its factor per
            `DECAY_STEPS` steps, in `(0, 1]`; 1 if missing), `momentum` (of sgd and rmsprop, in
            `[0, 1)`; 0 if missing) and `l2`.
        images: The model's input.
        features: Input of the last layer, `(n, features)`.
        num_classes: Width of the softmax.
        name: The model's name.
        metrics: Metrics of `tuner.models.OWN_METRICS` that it reports besides its accuracy.

    Returns:
        A compiled `keras.Model` from uint8 images to probabilities `(n, num_classes)`, float32.
    """
    probabilities = keras.layers.Dense(
        num_classes,
        activation="softmax",
        kernel_regularizer=regularizer(values),
        name="classes",
    )(features)
    model = keras.Model(images, probabilities, name=name)
    optimizer = keras.optimizers.get(values["optimizer"])
    optimizer.learning_rate = rate = values["learning_rate"]
    decay = _given(values, "learning_rate_decay")
    if decay != 1:
        rate = keras.optimizers.schedules.ExponentialDecay(rate, DECAY_STEPS, decay)
    momentum = {"momentum": values["momentum"]} if "momentum" in values else {}
    if decay != 1 or momentum:
        optimizer = type(optimizer)(rate, **momentum)
    own_metrics.compile_built_in(model, optimizer, num_classes, metrics)
    return model
