"""What is true of every space, and of every point in it."""

import random
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from support.spaces import (
    Given,
    all_names,
    continuous_ranges,
    given_of,
    is_allowed,
    listed,
    names_of,
    options_of,
    parsed,
    points_of,
    spaces,
    written,
)
from tuner.trial import Value, Values

SPACES = spaces(listed | continuous_ranges())
SEEDS = st.integers(0, 2**32)


def check_point(point: Values, space: Given) -> None:
    assert list(point) == names_of(space, point)
    for name, value in point.items():
        assert is_allowed(value, given_of(space, name)), name


@given(spaces())
def test_size_counts_the_points(space: Given) -> None:
    assert parsed(space).size() == len({written(point) for point in points_of(space)})


@given(spaces().filter(lambda space: len(points_of(space)) <= 200))
def test_points_are_all_of_them(space: Given) -> None:
    assert sorted(map(written, parsed(space).points())) == sorted(
        map(written, points_of(space))
    )


@given(spaces(), continuous_ranges())
def test_size_of_a_space_with_an_interval_is_unknown(space: Given, interval: Given) -> None:
    assert parsed({**space, "rate": interval}).size() is None


@given(SPACES, SEEDS)
def test_sample_is_a_point_of_the_space(space: Given, seed: int) -> None:
    check_point(parsed(space).sample(random.Random(seed)), space)


@settings(max_examples=40)
@given(spaces().filter(lambda space: len(points_of(space)) <= 30))
def test_sample_reaches_every_point(space: Given) -> None:
    made, drawn = parsed(space), random.Random(0)
    size = made.size()
    assert size is not None
    # A point is missed with a probability of at most exp(-20), even one of the most layers.
    assert len({written(made.sample(drawn)) for _ in range(60 * size)}) == size


def as_keras_tuner_has_it(value: Value) -> Any:
    """Return 1 for true, and NumPy's numbers."""
    if isinstance(value, bool | int):
        return np.int64(value)
    return np.float64(value) if isinstance(value, float) else value


@given(SPACES, SEEDS)
def test_complete_gives_back_the_very_types(space: Given, seed: int) -> None:
    made, drawn = parsed(space), random.Random(seed)
    declared = {name: dimension.draw(drawn) for name, dimension in made.expanded()}
    point = made.complete(declared)
    check_point(point, space)
    proposed = {name: as_keras_tuner_has_it(value) for name, value in declared.items()}
    assert written(made.complete({**proposed, "unknown": 1})) == written(point)


@given(SPACES)
def test_expanded_names_all_that_a_trial_can_have(space: Given) -> None:
    names = all_names(space)
    made = parsed(space)
    assert [name for name, _ in made.expanded()] == names
    searched = {name for name in names if len(options_of(given_of(space, name)) or "ab") > 1}
    assert made.searched == searched


@given(spaces(), st.sampled_from(["epochs", "a", "b", "c"]))
def test_without_leaves_the_others_as_they_are(space: Given, name: str) -> None:
    dependent = {n: given["when"] for n, given in space.items() if "when" in str(given)}
    assume(name not in dependent and all(name not in when for when in dependent.values()))
    made = parsed(space)
    left = made.without(name)
    assert list(left.dimensions.items()) == [
        item for item in made.dimensions.items() if item[0] != name
    ]
    size, smaller = made.size(), left.size()
    assert size is not None
    assert smaller is not None
    assert size == smaller * len(options_of(space.get(name, 1)) or ())
