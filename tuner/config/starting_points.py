"""Starting points: `search.first`, the points that are tried before an oracle proposes any."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tuner.config.hyperparameters import Choice, Dimension, Fixed, Range
from tuner.config.space import Space
from tuner.errors import ConfigError
from tuner.trial import Value, Values, is_number
from tuner.wording import did_you_mean

if TYPE_CHECKING:
    from tuner.config.searches import SearchConfig

BEST_OF = "best:"
"""Beginning of a `search.first` that takes the best trials of another study."""

NUM_BEST = 10
"""How many of them it takes."""

_MAX_DRAWS = 1000


def study_named(first: object) -> str | None:
    """Return the study whose best trials are the starting points; None if it names none.

    Args:
        first: The value of `search.first`.
    """
    if isinstance(first, str) and first.startswith(BEST_OF):
        return first.removeprefix(BEST_OF)
    return None


def check(search: SearchConfig, space: Space) -> None:
    """Refuse starting points that cannot be tried.

    Args:
        search: The search, with its `first`.
        space: What it searches; without `epochs` where the oracle sets them.

    Raises:
        ConfigError: If one lies outside the space or names an unknown hyperparameter.
    """
    if study_named(search.first) is None:
        given_points(search, space, seed=0)
    elif not study_named(search.first):
        raise ConfigError(f"`search.first={BEST_OF}…` must name a study, as in best:first.")


def given_points(search: SearchConfig, space: Space, seed: int) -> list[Values]:
    """Return the starting points that the configuration lists, each completed.

    What a point leaves open is drawn from the space.

    Args:
        search: The search, with its `first`.
        space: What it searches; without `epochs` where the oracle sets them.
        seed: Seed of what is drawn.

    Raises:
        ConfigError: If one lies outside the space or names an unknown hyperparameter.
    """
    first = [] if search.first is None else search.first
    if not isinstance(first, list):
        raise ConfigError(
            f"`search.first` must be a list of points such as [{{units_1: 128}}], "
            f"{BEST_OF}<study> or null, but got {first!r}."
        )
    return [
        _completed(f"search.first[{i}]", point, search, space, random.Random(f"{seed} {i}"))
        for i, point in enumerate(first)
    ]


def whole_point(values: Values, search: SearchConfig, space: Space) -> Values | None:
    """Return another study's point as one of this space; None if it lies outside.

    Args:
        values: The values of a trial.
        search: The search that may try them.
        space: What it searches; without `epochs` where the oracle sets them.
    """
    epochs = {"epochs": values["epochs"]} if search.sets_epochs else {}
    rest = {name: value for name, value in values.items() if name not in epochs}
    if search.sets_epochs and values["epochs"] not in search.epochs:
        epochs = {"epochs": max(search.epochs)}
    return {**rest, **epochs} if space.holds(rest) else None


def _completed(
    key: str, point: object, search: SearchConfig, space: Space, drawn: random.Random
) -> Values:
    if not isinstance(point, Mapping):
        raise ConfigError(
            f"`{key}` must be a point such as {{units_1: 128, units_2: 64}}, but got {point!r}."
        )
    given = dict(point)
    epochs: dict[str, Value] = {}
    if search.sets_epochs:
        epochs = {"epochs": given.pop("epochs", max(search.epochs))}
        if epochs["epochs"] not in search.epochs:
            raise ConfigError(
                f"`{key}.epochs` must be one of {', '.join(map(str, search.epochs))}, which "
                f"{search.oracle} sets, but got {epochs['epochs']!r}."
            )
    dimensions = dict(space.expanded())
    values = {
        str(name): _value(f"{key}.{name}", str(name), value, dimensions)
        for name, value in given.items()
    }
    for _ in range(_MAX_DRAWS):
        proposed = {name: dimension.draw(drawn) for name, dimension in dimensions.items()}
        whole = space.complete(proposed | space.declared(values))
        if values.keys() <= whole.keys():
            return {**whole, **epochs}
    raise ConfigError(
        f"`{key}` is no point of the space: {', '.join(values)} do not occur together there."
    )


def _value(key: str, name: str, value: object, dimensions: Mapping[str, Dimension]) -> Value:
    """Check a value, and return it with the type that the space gives it."""
    if name not in dimensions:
        hint = did_you_mean(name, dimensions)
        raise ConfigError(
            f"`{key}` is not a hyperparameter of the space, which has "
            f"{', '.join(dimensions)}.{hint}"
        )
    dimension = dimensions[name]
    typed = [value, float(value)] if is_number(value) else [value]
    for form in typed:
        if (form is None or isinstance(form, int | float | str)) and dimension.holds(form):
            return form
    raise ConfigError(f"`{key}` must be {_allowed(dimension)}, but got {value!r}.")


def _allowed(dimension: Dimension) -> str:
    match dimension:
        case Fixed(value):
            return f"{value!r}, as in the space"
        case Choice(options):
            return f"one of {', '.join(map(repr, options))}"
        case Range(low, high, step):
            steps = "" if step is None else f" in steps of {step}"
            return f"between {low} and {high}{steps}"
