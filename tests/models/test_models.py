"""The models that come with Glassy."""

from typing import Any

import keras
import numpy as np
import pytest
from omegaconf import OmegaConf

from support.networks import NETWORK
from support.paths import CONF
from tuner.models import (
    ACTIVATIONS,
    MOMENTUM,
    NEUTRAL,
    OPTIMIZERS,
    SPACES,
    TRANSFORMS,
    Limit,
    cnn,
    mlp,
)
from tuner.runtime import tensorflow_setup

# Before any test makes TensorFlow start: afterwards it cannot be set.
tensorflow_setup.set_threads(1)

VALUES: dict[str, Any] = {
    **NETWORK, "layers": 2, "units_1": 128, "units_2": 128, "learning_rate": 1e-3
}  # fmt: skip
SMALL = {**VALUES, "layers": 1, "units_1": 4}
GLASSY = CONF / "experiment" / "glassy.yaml"


def transformed(transform: str, images: Any) -> Any:
    """Return what the first dense layer sees, in the images' own shape."""
    model = mlp.build({**SMALL, "transform": transform}, images.shape[1:], 10)
    [flatten] = [layer for layer in model.layers if isinstance(layer, keras.layers.Flatten)]
    inside = keras.Model(model.input, flatten.input)
    return keras.ops.convert_to_numpy(inside(images)).reshape(images.shape)


def random_images(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_build_of_the_classic_network() -> None:
    space = {**VALUES, **OmegaConf.load(GLASSY)["space"]}
    units = {f"units_{i}": space["units"] for i in range(1, space["layers"] + 1)}
    model = mlp.build({**space, **units}, (28, 28), 10)
    # 784 * 128 + 128, 128 * 128 + 128 and 128 * 10 + 10.
    assert model.count_params() == 100_480 + 16_512 + 1_290 == 118_282
    # Keras counts the names that a process has given before: `adam_1`.
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("image_shape", "num_classes", "expected"),
    [
        # (64 * 4 + 4) + (4 * 10 + 10)
        ((8, 8), 10, 310),
        ((8, 8, 1), 10, 310),
        # (3,072 * 4 + 4) + (4 * 100 + 100)
        ((32, 32, 3), 100, 12_792),
    ],
)
def test_build_for_any_image(
    image_shape: tuple[int, ...], num_classes: int, expected: int
) -> None:
    model = mlp.build(SMALL, image_shape, num_classes)
    assert model.count_params() == expected
    images = random_images(3, *image_shape)
    assert model(images).shape == (3, num_classes)


@pytest.mark.parametrize("build", [mlp.build, cnn.build])
def test_build_does_without_what_a_trial_does_not_have(build: Any) -> None:
    convolutions = {"blocks": 1, "convolutions": 1, "filters": 4, "kernel_size": 3, "units": 8}
    whole = {**SMALL, **convolutions, **NEUTRAL, "learning_rate_decay": 1.0}
    configs = []
    for values in (whole, {k: v for k, v in whole.items() if k not in NEUTRAL}):
        keras.backend.clear_session()
        model = build({**values, "optimizer": "sgd"}, (8, 8), 10)
        # Keras counts the names that it has given before: `sgd_1`.
        configs.append((model.get_config(), {**model.optimizer.get_config(), "name": ""}))
    assert configs[0] == configs[1]


@pytest.mark.parametrize("decay", [1.0, 0.5])
@pytest.mark.parametrize("optimizer", MOMENTUM)
def test_build_gives_the_optimizer_its_momentum(optimizer: str, decay: float) -> None:
    values = {**SMALL, "optimizer": optimizer, "momentum": 0.75, "learning_rate": 0.03}
    model = mlp.build({**values, "learning_rate_decay": decay}, (8, 8), 10)
    assert type(model.optimizer).__name__.lower() == optimizer
    assert model.optimizer.momentum == 0.75
    assert float(model.optimizer.learning_rate) == pytest.approx(0.03)


def test_build_reads_the_width_of_each_layer() -> None:
    values = {**VALUES, "layers": 3, "units_1": 7, "units_2": 5, "units_3": 3}
    model = mlp.build(values, (8, 8), 10)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [7, 5, 3, 10]


def test_build_leaves_out_layers_that_are_not_used() -> None:
    # The oracle's values may include those of layers that this trial does not have.
    assert mlp.build({**VALUES, "layers": 1}, (8, 8), 10).count_params() == 8_320 + 1_290


@pytest.mark.parametrize(("dropout", "expected"), [(0.0, []), (0.25, [0.25, 0.25])])
def test_build_drops_out_after_every_hidden_layer(
    dropout: float, expected: list[float]
) -> None:
    model = mlp.build({**VALUES, "dropout": dropout}, (8, 8), 10)
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in dropouts] == expected


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_model_turns_raw_images_into_probabilities(transform: str) -> None:
    model = mlp.build({**SMALL, "transform": transform}, (8, 8), 10)
    assert model.input.dtype == "uint8"
    images = random_images(5, 8, 8)
    images[0] = 0
    probabilities = keras.ops.convert_to_numpy(model(images))
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (5, 10)
    assert probabilities.min() >= 0
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_build_takes_every_activation(activation: str) -> None:
    model = mlp.build({**VALUES, "activation": activation}, (8, 8), 10)
    names = [
        layer.activation.__name__
        for layer in model.layers
        if isinstance(layer, keras.layers.Activation)
    ]
    assert names == [activation, activation]
    assert np.isfinite(model(random_images(2, 8, 8))).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_build_takes_every_optimizer(name: str) -> None:
    model = mlp.build({**SMALL, "optimizer": name, "learning_rate": 0.03}, (8, 8), 10)
    assert type(model.optimizer).__name__.lower() == name
    assert float(model.optimizer.learning_rate) == pytest.approx(0.03)
    assert model.optimizer.get_config()["learning_rate"] == pytest.approx(0.03)


def test_rescale_brings_pixels_to_one() -> None:
    images = np.array([[[0, 51], [102, 255]]], np.uint8)
    expected = np.array([[[0.0, 0.2], [0.4, 1.0]]])
    assert transformed("rescale", images) == pytest.approx(expected, abs=1e-6)


def test_l2_columns_by_hand() -> None:
    # Columns (3, 4), (0, 0) and (0, 255): of lengths 5, 0 and 255.
    images = np.array([[[3, 0, 0], [4, 0, 255]]], np.uint8)
    expected = np.array([[[0.6, 0.0, 0.0], [0.8, 0.0, 1.0]]])
    assert transformed("l2_columns", images) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(20, 28, 28), (5, 8, 6, 3)])
def test_l2_columns_is_what_keras_normalize_does(shape: tuple[int, ...]) -> None:
    images = random_images(*shape)
    # Columns of zeros, and columns as dark as possible.
    images[:, :, :2] = 0
    images[:, :, 2] = 0
    images[:, 0, 2] = 1
    expected = keras.utils.normalize(images / 255, axis=1)
    assert np.abs(expected[:, :, :2]).max() == 0
    assert transformed("l2_columns", images) == pytest.approx(expected, abs=1e-6)


def test_spaces_name_functions_that_exist() -> None:
    assert set(SPACES) == {"tuner.models.mlp.build", "tuner.models.cnn.build"}
    for names in SPACES.values():
        assert set(names) >= {"epochs", "batch_size", "transform"}


@pytest.mark.parametrize(
    ("limit", "allowed", "refused"),
    [
        (Limit(min=1, integer=True), [1, 512], [0, -1, 1.0, 1.5, True, "1"]),
        (Limit(min=0, max=1), [0, 1, 0.5], [-0.1, 1.1, True]),
        (Limit(boolean=True), [True, False], [0, 1, "true"]),
        (Limit(min=0, below=1), [0, 0.0, 0.999], [1, 1.0, -0.1, "0", False]),
        (Limit(above=0), [1e-30, 5], [0, 0.0, -1, "small"]),
        (Limit(options=("relu", "tanh")), ["relu", "tanh"], ["Relu", 1, ""]),
    ],
)
def test_limit_allows(limit: Limit, allowed: list[Any], refused: list[Any]) -> None:
    assert [limit.allows(value) for value in allowed] == [True] * len(allowed)
    assert [limit.allows(value) for value in refused] == [False] * len(refused)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Limit(min=1, integer=True), "a whole number at least 1"),
        (Limit(min=0, below=1), "a number at least 0 and below 1"),
        (Limit(above=0), "a number above 0"),
        (Limit(integer=True), "a whole number"),
        (Limit(options=("relu", "tanh")), "one of relu, tanh"),
    ],
)
def test_limit_in_words(limit: Limit, text: str) -> None:
    assert str(limit) == text


CNN = {**VALUES, "blocks": 2, "convolutions": 1, "filters": 4, "kernel_size": 3, "units": 16}


@pytest.mark.parametrize(
    ("values", "image_shape", "expected"),
    [
        # 9 * 4 + 4, 9 * 4 * 8 + 8, then 7 * 7 * 8 features: 392 * 16 + 16 and 16 * 10 + 10.
        ({}, (28, 28), 40 + 296 + 6_288 + 170),
        # Three channels, 25 pixels a kernel, no dense layer: 8 * 8 * 8 features.
        ({"kernel_size": 5, "units": 0}, (32, 32, 3), 304 + 808 + 5_130),
        # In each block another one, from 4 to 4 filters and from 8 to 8.
        ({"convolutions": 2}, (28, 28), 40 + 296 + 148 + 584 + 6_288 + 170),
        # Without biases, but with 4 numbers a normalised channel.
        ({"batch_norm": True}, (28, 28), 36 + 16 + 288 + 32 + 6_272 + 64 + 170),
    ],
)
def test_cnn_has_these_parameters(
    values: dict[str, Any], image_shape: tuple[int, ...], expected: int
) -> None:
    assert cnn.build({**CNN, **values}, image_shape, 10).count_params() == expected


def test_cnn_of_more_blocks_than_the_image_can_be_halved() -> None:
    model = cnn.build({**CNN, "blocks": 5, "dropout": 0.2}, (4, 4), 3)
    assert model.predict(random_images(2, 4, 4), verbose=0).shape == (2, 3)


@pytest.mark.parametrize("build", [mlp.build, cnn.build])
def test_l2_and_batch_norm_are_in_the_model(build: Any) -> None:
    model = build({**SMALL, **CNN, "l2": 0.01, "batch_norm": True}, (8, 8), 10)
    kinds = [type(layer) for layer in model.layers]
    dense = [layer for layer in model.layers if hasattr(layer, "kernel_regularizer")]
    assert kinds.count(keras.layers.BatchNormalization) == len(dense) - 1
    assert all(float(layer.kernel_regularizer.l2) == pytest.approx(0.01) for layer in dense)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_learning_rate_decays_every_thousand_steps(optimizer: str) -> None:
    values = {**SMALL, "learning_rate_decay": 0.5, "optimizer": optimizer}
    model = mlp.build(values, (8, 8), 10)
    assert type(model.optimizer).__name__.lower() == optimizer
    model.optimizer.iterations.assign(2000)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3 / 4)
