"""What a space may hold, how many points it has, and its form for Keras Tuner."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from support.networks import PLAIN
from tuner.config.hyperparameters import Choice, Dimension, Fixed, Range
from tuner.config.space import Space
from tuner.errors import ConfigError
from tuner.models import ACTIVATIONS, LIMITS, OPTIMIZERS, SPACES, TRANSFORMS, Limit
from tuner.trial import Value, Values

MLP = "tuner.models.mlp.build"
CUSTOM = "my_package.my_function"

FIXED: Values = {
    **PLAIN, "epochs": 4, "batch_size": 32, "layers": 2, "units": 128, "learning_rate": 1e-3
}  # fmt: skip


def custom(**space: Any) -> Space:
    """Return a space of a user's own model, which may have any hyperparameter."""
    return Space.parse({"epochs": 1, "batch_size": 32, **space}, CUSTOM)


def mlp(**space: Any) -> Space:
    return Space.parse({**FIXED, **space}, MLP)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (3, Fixed(3)),
        (0.5, Fixed(0.5)),
        ("relu", Fixed("relu")),
        (True, Fixed(True)),
        ([1, 2], Choice((1, 2))),
        ([2, 1], Choice((2, 1))),
        (["a", "b"], Choice(("a", "b"))),
        ([1, 0.5], Choice((1.0, 0.5))),
        ([7], Fixed(7)),
        ([True, False], Choice((True, False))),
        ({"min": 1, "max": 3}, Range(1, 3)),
        ({"min": 1, "max": 9, "step": 4}, Range(1, 9, 4)),
        ({"min": 1, "max": 2.5}, Range(1.0, 2.5)),
        ({"min": 1, "max": 3, "step": 0.5}, Range(1.0, 3.0, 0.5)),
        ({"min": 1e-4, "max": 1e-2, "log": True}, Range(1e-4, 1e-2, None, True)),
        ({"min": 1, "max": 100, "log": True}, Range(1, 100, None, True)),
        ({"min": 8, "max": 64, "step": 8, "log": True}, Range(8, 64, 8, True)),
        ({"choices": [1, 2]}, Choice((1, 2))),
        ({"choices": "a"}, Fixed("a")),
        ({"min": 5, "max": 5}, Fixed(5)),
        ({"min": 1, "max": 3, "step": 3}, Fixed(1)),
        ({"min": 0, "max": 1.0, "step": 2}, Fixed(0.0)),
        ({"min": -1, "max": 1, "step": None}, Range(-1, 1)),
    ],
)
def test_parse_reads_dimension(given: Any, expected: Dimension) -> None:
    dimension = custom(size=given).dimensions["size"]
    assert dimension == expected
    # 1 equals 1.0 and True, but they are not the same hyperparameter.
    assert repr(dimension) == repr(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1], [2]], r"`space.size` must hold numbers, .*, but got \[1\]"),
        (math.inf, "`space.size` must be finite, but got inf"),
        ([0.1, math.nan], "`space.size` must be finite, but got nan"),
        ([], "`space.size` is an empty choice: list at least one value"),
        ([1, None, 1], r"`space.size` lists a value twice: \[1, null, 1\]"),
        ([1, 2, 1], r"`space.size` lists a value twice: \[1, 2, 1\]"),
        ([1, 1.0], r"`space.size` lists a value twice: \[1.0, 1.0\]"),
        ({}, "`min` of `space.size` must be a finite number, but got None"),
        ({"min": 1}, "`max` of `space.size` must be a finite number, but got None"),
        ({"max": 1}, "`min` of `space.size` must be a finite number, but got None"),
        ({"min": "1", "max": 2}, "`min` of `space.size` must be a finite number, but got '1'"),
        ({"min": 1, "max": True}, "`max` of `space.size` must be a finite .* got True"),
        ({"min": 1, "max": math.inf}, "`max` of `space.size` must be a finite .* got inf"),
        ({"min": 64, "max": 32}, "`max` of `space.size` must be at least `min`, .*64, max=32"),
        (
            {"min": 1, "max": 2, "steps": 1},
            "`space.size` has the unknown key `steps`; a range takes min, max, step, log",
        ),
        ({"min": 1, "max": 2, "log": 1}, "`log` of `space.size` must be true or false, .* 1"),
        ({"min": 0, "max": 2, "log": True}, "`min` of `space.size` must be above 0 .* got 0"),
        ({"choices": [1, 2], "min": 1}, "`space.size` with `choices` .* but got min"),
        ({"choices": []}, "`space.size` is an empty choice: list at least one value"),
        ({"min": 1, "max": 4, "step": 0}, "`step` of `space.size` must be .* above 0, .* 0"),
        ({"min": 1, "max": 4, "step": -2}, "`step` of `space.size` .* above 0, but got -2"),
        ({"min": 1, "max": 4, "step": "x"}, "`step` of `space.size` .* above 0, but got 'x'"),
        ({"min": 1, "max": 4, "step": True}, "`step` of `space.size` .* but got True"),
    ],
)
def test_parse_refuses_dimension(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        custom(size=given)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"unit": 3}, "`space.unit` is not a hyperparameter .* Did you mean `space.units`?"),
        ({"units_0": 3}, "`space.units_0` is not a hyperparameter of tuner.models.mlp.build"),
        ({"filters": 3}, "which takes epochs, batch_size, layers, units, activation"),
        ({"units": 0}, "`space.units` must be a whole number at least 1, but got 0"),
        ({"units": 1.5}, "`space.units` must be a whole number at least 1, but got 1.5"),
        ({"units": [8, 0]}, "`space.units` must be a whole number at least 1, but got 0"),
        ({"units": {"min": 0, "max": 8}}, "`space.units` .* at least 1, but got 0"),
        ({"units": {"min": 1, "max": 8, "step": 0.5}}, "`space.units` .* got 1.0"),
        ({"units_2": 0}, "`space.units_2` must be a whole number at least 1, but got 0"),
        ({"units": True}, "`space.units` must be a whole number at least 1, but got True"),
        ({"units": "many"}, "`space.units` must be a whole number .*, but got 'many'"),
        ({"layers": 0}, "`space.layers` must be a whole number at least 1, but got 0"),
        ({"epochs": 0}, "`space.epochs` must be a whole number at least 1, but got 0"),
        ({"batch_size": 0}, "`space.batch_size` must be a whole number .*, but got 0"),
        ({"dropout": 1.0}, "`space.dropout` must be a number at least 0 and below 1, .* 1.0"),
        ({"dropout": -0.1}, "`space.dropout` must be a number at least 0 and below 1, .*-0.1"),
        ({"learning_rate": 0.0}, "`space.learning_rate` must be a number above 0, but got 0.0"),
        ({"activation": "swoosh"}, "`space.activation` must be one of relu, .* got 'swoosh'"),
        ({"activation": ["relu", "x"]}, "`space.activation` must be one of .*, but got 'x'"),
        ({"optimizer": "lion"}, "`space.optimizer` must be one of adam, .*, but got 'lion'"),
        ({"optimizer": 3}, "`space.optimizer` must be one of adam, .*, but got 3"),
        ({"transform": "none"}, "`space.transform` must be one of rescale, .*deslant, .*none"),
        ({"batch_norm": 1}, "`space.batch_norm` must be true or false, but got 1"),
        ({"learning_rate_decay": 1.5}, "`space.learning_rate_decay` must be .*at most 1.*1.5"),
        ({"l2": -1e-4}, "`space.l2` must be a number at least 0, but got -0.0001"),
        ({"augment": {"shift": 1}}, r"`space\.augment\.shift` must be .* below 1, but got 1"),
        ({"augment": {"stroke": 2}}, r"`space\.augment\.stroke` must be .* at most 1, .* 2"),
        (
            {"augment": {"shfit": 0.1}},
            r"`space\.augment\.shfit` is not .*Did you mean `space\.augment\.shift`\?",
        ),
        ({"augment": 0.1}, r"`space\.augment` is not a hyperparameter of .*augment\.shift"),
    ],
)
def test_parse_refuses_value_of_built_in_model(space: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mlp(**space)


@pytest.mark.parametrize("name", ["batch_size", "layers", "units", "activation", "transform"])
def test_parse_refuses_missing_hyperparameter(name: str) -> None:
    with pytest.raises(ConfigError, match=f"`space.{name}` is missing: give a number"):
        Space.parse({k: v for k, v in FIXED.items() if k != name}, MLP)


def test_parse_leaves_missing_epochs_to_oracle() -> None:
    space = Space.parse({k: v for k, v in FIXED.items() if k != "epochs"}, MLP)
    assert "epochs" not in space.dimensions


def test_parse_takes_what_a_group_holds_as_hyperparameters() -> None:
    space = mlp(augment={"shift": [0.0, 0.1], "rotation": 10.0, "zoom": 0.0, "shear": 0})
    assert space.dimensions["augment_shift"] == Choice((0.0, 0.1))
    assert space.dimensions["augment_rotation"] == Fixed(10.0)
    # An augmentation of strength 0 is not among a trial's values.
    assert not {"augment_zoom", "augment_shear"} & space.dimensions.keys()
    assert space.searched == {"augment_shift"}


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("batch_size", 1.5)])
def test_parse_checks_training_of_own_model(name: str, value: Value) -> None:
    with pytest.raises(ConfigError, match=f"`space.{name}` must be a whole number at least 1"):
        custom(**{name: value})


@pytest.mark.parametrize("layers", [["a", "b"], {"min": 1.0, "max": 3.0}, 1.5])
def test_parse_refuses_layers_of_own_model_that_cannot_be_counted(layers: Any) -> None:
    with pytest.raises(ConfigError, match=r"`space\.layers`"):
        custom(layers=layers, units=8)


@pytest.mark.parametrize("name", ["units_4", "units_02"])
def test_parse_refuses_width_of_layer_that_never_is(name: str) -> None:
    with pytest.raises(ConfigError, match=f"`space.{name}`"):
        mlp(layers={"min": 1, "max": 3}, **{name: 8})


@pytest.mark.parametrize(
    ("limit", "value", "expected"),
    [
        (Limit(min=1, integer=True), 1, True),
        (Limit(min=1, integer=True), 0, False),
        (Limit(min=1, integer=True), 1.0, False),
        (Limit(min=1, integer=True), True, False),
        (Limit(min=1, integer=True), "1", False),
        (Limit(min=0, below=1), 0, True),
        (Limit(min=0, below=1), 0.999, True),
        (Limit(min=0, below=1), 1, False),
        (Limit(above=0), 1e-9, True),
        (Limit(above=0), 0.0, False),
        (Limit(options=("a", "b")), "b", True),
        (Limit(options=("a", "b")), "c", False),
        (Limit(options=("a", "b")), 1, False),
    ],
)
def test_allows(limit: Limit, value: Value, expected: bool) -> None:
    assert limit.allows(value) is expected


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit(min=1, integer=True), "a whole number at least 1"),
        (Limit(min=0, below=1), "a number at least 0 and below 1"),
        (Limit(above=0), "a number above 0"),
        (Limit(), "a number"),
        (Limit(options=("a", "b")), "one of a, b"),
    ],
)
def test_limit_in_words(limit: Limit, words: str) -> None:
    assert str(limit) == words


@pytest.mark.parametrize("model", SPACES)
def test_spaces_hold_limits_of_training(model: str) -> None:
    assert LIMITS.items() <= SPACES[model].items()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("activation", activation) for activation in ACTIVATIONS],
        *[("optimizer", optimizer) for optimizer in OPTIMIZERS],
        *[("transform", transform) for transform in TRANSFORMS],
        ("dropout", 0.99),
        ("learning_rate", 1e-9),
        ("layers", 1),
        ("units", 1),
    ],
)
def test_parse_accepts_all_that_model_takes(name: str, value: Value) -> None:
    assert mlp(**{name: value}).dimensions[name] == Fixed(value)


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [
        (Range(1, 3), (1, 2, 3)),
        (Range(1, 10, 4), (1, 5, 9)),
        (Range(1, 3, None, True), (1, 2, 3)),
        (Range(0.0, 1.0), None),
        (Range(1e-4, 1e-2, None, True), None),
        (Range(0.0, 1.0, 0.5), (0.0, 0.5, 1.0)),
        (Range(0.0, 1.0, 0.4), (0.0, 0.4, 0.8)),
    ],
)
def test_options_of_range(dimension: Range, expected: Sequence[Value] | None) -> None:
    assert dimension.options == expected


def test_options_of_range_keep_max_despite_rounding() -> None:
    # 0.3 / 0.1 is 2.9999999999999996 in floating point.
    assert Range(0.0, 0.3, 0.1).options == pytest.approx((0.0, 0.1, 0.2, 0.3))


# Size. With 2 choices a layer, 1, 2 and 3 layers have 2 + 4 + 8 = 14 points.


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({}, 1),
        ({"size": [1, 2, 3]}, 3),
        ({"size": [1, 2, 3], "kind": ["a", "b"]}, 6),
        ({"size": {"min": 1, "max": 10, "step": 3}, "kind": ["a", "b"]}, 8),
        ({"size": {"min": 0.0, "max": 1.0, "step": 0.25}}, 5),
        ({"size": {"min": 0.0, "max": 1.0}}, None),
        ({"layers": 2, "units": [8, 16, 32]}, 9),
        ({"layers": [1, 2], "units": [8, 16]}, 6),
        ({"layers": {"min": 1, "max": 3}, "units": [8, 16]}, 14),
        ({"layers": {"min": 1, "max": 3}, "units": 8}, 3),
        ({"layers": [1, 3], "units": [8, 16], "kind": ["a", "b"]}, 20),
        # 2 + 2 x 3 + 2 x 3 x 2.
        ({"layers": {"min": 1, "max": 3}, "units": [8, 16], "units_2": [1, 2, 3]}, 20),
        # 1 + 1 x 2.
        ({"layers": [1, 2], "units": [8, 16], "units_1": 4}, 3),
        ({"layers": [1, 2], "units": {"min": 1.0, "max": 2.0}}, None),
        # Without `units`, `layers` is a hyperparameter like any other.
        ({"layers": [1, 2], "kind": ["a", "b"]}, 4),
    ],
)
def test_size(space: Mapping[str, Any], expected: int | None) -> None:
    assert custom(**space).size() == expected


def test_size_of_default_mlp() -> None:
    # 16 widths: 16 + 16 ** 2 points of 1 and 2 layers.
    space = mlp(layers=[1, 2], units={"min": 32, "max": 512, "step": 32})
    assert space.size() == 272


def test_expanded_has_one_width_for_each_layer() -> None:
    space = custom(layers=[1, 3], units=[8, 16], units_2=4)
    assert dict(space.expanded()) == {
        "epochs": Fixed(1),
        "batch_size": Fixed(32),
        "layers": Choice((1, 3)),
        "units_1": Choice((8, 16)),
        "units_2": Fixed(4),
        "units_3": Choice((8, 16)),
    }


def test_searched_is_what_is_not_fixed() -> None:
    space = custom(layers=[1, 2], units=[8, 16], units_1=4, rate={"min": 0.1, "max": 1.0})
    assert space.searched == {"layers", "units_2", "rate"}


def test_without_drops_one() -> None:
    assert set(custom(size=3).without("epochs").dimensions) == {"batch_size", "size"}


@pytest.mark.parametrize(
    ("space", "proposed", "expected"),
    [
        ({}, {}, {}),
        ({"size": [1, 2], "kind": "a"}, {"size": 2}, {"size": 2, "kind": "a"}),
        ({"size": [1, 2]}, {"size": 2, "tuner/epochs": 3}, {"size": 2}),
        (
            {"layers": [1, 2], "units": [8, 16]},
            {"layers": 1, "units_1": 8, "units_2": 16},
            {"layers": 1, "units_1": 8},
        ),
        (
            {"layers": [1, 2], "units": [8, 16]},
            {"layers": 2, "units_1": 8, "units_2": 16},
            {"layers": 2, "units_1": 8, "units_2": 16},
        ),
        ({"layers": 2, "units": 8}, {}, {"layers": 2, "units_1": 8, "units_2": 8}),
        (
            {"layers": [1, 2], "units": [8, 16], "units_2": 4},
            {"layers": 2, "units_1": 16},
            {"layers": 2, "units_1": 16, "units_2": 4},
        ),
        (
            {"layers": [1, 2], "units": [8, 16], "units_2": 4},
            {"layers": 1, "units_1": 16},
            {"layers": 1, "units_1": 16},
        ),
    ],
)
def test_complete(space: Mapping[str, Any], proposed: Values, expected: Values) -> None:
    assert custom(**space).complete(proposed) == {"epochs": 1, "batch_size": 32, **expected}


def test_complete_keeps_order_of_configuration() -> None:
    space = custom(layers=[1, 2], kind="a", units=[8, 16])
    values = space.complete({"units_2": 8, "units_1": 16, "layers": 2})
    assert list(values) == ["epochs", "batch_size", "layers", "kind", "units_1", "units_2"]


@pytest.mark.parametrize("proposed", [np.int64(2), np.float64(0.5), np.str_("a")])
def test_complete_returns_plain_python(proposed: Any) -> None:
    value = custom(size=[1, 2]).complete({"size": proposed})["size"]
    assert type(value) in (int, float, str)
    assert value == proposed


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"layers": 1, "units_1": 8, "rate": 0.5}, True),
        ({"layers": 2, "units_1": 8, "units_2": 16, "rate": 0.5}, True),
        ({"layers": 2, "units_1": 8, "rate": 0.5}, False),
        ({"layers": 1, "units_1": 8, "units_2": 16, "rate": 0.5}, False),
        ({"layers": 1, "units_1": 8}, False),
        ({"units_1": 8, "rate": 0.5}, False),
        ({"layers": 1, "units_1": 9, "rate": 0.5}, False),
        ({"layers": 1, "units_1": 8.0, "rate": 0.5}, False),
        ({"layers": 1, "units_1": 8, "rate": 1.5}, False),
        ({"layers": 1, "units_1": 8, "rate": 0.5, "more": 1}, False),
    ],
)
def test_holds(values: Values, expected: bool) -> None:
    space = custom(layers=[1, 2], units=[8, 16], rate={"min": 0.0, "max": 1.0})
    assert space.holds({"epochs": 1, "batch_size": 32, **values}) is expected


# Types

MIXED = [None, 2, 2.0, "2", "max", "null", True, "true", "None", "(1, 3)", ""]


def typed(values: Iterable[Any]) -> list[tuple[type, Any]]:
    return [(type(value), value) for value in values]


@pytest.mark.parametrize("value", MIXED)
def test_fixed_value_keeps_its_type(value: Any) -> None:
    assert typed([custom(pool=value).complete({})["pool"]]) == typed([value])


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("units", None),
        ("units", [None, 8]),
        ("activation", [None, "relu"]),
        ("dropout", [0, None]),
    ],
)
def test_builtin_model_refuses_null(name: str, given: Any) -> None:
    with pytest.raises(ConfigError, match=rf"`space\.{name}` must be .* but got null"):
        mlp(**{name: given})


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
def test_training_refuses_null(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"`space\.{name}` must be a whole .* but got null"):
        custom(**{name: [None, 1]})
