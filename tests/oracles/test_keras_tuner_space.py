"""What Keras Tuner is told of a space, and what comes back."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tuner.config.space import Space
from tuner.oracles.keras_tuner_space import declare
from tuner.trial import Value


def custom(**space: Any) -> Space:
    """Return a space of a user's own model, which may have any hyperparameter."""
    return Space.parse({"epochs": 1, "batch_size": 32, **space}, "my_package.my_function")


def declared(space: Space) -> dict[str, dict[str, Any]]:
    return {hp.name: hp.get_config() for hp in declare(space).space}


def test_hyperparameters_leaves_fixed_out() -> None:
    assert declared(custom(size=3, kind=["a", "b"])).keys() == {"kind"}


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        ([2, 1], "Choice", {"values": [2, 1]}),
        (["a", "b"], "Choice", {"values": ["a", "b"], "ordered": False}),
        (
            {"min": 1, "max": 9, "step": 4},
            "Int",
            {"min_value": 1, "max_value": 9, "step": 4, "sampling": "linear"},
        ),
        (
            {"min": 1, "max": 100, "log": True},
            "Int",
            {"min_value": 1, "max_value": 100, "step": None, "sampling": "log"},
        ),
        (
            {"min": 0.0, "max": 1.0},
            "Float",
            {"min_value": 0.0, "max_value": 1.0, "step": None, "sampling": "linear"},
        ),
        (
            {"min": 1e-4, "max": 1e-2, "log": True},
            "Float",
            {"min_value": 1e-4, "max_value": 1e-2, "step": None, "sampling": "log"},
        ),
    ],
)
def test_hyperparameters_declares_dimension(
    given: Any, kind: str, expected: Mapping[str, Any]
) -> None:
    (hp,) = declare(custom(size=given)).space
    assert (hp.name, type(hp).__name__) == ("size", kind)
    assert expected.items() <= hp.get_config().items()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([3, 1], [3, 1]),
        ({"min": 1, "max": 10, "step": 4}, [1, 5, 9]),
        ({"min": 0.0, "max": 1.0, "step": 0.5}, [0.0, 0.5, 1.0]),
        ({"min": 0.0, "max": 1.0, "step": 0.4}, [0.0, 0.4, 0.8]),
        ({"min": 0.0, "max": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
    ],
)
def test_hyperparameters_offers_every_option(given: Any, expected: Sequence[Value]) -> None:
    (hp,) = declare(custom(size=given)).space
    assert [type(value) for value in hp.values] == [type(value) for value in expected]
    assert list(hp.values) == pytest.approx(expected)


def test_hyperparameters_puts_widths_under_their_layers() -> None:
    space = custom(units=[8, 16], layers={"min": 1, "max": 3}, units_2=[1, 2, 3])
    hps = declare(space).space
    conditions = {hp.name: [(c.name, c.values) for c in hp.conditions] for hp in hps}
    assert conditions == {
        "layers": [],
        # Every trial has it.
        "units_1": [],
        "units_2": [("layers", [2, 3])],
        "units_3": [("layers", [3])],
    }
    # Keras Tuner activates a width only after the number of layers it hangs on.
    assert hps[0].name == "layers"
    assert {hp.name: len(hp.values) for hp in hps[1:]} == {
        "units_1": 2,
        "units_2": 3,
        "units_3": 2,
    }


def test_hyperparameters_have_all_that_must_hold() -> None:
    space = custom(
        c={"choices": [1, 2], "when": {"b": True, "d": [5]}},
        b={"choices": [True, None], "when": {"a": ["x", "y"]}},
        a=["x", "y", "z"],
        d={"choices": 5, "when": {"a": "x"}},
    )
    hps = declare(space).space
    assert [(hp.name, [(c.name, c.values) for c in hp.conditions]) for hp in hps] == [
        ("a", []),
        ("b", [("a", ["x", "y"])]),
        # What is fixed is not told to Keras Tuner, but its condition counts.
        ("c", [("a", ["x", "y"]), ("b", ["true"]), ("a", ["x"])]),
    ]


def test_steps_on_a_logarithmic_scale_are_as_likely_as_their_share_of_it() -> None:
    space = custom(size={"min": 8, "max": 64, "step": 8, "log": True})
    (hp,) = declare(space).copy().space
    assert list(hp.values) == [8, 16, 24, 32, 40, 48, 56, 64]
    drawn = [hp.prob_to_value(i / 1000) for i in range(1000)]
    # Nearest to 8 is what lies below 12: log(12 / 8) of log(64 / 8).
    assert drawn.count(8) == 195
    assert drawn == sorted(drawn)
    assert all(hp.prob_to_value(hp.value_to_prob(value)) == value for value in hp.values)


def test_hyperparameters_of_fixed_layers_need_no_condition() -> None:
    hps = declare(custom(layers=2, units=[8, 16], units_1=4)).space
    assert [(hp.name, hp.conditions) for hp in hps] == [("units_2", [])]


@pytest.mark.parametrize(
    "options",
    [
        [None, 2, 2.0, "2", "max", "null", True, "true", "None", "(1, 3)", ""],
        [None, "max"],
        [True, False],
        [1, True],
        [False, 0],
        ["(1, 3)", "(3, 3)"],
        ["[1, 3]", "[3, 3]"],
        ["None", "null"],
        ["1", "1e3", " ", "größe \U0001f600"],
        [1.0, 2.0],
        [1, 2],
    ],
)
def test_every_option_comes_back_from_keras_tuner_as_it_was(options: list[Any]) -> None:
    space = custom(pool=options)
    [hyperparameter] = declare(space).space
    assert len(hyperparameter.values) == len(options)
    found = [space.complete({"pool": value})["pool"] for value in hyperparameter.values]
    assert [(type(value), value) for value in found] == [
        (type(value), value) for value in options
    ]
    assert space.size() == len(options)


def test_layers_that_are_no_number_are_a_hyperparameter_like_others() -> None:
    space = custom(layers=["deep", None])
    [hyperparameter] = declare(space).space
    found = [space.complete({"layers": value})["layers"] for value in hyperparameter.values]
    assert found == ["deep", None]
