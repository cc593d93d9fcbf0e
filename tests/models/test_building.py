"""The worker and the loader accept the same models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
from keras import layers

from tuner.classifier import safe_loading
from tuner.datasets import ImageData, Split
from tuner.errors import ModelError
from tuner.models import building
from tuner.trial import Objective, WorkerSetup
from tuner.worker import packaging

SETUP = WorkerSetup("my_models.build", {}, Objective("val_accuracy", "max"), 1)


def _compiled(model: Any) -> Any:
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _dense() -> list[Any]:
    return [layers.Flatten(), layers.Dense(10, activation="softmax")]


def _sequential(*parts: Any) -> Any:
    return _compiled(keras.Sequential([*parts]))


def _functional(images: Any, make_outputs: Callable[[Any], Any] = lambda x: x) -> Any:
    return _compiled(keras.Model(images, make_outputs(_dense()[1](layers.Flatten()(images)))))


def _convolutional(images: Any) -> Any:
    x = images if len(images.shape) == 4 else layers.Reshape((8, 8, 1))(images)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    return _compiled(keras.Model(images, layers.Dense(10, activation="softmax")(x)))


WORKING: dict[str, Callable[[], Any]] = {
    "as_they_are": lambda: _functional(keras.Input((8, 8), dtype="uint8")),
    "float32": lambda: _functional(keras.Input((8, 8))),
    "axis_of_channels": lambda: _functional(keras.Input((8, 8, 1))),
    "any_size": lambda: _convolutional(keras.Input((None, None, 1))),
    "any_size_without_channels": lambda: _convolutional(keras.Input((None, None))),
    "batch_of_32": lambda: _functional(keras.Input(batch_shape=(32, 8, 8))),
    "no_input": lambda: _sequential(*_dense()),
    "sequential_with_channels": lambda: _sequential(keras.Input((8, 8, 1)), *_dense()),
    "nested": lambda: _sequential(keras.Input((8, 8)), keras.Sequential(_dense())),
    "list_of_one": lambda: _functional(keras.Input((8, 8)), lambda x: [x]),
    "half_precision": lambda: _sequential(
        layers.Flatten(), layers.Dense(10, activation="softmax", dtype="mixed_float16")
    ),
}
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "dictionary": (
        lambda: _functional(keras.Input((8, 8)), lambda x: {"probs": x}),
        "returns a dictionary of probs",
    ),
    "two_outputs": (
        lambda: _functional(keras.Input((8, 8)), lambda x: [x, x]),
        "returns a list of 2",
    ),
    "one_column": (
        lambda: _sequential(layers.Flatten(), layers.Dense(1, activation="sigmoid")),
        "returned (2, 1) for 2 images",
    ),
    "logits": (
        lambda: _sequential(keras.Input((8, 8)), layers.Flatten(), layers.Dense(10)),
        "end it with a softmax",
    ),
    "two_inputs": (
        lambda: _compiled(
            keras.Model(
                images := [keras.Input((8, 8)), keras.Input((8, 8))],
                _dense()[1](layers.Flatten()(layers.Add()(images))),
            )
        ),
        "expects 2",
    ),
    "other_images": (
        lambda: _sequential(keras.Input((5, 5)), *_dense()),
        "(raw images of shape (8, 8) were given)",
    ),
    "images_as_output": (lambda: _sequential(layers.Rescaling(1.0)), "returned (2, 8, 8)"),
}


def build(make: Callable[[], Any], data: ImageData) -> Any:
    images = data.train.images[:2]
    model, _ = building.build(
        lambda *_: make(), SETUP, {"epochs": 1}, images, len(data.class_names)
    )
    # Saved whole, as after a training.
    model.optimizer.build(model.trainable_variables)
    return model


def with_channels(data: ImageData) -> ImageData:
    splits = (Split(s.images[..., None], s.labels) for s in (data.train, data.validation))
    train, validation = splits
    return ImageData("grey", data.class_names, "d", train, validation, validation)


@pytest.mark.parametrize(
    ("name", "has_channels"),
    [
        *((name, False) for name in WORKING),
        *((name, True) for name in ("as_they_are", "axis_of_channels", "any_size", "no_input")),
    ],
)
@pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match")
def test_loader_takes_what_the_worker_takes(
    name: str, has_channels: bool, few_digits: ImageData, tmp_path: Path
) -> None:
    data = with_channels(few_digits) if has_channels else few_digits
    model = build(WORKING[name], data)
    packaging.save(model, data, None, folder := tmp_path / "model")
    images = data.validation.images[:5]
    expected = np.asarray(model(images), np.float32)
    classifier = safe_loading.load_folder(folder, "that was built")
    np.testing.assert_allclose(classifier.predict_proba(images), expected, atol=1e-3)
    served = mlflow.pyfunc.load_model(str(folder)).predict(images)
    np.testing.assert_allclose(np.asarray(served, np.float32), expected, atol=1e-3)


AUGMENT = keras.Sequential([layers.RandomFlip()])
FROZEN = layers.Dense(4, trainable=False)
DENSE = layers.Dense(10, activation="softmax")
INNER = keras.Sequential([layers.Dense(4)])
ADAM = keras.optimizers.Adam()


@pytest.mark.parametrize(
    ("parts", "optimizer", "shared"),
    [
        (lambda: [AUGMENT, *_dense()], "adam", None),
        (lambda: [layers.Flatten(), FROZEN, *_dense()], "adam", None),
        (lambda: [layers.Flatten(), DENSE], "adam", "the layer dense"),
        (lambda: [layers.Flatten(), INNER, *_dense()], "adam", "the layer dense"),
        (lambda: [keras.Input((8, 8, 1)), *_dense()], ADAM, "the optimizer"),
    ],
)
def test_build_refuses_what_all_trials_would_train(
    parts: Callable[[], list[Any]], optimizer: Any, shared: str | None, few_digits: ImageData
) -> None:
    def make(values: Any, image_shape: tuple[int, ...], num_classes: int) -> Any:
        model = keras.Sequential([layers.Reshape((8, 8, 1)), *parts()])
        if optimizer is ADAM:
            model = keras.Sequential(parts())
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    images = few_digits.train.images[:8]
    if shared is None:
        building.build(make, SETUP, {}, images, 10)
        return
    with pytest.raises(ModelError, match=rf"module creates .*{shared}"):
        building.build(make, SETUP, {}, images, 10)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match")
def test_worker_and_loader_refuse_alike(
    name: str, few_digits: ImageData, tmp_path: Path
) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        build(make, few_digits)
    assert reason in str(caught.value)
    assert "model._target_=my_models.build" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    if name == "logits":
        # Its form is right; what it returns is checked when it is used.
        return
    model = make()
    if name not in ("two_inputs", "other_images"):
        model(few_digits.train.images[:2])
    packaging.save(model, few_digits, None, folder := tmp_path / "model")
    with pytest.raises(ModelError, match=r"must take and return arrays of the shapes"):
        safe_loading.load_folder(folder, "that was built")


def test_build_of_values_that_do_not_fit_is_no_wrong_model(few_digits: ImageData) -> None:
    # Without an Input the layers are made at the first call, from the values.
    convolution = layers.Conv2D(4, 9)
    with pytest.raises(ValueError, match="size") as caught:
        build(
            lambda: _sequential(layers.Reshape((8, 8, 1)), convolution, *_dense()), few_digits
        )
    assert not isinstance(caught.value, ModelError)


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("val_acuracy", "Did you mean search.objective=val_accuracy?"),
        ("val_f1", "among val_loss, val_accuracy."),
    ],
)
def test_objective_that_no_metric_has(name: str, close: str) -> None:
    error = building.no_such_metric("search.objective", name, ["val_loss", "val_accuracy"])
    assert f"`search.objective` must be a metric of the model, but {name} is" in str(error)
    assert str(error).endswith(close)
