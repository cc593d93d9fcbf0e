"""Warnings about a search before its first trial."""

import pytest

from support.configs import CUSTOM, loaded


@pytest.mark.parametrize(
    ("overrides", "num_trials", "expected"),
    [
        (["search=random", "search.max_trials=10"], 10, []),
        (["search=random", "search.max_trials=10"], 2, ["2 points", "search.max_trials=10"]),
        (["search=random", "search.max_trials=10"], 1, ["1 point,"]),
        (["search=hyperband"], 26, ["search.max_epochs=10", "space.epochs is not searched"]),
        (["search=bayesian", "search.max_trials=20", "space.units=64"], 20, []),
        (
            ["search=bayesian", "search.max_trials=3", "space.units={min: 8, max: 64}"],
            3,
            ["All trials", "(3)", "search.num_initial_points"],
        ),
        (
            ["search=bayesian", "search.max_trials=9", "search.num_initial_points=9"],
            9,
            ["All trials", "starts with 9 random"],
        ),
        (["search=tpe"], 20, []),
        (["search.target=0.9"], 10, []),
        (
            ["search.objective=val_loss", "search.target=0.9"],
            10,
            ["val_loss is minimised", "at or below search.target=0.9"],
        ),
        (
            [*CUSTOM, "search.objective=val_error", "search.direction=min", "search.target=0"],
            10,
            ["val_error is minimised", "at or below search.target=0."],
        ),
        (["search=tpe", "search.max_trials=8"], 8, ["All trials", "search=tpe starts with 10"]),
    ],
)
def test_notices_say_what_limits_a_search(
    overrides: list[str], num_trials: int, expected: list[str]
) -> None:
    config = loaded(*overrides)
    said = " ".join(config.search.notices(config.whole_space(), num_trials))
    assert [part for part in expected if part not in said] == []
    assert bool(said) == bool(expected)
