"""Compiled epochs train like Keras's own loop, and are compiled once for each form."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf

import tuner.models.mlp as models_mlp
from support.networks import VALUES
from tuner import training
from tuner.datasets import ImageData, Split
from tuner.errors import ModelError
from tuner.runtime import tensorflow_setup
from tuner.training import compiled, fitting, slow
from tuner.training.program_key import program_key

# Before any test makes TensorFlow start: the last bits depend on it.
tensorflow_setup.set_threads(1)

OPTIONS = {"epochs": 2, "batch_size": 16, "seed": 3}


@pytest.fixture(autouse=True)
def _no_programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    compiled.programs.clear()
    fitting.logged_reasons.clear()
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def train(digits: ImageData) -> Split:
    # 150 = 9 * 16 + 6: the last batch is a smaller one.
    return digits.train.take(np.arange(150))


@pytest.fixture(scope="module")
def validation(digits: ImageData) -> Split:
    return digits.validation.take(np.arange(100))


def mlp(dropout: float = 0.0, rate: Any = 0.01, **options: Any) -> Any:
    images = keras.Input((8, 8), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    # Without a bias, whose gradient before a batch norm is 0: Adam would scale up its rounding.
    x = keras.layers.Dense(12, use_bias=False, kernel_regularizer="l2")(x)
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(dropout)(x)
    model = keras.Model(
        images, keras.layers.Dense(10, activation="softmax", dtype="float32")(x)
    )
    options = {"metrics": ["accuracy"], **options}
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", **options)
    return model


def plain() -> Any:
    images = keras.Input((8, 8), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Dense(16, activation="relu")(x)
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def cnn() -> Any:
    images = keras.Input((8, 8), dtype="uint8")
    x = keras.layers.Reshape((8, 8, 1))(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D()(x))
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def noisy() -> Any:
    images = keras.Input((8, 8), dtype="uint8")
    x = keras.layers.GaussianNoise(0.1)(keras.layers.Rescaling(1 / 255)(images))
    outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x))
    model = keras.Model(images, outputs)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def augmented() -> Any:
    """Return a model whose layers hold constants and slices, as none of Keras's own do."""
    values = {**VALUES, "transform": "deslant", "augment_shift": 0.1, "augment_stroke": 0.5}
    return models_mlp.build(values, (8, 8), 10)


def schedule() -> Any:
    return mlp(rate=keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.5))


def weighted_metric() -> Any:
    return mlp(weighted_metrics=[keras.metrics.SparseTopKCategoricalAccuracy(3, name="top_3")])


def clipped() -> Any:
    model = plain()
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=0.5),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    return model


def averaged() -> Any:
    model = plain()
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class OwnStep(keras.Model):
    """A model that trains in its own way: half of the gradient."""

    def train_step(self, data: Any) -> Any:
        images, labels = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=labels, y_pred=self(images, training=True)) / 2
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}


def own_step() -> Any:
    base = plain()
    model = OwnStep(base.input, base.output)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def fitted(
    build: Any, train: Split, validation: Split, engine: str, **options: Any
) -> tuple[Any, Any]:
    training.forget_models()
    training.seed_everything(1)
    model = build()
    history = training.fit(model, train, validation, engine=engine, **{**OPTIONS, **options})
    return model, history


@pytest.mark.parametrize(
    ("engine", "build", "tolerance"),
    [
        *(
            ("graph", build, 0.0)
            for build in (plain, mlp, cnn, noisy, schedule, weighted_metric, clipped, averaged)
        ),
        ("graph", own_step, 0.0),
        *(("xla", build, 1e-5) for build in (mlp, own_step)),
    ],
)
def test_fit_agrees_with_keras(
    engine: str, build: Any, tolerance: float, train: Split, validation: Split
) -> None:
    ours, our_history = fitted(build, train, validation, engine)
    theirs, their_history = fitted(build, train, validation, "keras")
    for ours_, theirs_ in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=0, atol=tolerance)
    assert our_history.epoch == their_history.epoch == [0, 1]
    assert set(our_history.history) == set(their_history.history)
    for name, values in their_history.history.items():
        assert our_history.history[name] == pytest.approx(values, abs=10 * tolerance)


def test_fit_agrees_with_keras_on_class_weights(train: Split, validation: Split) -> None:
    weights = {0: 5.0, 3: 0.5}
    ours, _ = fitted(plain, train, validation, "graph", class_weight=weights)
    theirs, _ = fitted(plain, train, validation, "keras", class_weight=weights)
    unweighted, _ = fitted(plain, train, validation, "keras")
    first = ours.get_weights()[0]
    np.testing.assert_allclose(first, theirs.get_weights()[0], atol=1e-5)
    assert np.abs(first - unweighted.get_weights()[0]).max() > 1e-3


def test_fit_trains_in_mixed_precision(train: Split, validation: Split) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    model, history = fitted(plain, train, validation, "graph", epochs=8)
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert model.layers[-2].compute_dtype == "float16"
    _, theirs = fitted(plain, train, validation, "keras", epochs=8)
    assert history.history["loss"] == pytest.approx(theirs.history["loss"], abs=0.02)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_fit_draws_other_dropout_masks_for_every_batch(train: Split, validation: Split) -> None:
    losses = []
    for dropout in (0.0, 0.5):
        _, history = fitted(lambda d=dropout: mlp(d), train, validation, "graph")
        losses.append(history.history["loss"][-1])
    assert losses[1] > losses[0]


@pytest.mark.parametrize("engine", ["xla", "graph", "keras"])
def test_fit_in_two_parts_is_the_same_training(
    engine: str, train: Split, validation: Split
) -> None:
    whole, _ = fitted(lambda: mlp(0.3), train, validation, engine, epochs=5)
    parts, _ = fitted(lambda: mlp(0.3), train, validation, engine, epochs=2)
    options = {**OPTIONS, "epochs": 5, "initial_epoch": 2}
    training.fit(parts, train, validation, engine=engine, **options)
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_fit_again_with_a_model_of_the_same_form_uses_the_program(
    train: Split, validation: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = []
    train_step = keras.Model.train_step

    def counted(*args: Any, **kwargs: Any) -> Any:
        traced.append(1)
        return train_step(*args, **kwargs)

    # TensorFlow calls Python only while it traces.
    monkeypatch.setattr(keras.Model, "train_step", counted)
    first, _ = fitted(lambda: mlp(0.3), train, validation, "graph")
    num_traced = len(traced)
    assert num_traced > 0
    kept = [weight.copy() for weight in first.get_weights()]
    [program] = compiled.programs.values()
    second, _ = fitted(lambda: mlp(0.3), train, validation, "graph")
    faster, _ = fitted(lambda: mlp(0.3, rate=0.05), train, validation, "graph")
    assert list(compiled.programs.values()) == [program]
    assert len(traced) == num_traced
    for one, other in zip(kept, second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(faster.get_weights()[0] - kept[0]).max() > 1e-3
    # Later trainings with the program do not change the earlier models.
    for one, other in zip(kept, first.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_programs_are_told_apart(train: Split, validation: Split) -> None:
    def form(build: Any) -> str | None:
        # A trial begins with no layers, so that the same layers get the same names.
        training.forget_models()
        return program_key(build())

    others = [plain, mlp, lambda: mlp(0.2), cnn, clipped, averaged, schedule]
    assert len({form(build) for build in others}) == len(others)
    assert form(lambda: mlp(rate=0.1)) == form(lambda: mlp(rate=0.2))
    fitted(plain, train, validation, "graph")
    fitted(plain, train, validation, "graph", class_weight={1: 2.0})
    fitted(plain, train, validation, "graph", class_weight={1: 3.0})
    assert len(compiled.programs) == 3


def test_other_images_and_batches_share_a_program(train: Split, validation: Split) -> None:
    for images, batch_size in ((train, 16), (train, 32), (validation, 7)):
        ours, _ = fitted(plain, images, train, "graph", batch_size=batch_size)
        theirs, _ = fitted(plain, images, train, "keras", batch_size=batch_size)
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(compiled.programs) == 1


def test_programs_are_bounded(
    train: Split, validation: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MAX_PROGRAMS", 2)
    made = []
    for build in (plain, mlp, clipped):
        fitted(build, train, validation, "graph", epochs=1)
        made.append(list(compiled.programs.values())[-1])
    assert list(compiled.programs.values()) == made[1:]


def test_model_of_an_own_class_is_not_kept(train: Split, validation: Split) -> None:
    fitted(own_step, train, validation, "graph")
    assert len(compiled.programs) == 0


def test_programs_of_the_two_engines_are_told_apart(
    train: Split, validation: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_xla: list[set[bool]] = []
    function = tf.function

    def noted(*args: Any, **kwargs: Any) -> Any:
        by_xla[-1].add(bool(kwargs.get("jit_compile")))
        return function(*args, **kwargs)

    monkeypatch.setattr(tf, "function", noted)
    for engine in ("graph", "xla"):
        by_xla.append(set())
        fitted(plain, train, validation, engine, epochs=1)
    assert len(compiled.programs) == 2
    assert (True in by_xla[0], True in by_xla[1]) == (False, True)


class Recorder(keras.callbacks.Callback):
    """Writes down what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.calls.append(("train_begin",))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(("epoch_begin", epoch))

    def on_test_begin(self, logs: Any = None) -> None:
        self.calls.append(("test_begin",))

    def on_test_end(self, logs: Any = None) -> None:
        self.calls.append(("test_end", sorted(logs)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(("epoch_end", epoch, sorted(logs)))

    def on_train_end(self, logs: Any = None) -> None:
        self.calls.append(("train_end", sorted(logs)))


def test_callbacks_are_called_as_keras_calls_them(train: Split, validation: Split) -> None:
    ours, theirs = Recorder(), Recorder()
    fitted(plain, train, validation, "graph", callbacks=[ours])
    fitted(plain, train, validation, "keras", callbacks=[theirs])
    assert ours.calls == theirs.calls
    assert len(ours.calls) == 2 + 2 * 4


@pytest.mark.parametrize("engine", ["graph", "keras"])
def test_early_stopping_restores_the_best_weights(
    engine: str, train: Split, validation: Split
) -> None:
    stopper = keras.callbacks.EarlyStopping(
        "val_accuracy", mode="min", patience=2, restore_best_weights=True
    )
    model, history = fitted(plain, train, validation, engine, epochs=9, callbacks=[stopper])
    first, _ = fitted(plain, train, validation, engine, epochs=1)
    assert len(history.epoch) == 3
    for one, other in zip(model.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("times", [1, 2])
def test_learning_rate_is_reduced(times: int, train: Split, validation: Split) -> None:
    # The second time with a program that is kept, whose optimiser is another.
    for _ in range(times):
        reducer = keras.callbacks.ReduceLROnPlateau(
            "val_loss", factor=0.1, patience=0, min_delta=100.0, min_lr=0.0
        )
        model, history = fitted(
            plain, train, validation, "graph", epochs=3, callbacks=[reducer]
        )
    assert history.history["learning_rate"] == pytest.approx([1e-3, 1e-3, 1e-4])
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-5)


class EveryBatch(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.count += 1


def test_hook_for_every_batch_falls_back_and_says_so_once(
    train: Split, validation: Split, caplog: pytest.LogCaptureFixture
) -> None:
    counter = EveryBatch()
    with caplog.at_level(logging.INFO, "tuner"):
        fitted(plain, train, validation, "graph", callbacks=[counter])
        fitted(plain, train, validation, "graph", callbacks=[counter])
    assert counter.count == 2 * 2 * 10
    [record] = caplog.records
    hooked = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_: None)
    assert "LambdaCallback has a hook" in str(fitting.find_obstacle(plain(), [hooked]))
    unhooked = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: None)
    assert fitting.find_obstacle(plain(), [unhooked]) is None
    assert "EveryBatch has a hook for every batch (on_train_batch_end)" in record.getMessage()


class PythonInside(keras.layers.Layer):
    """Counts something in Python, which XLA cannot."""

    def call(self, x: Any) -> Any:
        counted = tf.numpy_function(lambda value: value, [x], tf.float32)
        return tf.ensure_shape(counted, x.shape)


def with_layer(layer: Any) -> Any:
    """Return a small network with a layer of images `(n, 8, 8, 1)` in it."""
    images = keras.Input((8, 8), dtype="uint8")
    x = keras.layers.Reshape((8, 8, 1))(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Flatten()(layer(x))
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_model_that_cannot_be_compiled_falls_back(
    train: Split, validation: Split, caplog: pytest.LogCaptureFixture
) -> None:
    def build() -> Any:
        return with_layer(PythonInside())

    with caplog.at_level(logging.INFO, "tuner"):
        _, history = fitted(build, train, validation, "xla")
    assert len(history.history["loss"]) == 2
    assert "this model cannot be compiled into one" in caplog.records[0].getMessage()
    with pytest.raises(ModelError, match=r"`training\.engine=xla`.*cannot be compiled"):
        fitted(build, train, validation, "xla", falls_back=False)


class OwnFit(keras.Model):
    def fit(self, *args: Any, **options: Any) -> Any:
        return super().fit(*args, **options)


class OwnEvaluate(keras.Model):
    def evaluate(self, *args: Any, **options: Any) -> Any:
        return super().evaluate(*args, **options)


class OwnTrainFunction(keras.Model):
    def make_train_function(self, force: bool = False) -> Any:
        return super().make_train_function(force)


class OwnTestFunction(keras.Model):
    def make_test_function(self, force: bool = False) -> Any:
        return super().make_test_function(force)


class InheritedFit(OwnFit):
    pass


class OwnLogs(keras.Model):
    """Reports values that none of the model's metrics holds."""

    def train_step(self, data: Any) -> Any:
        return {**super().train_step(data), "twice": tf.constant(2.0)}


def of_class(kind: Any) -> Callable[[], Any]:
    def build() -> Any:
        base = plain()
        model = kind(base.input, base.output)
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


def eager() -> Any:
    model = plain()
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    return model


def own_on_instance(name: str) -> Callable[[], Any]:
    def build() -> Any:
        model = plain()
        theirs = getattr(model, name)
        setattr(model, name, lambda *args, **options: theirs(*args, **options))
        return model

    return build


def own_train_function() -> Any:
    model = plain()
    model.make_train_function()
    theirs = model.train_function
    model.train_function = lambda iterator: theirs(iterator)
    return model


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (of_class(OwnFit), "the model (OwnFit) has its own fit()"),
        (of_class(InheritedFit), "the model (InheritedFit) has its own fit()"),
        (of_class(OwnEvaluate), "has its own evaluate()"),
        (of_class(OwnTrainFunction), "has its own make_train_function()"),
        (of_class(OwnTestFunction), "has its own make_test_function()"),
        (own_on_instance("fit"), "the model (Functional) has its own fit()"),
        (own_on_instance("evaluate"), "has its own evaluate()"),
        (own_on_instance("make_train_function"), "has its own make_train_function()"),
        (own_on_instance("make_test_function"), "has its own make_test_function()"),
        (own_train_function, "has its own train_function"),
        (eager, "was compiled with run_eagerly=True"),
    ],
)
def test_obstacle_names_what_only_keras_would_call(build: Any, reason: str) -> None:
    assert reason in str(fitting.find_obstacle(build(), []))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (of_class(OwnFit), "the model (OwnFit) has its own fit()"),
        (of_class(OwnLogs), "its train_step returns accuracy, loss, twice"),
    ],
)
def test_model_with_its_own_loop_falls_back_and_says_why(
    build: Any, reason: str, train: Split, validation: Split, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tuner"):
        _, history = fitted(build, train, validation, "graph", epochs=1)
    [record] = caplog.records
    assert reason in record.getMessage()
    # As Keras reports it.
    _, theirs = fitted(build, train, validation, "keras", epochs=1)
    assert history.history == theirs.history
    with pytest.raises(ModelError) as refused:
        fitted(build, train, validation, "graph", epochs=1, falls_back=False)
    assert reason in str(refused.value)
    assert "`training.engine=graph`" in str(refused.value)
    assert "training.engine=keras" in str(refused.value)


def fitted_before() -> Any:
    model = plain()
    model.fit(np.zeros((4, 8, 8), np.uint8), np.zeros(4), verbose=0)
    return model


@pytest.mark.parametrize(
    "build", [plain, own_step, cnn, of_class(keras.Model), of_class(OwnLogs), fitted_before]
)
def test_obstacle_is_none_of_a_model_with_steps_of_its_own(build: Any) -> None:
    assert fitting.find_obstacle(build(), []) is None


# What XLA makes slow


class KerasNoise(keras.layers.Layer):
    """Draws from Keras's own generator, which no layer holds."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x + keras.random.uniform((1,)) if training else x


class SeededNoise(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.own = keras.random.SeedGenerator(1)

    def call(self, x: Any, training: bool = False) -> Any:
        return x + keras.random.normal((1,), seed=self.own) if training else x


class TensorFlowNoise(keras.layers.Layer):
    def call(self, x: Any, training: bool = False) -> Any:
        return x + tf.random.uniform((1,)) if training else x


class GeneratorNoise(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.own = tf.random.Generator.from_seed(1)

    def call(self, x: Any, training: bool = False) -> Any:
        return x + self.own.normal((1,)) if training else x


class TensorFlowConvolution(keras.layers.Layer):
    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(3, 3, 1, 2), initializer="ones")

    def call(self, x: Any) -> Any:
        return tf.nn.conv2d(x, tf.convert_to_tensor(self.kernel), 1, "SAME")


class Attention(keras.layers.Layer):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.inner = keras.layers.MultiHeadAttention(1, 2, dropout=dropout)

    def call(self, x: Any, training: bool = False) -> Any:
        rows = keras.ops.squeeze(x, -1)
        return self.inner(rows, rows, training=training)


def rows(*layers: Any) -> Any:
    """Return layers of images as sequences of rows."""
    return keras.Sequential([keras.layers.Reshape((8, 8)), *layers])


def nested(layer: Any) -> Any:
    return keras.Sequential([keras.Sequential([layer])])


layers = keras.layers
SLOW_LAYERS: dict[str, Callable[[], Any]] = {
    "Dropout": lambda: layers.Dropout(0.2),
    "nested Dropout": lambda: nested(layers.Dropout(0.2)),
    "SpatialDropout2D": lambda: layers.SpatialDropout2D(0.2),
    "AlphaDropout": lambda: layers.AlphaDropout(0.2),
    "GaussianDropout": lambda: layers.GaussianDropout(0.2),
    "GaussianNoise": lambda: layers.GaussianNoise(0.2),
    "RandomFlip": lambda: layers.RandomFlip(),
    "RandomRotation": lambda: layers.RandomRotation(0.1),
    "RandomContrast": lambda: layers.RandomContrast(0.1),
    "attention": lambda: Attention(0.2),
    "LSTM dropout": lambda: rows(layers.LSTM(3, dropout=0.2)),
    "GRU recurrent_dropout": lambda: rows(layers.GRU(3, recurrent_dropout=0.2)),
    "RNN of cells": lambda: rows(layers.RNN(layers.SimpleRNNCell(3, dropout=0.2))),
    "keras.random": KerasNoise,
    "SeedGenerator": SeededNoise,
    "tf.random": TensorFlowNoise,
    "tf.random.Generator": GeneratorNoise,
    "Conv1D": lambda: rows(layers.Conv1D(2, 3)),
    "Conv2D": lambda: layers.Conv2D(2, 3),
    "Conv2DTranspose": lambda: layers.Conv2DTranspose(2, 3),
    "DepthwiseConv2D": lambda: layers.DepthwiseConv2D(3),
    "SeparableConv2D": lambda: layers.SeparableConv2D(2, 3),
    "Conv3D": lambda: keras.Sequential(
        [layers.Reshape((8, 8, 1, 1)), layers.Conv3D(2, (3, 3, 1))]
    ),
    "tf.nn.conv2d": TensorFlowConvolution,
}
FAST_LAYERS: dict[str, Callable[[], Any]] = {
    "Dropout(0)": lambda: layers.Dropout(0.0),
    "ActivityRegularization": lambda: layers.ActivityRegularization(0.1),
    "BatchNormalization": lambda: layers.BatchNormalization(),
    "attention": lambda: Attention(0.0),
    "LSTM": lambda: rows(layers.LSTM(3)),
}


def traced(layer: Any) -> Any:
    """Return a program that runs a layer, as training does."""

    def run(images: Any) -> Any:
        return layer(images, training=True) if layer._call_has_training_arg else layer(images)

    layer(np.zeros((2, 8, 8, 1), np.float32))
    return tf.function(run).get_concrete_function(tf.TensorSpec([2, 8, 8, 1]))


@pytest.mark.parametrize("name", SLOW_LAYERS)
def test_check_speed_refuses_what_xla_is_slow_at(name: str) -> None:
    what = "convolutions" if "onv" in name else "random numbers"
    with pytest.raises(slow.SlowInXla, match=what):
        slow.check_speed(traced(SLOW_LAYERS[name]()))


@pytest.mark.parametrize("name", FAST_LAYERS)
def test_check_speed_lets_everything_else_pass(name: str) -> None:
    slow.check_speed(traced(FAST_LAYERS[name]()))


class NoisyStep(keras.Model):
    """Draws random numbers in its own training step."""

    def train_step(self, data: Any) -> Any:
        images, labels = data
        noise = tf.random.uniform(tf.shape(images), maxval=2, dtype=tf.int32)
        return super().train_step((images + tf.cast(noise, images.dtype), labels))


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda: mlp(0.3), r"random numbers \(.*dropout"),
        (cnn, r"convolutions \(.*conv2d"),
        (of_class(NoisyStep), "random numbers"),
    ],
)
def test_xla_that_was_asked_for_refuses_what_it_is_slow_at(
    build: Any, what: str, train: Split, validation: Split
) -> None:
    with pytest.raises(ModelError, match=what) as refused:
        fitted(build, train, validation, "xla", falls_back=False)
    assert "`training.engine=xla`" in str(refused.value)
    assert "training.engine=auto" in str(refused.value)


def test_xla_that_was_asked_for_takes_everything_else(train: Split, validation: Split) -> None:
    fitted(mlp, train, validation, "xla", epochs=1, falls_back=False)


def test_images_that_take_too_much_memory_fall_back(
    train: Split,
    validation: Split,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The one thing here that is not real: a machine with hardly any memory left.
    little = psutil.virtual_memory()._replace(available=2 * train.images.nbytes)
    monkeypatch.setattr(fitting.psutil, "virtual_memory", lambda: little)
    with caplog.at_level(logging.INFO, "tuner"):
        fitted(plain, train, validation, "graph", epochs=1)
    assert "half of the free memory" in caplog.records[0].getMessage()
    assert len(compiled.programs) == 0


@pytest.mark.parametrize("engine", ["graph", "keras"])
def test_check_can_end_a_training(engine: str, train: Split, validation: Split) -> None:
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(plain, train, validation, engine, check=check)


def test_fewer_images_than_a_batch_are_trained(train: Split, validation: Split) -> None:
    few = train.take(np.arange(10))
    ours, _ = fitted(plain, few, validation, "graph")
    theirs, _ = fitted(plain, few, validation, "keras")
    np.testing.assert_allclose(ours.get_weights()[0], theirs.get_weights()[0], atol=1e-5)


def test_predict_returns_every_image_in_order(train: Split, validation: Split) -> None:
    model, _ = fitted(plain, train, validation, "graph", epochs=1)
    whole = training.predict(model, validation)
    parts = training.predict(model, validation, batch_size=7)
    assert whole.shape == (100, 10)
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    np.testing.assert_allclose(whole, model.predict(validation.images, verbose=0), atol=1e-6)


def test_augmented_models_of_one_form_share_a_program() -> None:
    made = []
    for _ in range(2):
        training.forget_models()
        made.append(program_key(augmented()))
    assert made[0] is not None
    assert made[0] == made[1]
