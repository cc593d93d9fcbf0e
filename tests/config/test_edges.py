"""Best values at an edge of their range, and the override that searches beyond it."""

from typing import Any

import pytest

from support.configs import loaded
from tuner.config import edges
from tuner.config.space import Space


@pytest.mark.parametrize(
    ("given", "value", "expected"),
    [
        ({"min": 32, "max": 512, "step": 32}, 512, ["space.x.max=1024"]),
        ({"min": 32, "max": 512, "step": 32}, 480, []),
        ({"min": 32, "max": 512, "step": 16}, 32, ["space.x.min=16"]),
        ({"min": 1, "max": 4}, 4, ["space.x.max=8"]),
        ({"min": 1e-4, "max": 1e-2, "log": True}, 9.9e-3, ["space.x.max=0.1"]),
        ({"min": 1e-4, "max": 1e-2, "log": True}, 1.05e-4, ["space.x.min=1e-05"]),
        ({"min": 1e-4, "max": 1e-2, "log": True}, 1e-3, []),
        ({"min": 0.0, "max": 0.5}, 0.499, ["space.x.max=1"]),
        ({"min": 0.0, "max": 0.5, "step": 0.1}, 0.4, []),
        ([16, 32, 64], 64, ["space.x=[16,32,64,128]"]),
        ([64, 16, 32], 16, ["space.x=[8,16,32,64]"]),
        ([16, 32, 64], 32, []),
        ([1, 2, 3], 3, ["space.x=[1,2,3,4]"]),
        ([0.0, 0.1, 0.2], 0.2, ["space.x=[0,0.1,0.2,0.3]"]),
        (["a", "b"], "b", []),
        ([True, False], True, []),
        ([None, 1, 2], 2, []),
        (3, 3, []),
    ],
    ids=str,
)
def test_find_names_what_goes_beyond(given: Any, value: Any, expected: list[str]) -> None:
    space = Space.parse({"epochs": 1, "batch_size": 8, "x": given}, "my.build")
    found = edges.find(space, {"epochs": 1, "batch_size": 8, "x": value}, "my.build")
    assert [edge.override for edge in found] == expected


@pytest.mark.parametrize(
    ("override", "values", "expected"),
    [
        ("space.dropout={min: 0.0, max: 0.5}", {"dropout": 0.0}, []),
        ("space.dropout={min: 0.0, max: 0.6}", {"dropout": 0.6}, []),
        ("space.dropout={min: 0.0, max: 0.4}", {"dropout": 0.4}, ["space.dropout.max=0.8"]),
        ("space.epochs={min: 1, max: 4}", {"epochs": 1}, []),
        ("space.units={min: 8, max: 64}", {"units_2": 64}, ["space.units.max=128"]),
        ("space.augment.shift=[0.1,0.2]", {"augment_shift": 0.2}, None),
    ],
)
def test_find_stays_within_what_a_model_takes(
    override: str, values: dict[str, Any], expected: list[str] | None
) -> None:
    config = loaded(override)
    found = edges.find(config.searched_space(), values, config.model_function)
    overrides = [edge.override for edge in found]
    if expected is None:
        assert overrides[0].startswith("space.augment.shift=[")
        expected = overrides
    assert overrides == expected
    for setting in overrides:
        loaded(override, setting)


def test_say_gives_the_command_that_extends() -> None:
    found = [edges.Edge("units_1", "space.units.max=128"), edges.Edge("rate", "space.rate=1")]
    values = {"units_1": 64, "rate": 0.1, "epochs": 3}
    given = ["data=digits", "space.units.max=64", "search.max_trials=10", "overwrite=true"]
    line, command = edges.say(found, values, given, "first", 10, "python")
    assert "units_1=64 rate=0.1" in line
    assert command == (
        "python -m tuner.search data=digits study=first space.units.max=128 space.rate=1 "
        "search.max_trials=20 extend=true"
    )
