"""Model functions of a user's own: some that work, and some for each way to fail."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tuner.trial import Values

LOSS = "sparse_categorical_crossentropy"


def raises(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    raise KeyError("this model has a fault of its own")


def returns_nothing(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    return None


def not_compiled(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    return _model(image_shape, keras.layers.Dense(num_classes, activation="softmax"))


def one_class_too_many(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    return _compiled(
        _model(image_shape, keras.layers.Dense(num_classes + 1, activation="softmax"))
    )


def logits(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    model = _model(image_shape, keras.layers.Dense(num_classes))
    return _compiled(model, keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def two_outputs(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    model = _model(image_shape, keras.layers.Dense(num_classes, activation="softmax"))
    return _compiled(keras.Model(model.input, [model.output, model.output]), [LOSS, LOSS])


def other_images(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    return _compiled(_model((5, 5), keras.layers.Dense(num_classes, activation="softmax")))


def not_a_number(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    start = keras.initializers.Constant(float("nan"))
    return _compiled(
        _model(
            image_shape,
            keras.layers.Dense(num_classes, activation="softmax", kernel_initializer=start),
        )
    )


def no_memory(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    raise MemoryError


def no_device_memory(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")


def no_memory_to_train(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    return _compiled(
        _model(
            image_shape,
            NoMemoryToTrain(),
            keras.layers.Dense(num_classes, activation="softmax"),
        )
    )


def with_arguments(
    values: Values, image_shape: tuple[int, ...], num_classes: int, *, units: int
) -> Any:
    return _compiled(
        _model(
            image_shape,
            keras.layers.Dense(units),
            keras.layers.Dense(num_classes, activation="softmax"),
        )
    )


class NoMemoryToTrain(keras.layers.Layer):
    """It can predict."""

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            raise MemoryError
        return x


def falling_rate(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    """A learning rate that falls to nothing towards the last epoch."""
    model = _model(image_shape, keras.layers.Dense(num_classes, activation="softmax"))
    rate = keras.optimizers.schedules.CosineDecay(0.01, 5 * values["epochs"])
    model.compile(keras.optimizers.Adam(rate), LOSS, metrics=["accuracy"])
    return model


def all_values_at_once(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    assert {**values} == dict(values)
    return _compiled(_model(image_shape, keras.layers.Dense(num_classes, activation="softmax")))


# Models of which a test resumes the training, for 8 x 8 images in ten classes.


def mlp() -> Any:
    return _small()


def dropout_and_batch_norm() -> Any:
    return _small(hidden=[keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)])


def small_cnn() -> Any:
    images = keras.Input((8, 8), dtype="uint8")
    x = keras.layers.Reshape((8, 8, 1))(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="relu")(x))
    return _compiled(keras.Model(images, keras.layers.Dense(10, activation="softmax")(x)))


class UnseededNoise(keras.layers.Layer):
    """Draws Keras's global random numbers, whose state no layer keeps."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x + keras.random.normal(keras.ops.shape(x)) if training else x


def unseeded_noise() -> Any:
    return _small(hidden=[UnseededNoise()])


def averaged_weights() -> Any:
    model = _network()
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, LOSS, metrics=["accuracy"])
    return model


# Models with parts of a user's own, for 8 x 8 images in ten classes: all of them work.


def lambda_layer() -> Any:
    return _small(hidden=[keras.layers.Lambda(lambda x: 2 * x, output_shape=(64,))])


def own_activation() -> Any:
    return _small(activation=_twice_relu)


def nested_and_partly_frozen() -> Any:
    base = _model((8, 8), keras.layers.Dense(16, activation="relu"))
    base.trainable = False
    images = keras.Input((8, 8), dtype="uint8")
    classes = keras.layers.Dense(10, activation="softmax")
    return _compiled(keras.Model(images, classes(base(images))))


def adapted_normalization() -> Any:
    normalization = keras.layers.Normalization()
    # Mean 3, and a variance of 1: the numbers 2 and 4.
    normalization.adapt(np.repeat([[2.0], [4.0]], 64, axis=1).astype(np.float32))
    return _small(hidden=[normalization])


def weights_without_decay() -> Any:
    model = _network()
    model.compile(_sparing_optimizer(), LOSS, metrics=["accuracy"])
    return model


def weights_without_decay_scaled() -> Any:
    # As Keras wraps every optimiser in mixed precision.
    model = _network()
    optimizer = keras.optimizers.LossScaleOptimizer(_sparing_optimizer())
    model.compile(optimizer, LOSS, metrics=["accuracy"])
    return model


def augmented() -> Any:
    images = keras.Input((8, 8), dtype="uint8")
    x = keras.layers.Reshape((8, 8, 1))(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.RandomTranslation(0.1, 0.1, seed=1)(x)
    x = keras.layers.GaussianNoise(0.1, seed=2)(keras.layers.Flatten()(x))
    return _compiled(keras.Model(images, keras.layers.Dense(10, activation="softmax")(x)))


class OwnFit(keras.Model):
    def fit(self, *args: Any, **options: Any) -> Any:
        return super().fit(*args, **options)


def augmented_of_values(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    return augmented()


def own_fit_of_values(values: Values, image_shape: tuple[int, ...], num_classes: int) -> Any:
    base = _small()
    return _compiled(OwnFit(base.input, base.output))


def _sparing_optimizer() -> Any:
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=20.0)
    optimizer.exclude_from_weight_decay(var_names=["kernel", "bias"])
    return optimizer


def _twice_relu(x: Any) -> Any:
    return 2 * keras.ops.relu(x)


def _model(image_shape: tuple[int, ...], *layers: Any) -> Any:
    images = keras.Input(image_shape, dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    for layer in layers:
        x = layer(x)
    return keras.Model(images, x)


def _compiled(model: Any, loss: Any = LOSS) -> Any:
    model.compile("adam", loss, metrics=["accuracy"] if isinstance(loss, str) else None)
    return model


def _network(hidden: list[Any] | None = None, **options: Any) -> Any:
    dense = keras.layers.Dense(12, **{"activation": "relu", **options})
    return _model((8, 8), *(hidden or []), dense, keras.layers.Dense(10, activation="softmax"))


def _small(hidden: list[Any] | None = None, **options: Any) -> Any:
    return _compiled(_network(hidden, **options))
