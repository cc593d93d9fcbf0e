"""When trials have a hyperparameter: what `when` may say, and what follows for the space."""

import itertools
import random
from collections.abc import Mapping
from typing import Any

import pytest

from support.networks import PLAIN
from tuner.config import edges
from tuner.config.hyperparameters import Choice, Fixed, Range
from tuner.config.space import Space
from tuner.errors import ConfigError
from tuner.trial import Values

MLP = "tuner.models.mlp.build"
GIVEN: Values = {
    **PLAIN, "epochs": 4, "batch_size": 32, "layers": 2, "units": 128, "learning_rate": 1e-3
}  # fmt: skip
MOMENTUM = {"min": 0.5, "max": 0.9, "step": 0.2}
SGD = {**MOMENTUM, "when": {"optimizer": ["sgd"]}}
NESTED = {
    # Its conditions may stand before and behind it.
    "nesterov": {"choices": [True, False], "when": {"momentum": [0.7, 0.9]}},
    "momentum": SGD,
    "optimizer": ["adam", "sgd", "rmsprop"],
}


def custom(**space: Any) -> Space:
    return Space.parse({"epochs": 1, "batch_size": 32, **space}, "my.build")


def mlp(**space: Any) -> Space:
    return Space.parse({**GIVEN, **space}, MLP)


def test_condition_is_kept_beside_the_range() -> None:
    space = custom(**NESTED)
    assert space.dimensions["momentum"] == Range(0.5, 0.9, 0.2)
    assert space.dimensions["nesterov"] == Choice((True, False))
    assert space.when == {
        "momentum": {"optimizer": ("sgd",)},
        "nesterov": {"momentum": (0.7, 0.9)},
    }
    assert space.searched == {"optimizer", "momentum", "nesterov"}
    assert space.needed()["nesterov"] == [("optimizer", ("sgd",)), ("momentum", (0.7, 0.9))]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"a": 1}, (1,)),
        ({"a": [1, 3]}, (1, 3)),
        # The same number is meant, in the type that the space gives it.
        ({"b": [1]}, (1.0,)),
        ({"c": [None, True]}, (None, True)),
        ({"d": 4}, (4,)),
        ({"e": [0.5]}, (0.5,)),
    ],
)
def test_values_get_the_types_of_the_space(when: Any, expected: tuple[Any, ...]) -> None:
    space = custom(
        a=[1, 2, 3],
        b=[1, 0.5],
        c=[None, True, 1],
        d={"min": 1, "max": 9},
        e={"min": 0.0, "max": 1.0, "step": 0.25},
        x={"min": 0.0, "max": 1.0, "when": when},
    )
    [allowed] = space.when["x"].values()
    assert [(type(value), value) for value in allowed] == [(type(v), v) for v in expected]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"x": {"choices": 1, "when": 3}}, "`when` of `space.x` must name .* but got 3"),
        ({"x": {"choices": 1, "when": {}}}, r"`when` of `space.x` must name .* but got \{\}"),
        (
            {"x": {"choices": 1, "when": {"y": 1}}},
            "`space.x` names `y`, which is not in the sp",
        ),
        ({"x": {"choices": 1, "when": {"knid": 1}}, "kind": [1, 2]}, "Did you mean kind?"),
        ({"x": {"choices": 1, "when": {"x": 1}}}, "`space.x` leads back .* x depends on x"),
        (
            {
                "a": {"choices": [1, 2], "when": {"b": 1}},
                "b": {"choices": [1, 2], "when": {"c": 1}},
                "c": {"choices": [1, 2], "when": {"a": 1}},
            },
            "`when` of `space.a` leads back to itself: a depends on b depends on c .* on a",
        ),
        (
            {"x": {"choices": 1, "when": {"a": [3, 1]}}, "a": [1, 2]},
            r"`when` of `space.x`: `a` can never be \[3\]; in this space it is one of \[1, 2\]",
        ),
        (
            {"x": {"choices": 1, "when": {"a": "1"}}, "a": [1, 2]},
            r"`a` can never be \['1'\]",
        ),
        ({"x": {"choices": 1, "when": {"a": True}}, "a": [1, 2]}, r"`a` can never be \[True\]"),
        ({"x": {"choices": 1, "when": {"a": 2}}, "a": 1}, r"in this space it is \[1\]"),
        ({"x": {"choices": 1, "when": {"a": []}}, "a": [1, 2]}, "`a` must have at least one v"),
        (
            {"x": {"choices": 1, "when": {"a": 0}}, "a": {"min": 1, "max": 99}},
            r"one of \[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …\]",
        ),
        (
            {"x": {"choices": 1, "when": {"a": 0.5}}, "a": {"min": 0.0, "max": 1.0}},
            "`when` of `space.x` cannot name `a`, a range of any values: .* `step`",
        ),
        (
            {"x": {"choices": 1, "when": {"epochs": 1}}},
            "cannot name `epochs`: .* share a curve",
        ),
        ({"epochs": {"choices": 1, "when": {"a": 1}}, "a": [1, 2]}, "every trial needs epochs"),
        (
            {
                "a": [1, 2],
                "b": {"choices": [1, 2], "when": {"a": 1}},
                "x": {"choices": 1, "when": {"a": 2, "b": 1}},
            },
            "`space.x` can never occur: its conditions exclude each other",
        ),
        (
            {"layers": [1, 2], "units": 8, "x": {"choices": 1, "when": {"units": 8}}},
            "`units`, which is not in the space; it has .*units_1, units_2",
        ),
        (
            {"layers": [1, 2], "units": 8, "units_2": {"choices": 4, "when": {"layers": 1}}},
            "`space.units_2` can never occur",
        ),
        (
            {"x": {"min": 1, "max": 2, "wehn": {}}},
            "unknown key `wehn`; a range takes .* and when",
        ),
    ],
)
def test_parse_refuses_condition(space: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        custom(**space)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            {"layers": {"choices": [1, 2], "when": {"optimizer": "adam"}}},
            "every trial of .* needs",
        ),
        (
            {"units": {"choices": 8, "when": {"optimizer": "adam"}}},
            "can do without dropout, l2, ",
        ),
        ({"momentum": 0.9}, "`space.momentum` is for .* sgd and rmsprop, but .* may be adam"),
        (
            {"optimizer": ["sgd", "nadam"], "momentum": {**MOMENTUM, "when": {"layers": 2}}},
            "`space.optimizer` may be nadam",
        ),
        ({"momentum": {"min": 0, "max": 1}}, "`space.momentum` must be a number .* below 1"),
    ],
)
def test_built_in_model_refuses_condition(space: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        mlp(**space)


@pytest.mark.parametrize(
    "space",
    [
        {"optimizer": ["adam", "sgd"], "momentum": SGD},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": ["rmsprop", "sgd"], "momentum": [0.0, 0.9]},
        {"momentum": 0.0},
        {
            "batch_norm": [True, False],
            "dropout": {"choices": 0.3, "when": {"batch_norm": False}},
        },
        {"augment": {"shift": {"choices": [0.1, 0.2], "when": {"layers": 2}}}},
    ],
)
def test_built_in_model_takes_condition(space: Mapping[str, Any]) -> None:
    drawn = random.Random(0)
    points = [mlp(**space).sample(drawn) for _ in range(40)]
    for values in points:
        assert values["optimizer"] in ("sgd", "rmsprop") or "momentum" not in values
        assert "dropout" in values or values["batch_norm"] is True
    assert mlp(momentum=0.0) == mlp()


def test_what_does_not_apply_is_no_value_of_a_trial() -> None:
    space = custom(**NESTED)
    declared = {"optimizer": "sgd", "momentum": 0.5, "nesterov": True}
    assert list(space.complete(declared)) == ["epochs", "batch_size", "momentum", "optimizer"]
    assert "nesterov" in space.complete({**declared, "momentum": 0.9})
    assert "momentum" not in space.complete({**declared, "optimizer": "adam"})
    assert not space.holds({"epochs": 1, "batch_size": 32, "optimizer": "sgd"})
    assert space.holds({"epochs": 1, "batch_size": 32, "optimizer": "adam"})
    # adam, rmsprop, sgd with 0.5, and with 0.7 and 0.9 by two.
    assert space.size() == len(list(space.points())) == 2 + 1 + 4


def test_layers_and_their_widths_may_have_conditions() -> None:
    space = custom(
        head=["mean", "dense"],
        layers={"choices": [1, 2], "when": {"head": "dense"}},
        units={"choices": [8, 16], "when": {"kind": "wide"}},
        units_2=4,
        kind=["wide", "none"],
    )
    points = [
        {name: v for name, v in values.items() if name not in ("epochs", "batch_size")}
        for values in space.points()
    ]
    mean = [{"head": "mean", "kind": kind} for kind in ("wide", "none")]
    dense = [
        {
            "head": "dense", "layers": n, "kind": kind,
            **({"units_1": width} if kind == "wide" else {}),
            **({"units_2": 4} if n == 2 else {}),
        }
        for n, kind, width in itertools.product((1, 2), ("wide", "none"), (8, 16))
        if kind == "wide" or width == 8
    ]  # fmt: skip
    assert sorted(map(_sorted, points)) == sorted(map(_sorted, mean + dense))
    assert space.size() == len(points) == 8


def _sorted(values: Values) -> list[tuple[str, str]]:
    return sorted((name, str(value)) for name, value in values.items())


def test_parent_with_many_values_is_counted_quickly() -> None:
    """Values of a parent that make no difference are counted together."""
    many = {"min": 1, "max": 1000}
    space = custom(
        **dict.fromkeys("abc", many),
        x={"choices": [1, 2], "when": {"a": 1, "b": 1, "c": 1}},
    )
    assert space.size() == 10**9 + 1
    assert len(list(space.boxes())) == 8


def test_steps_on_a_logarithmic_scale() -> None:
    for given in ({"min": 8, "max": 64, "step": 8}, {"min": 0.1, "max": 1.0, "step": 0.3}):
        dimension = custom(size={**given, "log": True}).dimensions["size"]
        assert isinstance(dimension, Range)
        drawn = [dimension.draw(random.Random(seed)) for seed in range(2000)]
        assert set(drawn) == set(dimension.options or ())
        low = [value for value in drawn if value == given["min"]]
        # The lowest takes what lies below the first middle, by orders of magnitude.
        assert len(low) / 2000 == pytest.approx({8: 0.195, 0.1: 0.398}[given["min"]], abs=0.03)


@pytest.mark.parametrize(
    ("name", "value", "override"),
    [
        ("momentum", 0.9, "space.momentum.max=0.95"),
        ("width", 32, "space.width.choices=[8,16,32,64]"),
    ],
)
def test_search_beyond_an_edge_keeps_the_condition(
    name: str, value: float, override: str
) -> None:
    space = custom(
        optimizer=["adam", "sgd"],
        momentum={"min": 0.5, "max": 0.9, "when": {"optimizer": "sgd"}},
        width={"choices": [8, 16, 32], "when": {"optimizer": "sgd"}},
    )
    values = {"epochs": 1, "batch_size": 32, "optimizer": "sgd", "momentum": 0.7, "width": 16}
    found = edges.find(space, {**values, name: value}, "my.build")
    assert [edge.override.partition("=")[0] for edge in found] == [override.partition("=")[0]]
    if name == "width":
        assert found == [edges.Edge(name, override)]


def test_fixed_value_may_have_a_condition() -> None:
    space = custom(kind=["a", "b"], x={"choices": 3, "when": {"kind": "a"}})
    assert space.dimensions["x"] == Fixed(3)
    assert space.complete({"kind": "a"})["x"] == 3
    assert "x" not in space.complete({"kind": "b"})
    assert space.size() == 2
