"""Programs whose sizes are open compute what programs of the model's own sizes compute."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import pytest

from support.networks import VALUES
from tuner import training
from tuner.datasets import ImageData, Split
from tuner.models import ACTIVATIONS, OPTIMIZERS, TRANSFORMS, cnn, mlp
from tuner.runtime import tensorflow_setup
from tuner.training import compiled, open_sizes

# Before any test makes TensorFlow start: the last bits depend on it.
tensorflow_setup.set_threads(1)

NETWORK = {**VALUES, "layers": 2, "units_1": 24, "units_2": 17, "batch_norm": False}
SHAPES = ((24, 17), (7, 65))
"""Widths of the hidden layers; a program is traced with the first ones."""


@pytest.fixture(autouse=True)
def _no_programs() -> Iterator[None]:
    compiled.programs.clear()
    yield
    compiled.programs.clear()
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def splits(digits: ImageData) -> tuple[Split, Split]:
    # 150 = 9 * 16 + 6: the last batch is a smaller one.
    return digits.train.take(np.arange(150)), digits.validation.take(np.arange(100))


def fitted(
    values: Mapping[str, Any], splits: tuple[Split, Split], engine: str
) -> tuple[list[Any], Mapping[str, Any]]:
    """Return weights and metrics of a training."""
    training.forget_models()
    training.seed_everything(1)
    model = mlp.build(values, (8, 8), 10, metrics=values.get("metrics", ()))
    history = training.fit(model, *splits, epochs=2, batch_size=16, seed=3, engine=engine)
    return model.get_weights(), history.history


def network(settings: Mapping[str, Any], shape: tuple[int, int]) -> Mapping[str, Any]:
    """Return the values of a network with hidden layers of these widths."""
    return {**NETWORK, **settings, "units_1": shape[0], "units_2": shape[1]}


def differences(
    settings: Mapping[str, Any],
    splits: tuple[Split, Split],
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """Train networks of all shapes by one program, and by one for each; say what differs."""
    found = []
    of_one = [fitted(network(settings, shape), splits, engine) for shape in SHAPES]
    assert len(compiled.programs) == 1
    monkeypatch.setattr(open_sizes, "can_be_open", lambda model: False)
    monkeypatch.setattr("tuner.training.program_key.can_be_open", lambda model: False)
    for (weights, metrics), shape in zip(of_one, SHAPES, strict=True):
        own_weights, own_metrics = fitted(network(settings, shape), splits, engine)
        if metrics != own_metrics:
            found.append(f"metrics of {shape}")
        pairs = zip(weights, own_weights, strict=True)
        found += [f"weights {i} of {shape}" for i, (x, y) in enumerate(pairs) if (x != y).any()]
    assert len(compiled.programs) == 1 + len(SHAPES)
    return found


SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "nothing more": {},
    "batch norm": {"batch_norm": True},
    "dropout": {"dropout": 0.37},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "own metrics": {"metrics": ("balanced_accuracy", "macro_f1")},
    "nearly all": {
        "batch_norm": True, "dropout": 0.3, "l2": 1e-4, "learning_rate_decay": 0.6,
        "optimizer": "adamw", "activation": "gelu", "augment_shift": 0.1,
    },
}  # fmt: skip
EACH: Mapping[str, Mapping[str, Any]] = {
    **{name: {"activation": name} for name in ACTIVATIONS},
    **{name: {"transform": name} for name in TRANSFORMS},
    **{name: {"optimizer": name, "learning_rate_decay": 0.5} for name in OPTIMIZERS},
}
"""Each value of the built-in models."""


@pytest.mark.parametrize(
    "settings",
    [
        *(pytest.param(settings, id=name) for name, settings in SETTINGS.items()),
        *(pytest.param(each, id=name, marks=pytest.mark.long) for name, each in EACH.items()),
    ],
)
def test_one_program_computes_what_one_of_each_shape_computes(
    settings: Mapping[str, Any], splits: tuple[Split, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not differences(settings, splits, "graph", monkeypatch)


def test_xla_compiles_one_trace_for_every_shape(splits: tuple[Split, Split]) -> None:
    settings = {"batch_norm": True, "l2": 1e-3, "learning_rate_decay": 0.5}
    for shape in SHAPES:
        (ours, metrics), (theirs, expected) = (
            fitted(network(settings, shape), splits, engine) for engine in ("xla", "keras")
        )
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)
        assert metrics["val_loss"] == pytest.approx(expected["val_loss"], abs=1e-4)
    assert len(compiled.programs) == 1


@pytest.mark.parametrize(
    ("engine", "settings"),
    [("graph", SETTINGS["nearly all"]), ("xla", {"l2": 1e-3, "learning_rate_decay": 0.5})],
)
def test_weights_do_not_depend_on_the_shape_that_came_first(
    engine: str, settings: Mapping[str, Any], splits: tuple[Split, Split]
) -> None:
    found = []
    for shapes in (SHAPES, SHAPES[::-1]):
        compiled.programs.clear()
        found.append({s: fitted(network(settings, s), splits, engine) for s in shapes})
    for shape in SHAPES:
        (weights, metrics), (others, other_metrics) = found[0][shape], found[1][shape]
        assert metrics == other_metrics
        assert all(map(np.array_equal, weights, others))


def test_mixed_precision_is_the_same(
    splits: tuple[Split, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert not differences({"dropout": 0.2}, splits, "graph", monkeypatch)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dropout", (0.1, 0.7)),
        ("l2", (1e-5, 0.02)),
        ("learning_rate", (1e-4, 0.1)),
        ("learning_rate_decay", (0.3, 0.9)),
    ],
)
def test_numbers_of_a_trial_need_no_program_of_their_own(
    name: str, values: tuple[float, ...], splits: tuple[Split, Split]
) -> None:
    settings = {**NETWORK, "dropout": 0.2, "l2": 1e-4, "learning_rate_decay": 0.5}
    weights = []
    for value in values:
        ours, _ = fitted({**settings, name: value}, splits, "graph")
        theirs, _ = fitted({**settings, name: value}, splits, "keras")
        assert all(map(np.array_equal, ours, theirs))
        weights.append(ours[0])
    assert len(compiled.programs) == 1
    assert not np.array_equal(weights[0], weights[-1])


def dense(*layers: keras.Layer, optimizer: Any = "adam", **options: Any) -> keras.Model:
    """Return a network with layers between two dense ones."""
    images = keras.Input((8, 8), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Dense(12, **options)(x)
    for layer in layers:
        x = layer(x)
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(x))
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


UNKNOWN: Mapping[str, Callable[[], keras.Model]] = {
    "a convolution": lambda: cnn.build(
        {**VALUES, "blocks": 1, "convolutions": 1, "filters": 2, "kernel_size": 3, "units": 8},
        (8, 8),
        10,
    ),
    "a layer that looks at sizes": lambda: dense(keras.layers.Reshape((3, 4)),
                                                 keras.layers.Flatten()),
    "normalisation of another kind": lambda: dense(keras.layers.LayerNormalization()),
    "a single unit": lambda: dense(keras.layers.Dense(1)),
    "an activation that looks at sizes": lambda: dense(keras.layers.Activation("glu")),
    "a constraint": lambda: dense(kernel_constraint="max_norm"),
    "a penalty that looks at sizes": lambda: dense(kernel_regularizer="orthogonal_regularizer"),
    "another optimiser": lambda: dense(optimizer="adafactor"),
    "no dense layer": lambda: keras.Sequential([keras.Input((8,)), keras.layers.Flatten()]),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_may_look_at_sizes_keeps_them(name: str) -> None:
    model = UNKNOWN[name]()
    if not model.compiled:
        model.compile("sgd", "mse")
    assert not open_sizes.can_be_open(model)


def test_dense_networks_of_a_users_own_have_open_sizes() -> None:
    assert open_sizes.can_be_open(dense(keras.layers.Dropout(0.0)))
    layers = [keras.layers.Flatten(), keras.layers.Dense(5), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((8, 8)), *layers, keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    assert open_sizes.can_be_open(model)
