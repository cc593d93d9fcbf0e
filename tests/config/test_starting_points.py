"""Starting points as they stand in the configuration."""

from typing import Any

import pytest

from tuner.config import starting_points
from tuner.config.searches import HyperbandConfig, RandomConfig
from tuner.config.space import Space
from tuner.errors import ConfigError

SPACE = Space.parse(
    {
        "epochs": [2, 4],
        "batch_size": 8,
        "rate": {"min": 0.0, "max": 1.0},
        "layers": [1, 2],
        "units": {"min": 32, "max": 128, "step": 32},
        "kind": ["a", "b"],
    },
    "my.build",
)


def points(first: Any, space: Space = SPACE) -> list[dict[str, Any]]:
    search = RandomConfig("random", first=first)
    return [dict(p) for p in starting_points.given_points(search, space, seed=0)]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"units_1": 64},
        {"units_1": 64, "units_2": 128},
        {"layers": 1, "units_1": 32, "kind": "b", "epochs": 4},
        {"rate": 1, "batch_size": 8},
    ],
)
def test_a_point_is_completed_from_the_space(given: dict[str, Any]) -> None:
    [whole] = points([given])
    assert SPACE.holds(whole)
    assert {name: whole[name] for name in given} == given
    # The same every time, and not the same for every point.
    assert points([given]) == [whole]
    assert len({str(p) for p in points([given] * 5)}) > 1


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ([{"unit_1": 64}], "`search.first[0].unit_1` is not a hyperparameter"),
        (
            [{}, {"units_1": 65}],
            "`search.first[1].units_1` must be between 32 and 128 in steps",
        ),
        ([{"kind": "c"}], "must be one of 'a', 'b', but got 'c'"),
        ([{"epochs": 2.5}], "must be one of 2, 4, but got 2.5"),
        ([{"rate": True}], "must be between 0.0 and 1.0, but got True"),
        ([{"batch_size": 16}], "must be 8, as in the space, but got 16"),
        ([{"layers": 1, "units_2": 64}], "do not occur together"),
        ([[1]], "must be a point such as"),
        ({"units_1": 64}, "must be a list of points"),
        ("first", "must be a list of points"),
        ("best:", "must name a study"),
    ],
)
def test_a_point_outside_the_space_is_refused(first: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        starting_points.check(RandomConfig("random", first=first), SPACE)
    assert expected in str(error.value)


def test_an_oracle_that_sets_the_epochs_trains_starting_points_for_the_most() -> None:
    search = HyperbandConfig("hyperband", max_epochs=9, first=[{"kind": "a"}, {"epochs": 3}])
    space = SPACE.without("epochs")
    found = starting_points.given_points(search, space, seed=0)
    assert [point["epochs"] for point in found] == [9, 3]
    wrong = HyperbandConfig("hyperband", max_epochs=9, first=[{"epochs": 4}])
    with pytest.raises(ConfigError, match=r"must be one of 1, 3, 9"):
        starting_points.check(wrong, space)
    assert starting_points.whole_point({**found[0], "epochs": 4}, search, space) == found[0]
    assert starting_points.whole_point({**found[0], "kind": "c"}, search, space) is None
