"""Best values that lie on the edge of what was searched, and how to search beyond them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tuner.config import printed_commands
from tuner.config.hyperparameters import Choice, Range
from tuner.config.overrides import key_of
from tuner.config.space import Space, config_key
from tuner.models import LIMITS, SPACES
from tuner.trial import Values, is_number
from tuner.wording import describe

NEAR = 0.02
"""Share of a continuous range that counts as its edge."""


@dataclass(frozen=True)
class Edge:
    """A hyperparameter whose best value has no neighbour on one side.

    Attributes:
        name: The hyperparameter.
        override: Setting of the configuration that searches beyond the value.
    """

    name: str
    override: str


def find(space: Space, values: Values, model: str) -> list[Edge]:
    """Find the values that lie on the edge of what was searched, where there may be more.

    Args:
        space: What was searched.
        values: The best point.
        model: The model function's dotted name; what a built-in model's hyperparameters may be
            limits how far its space can go.
    """
    limits = SPACES.get(model, LIMITS)
    found = []
    for name, dimension in space.expanded():
        value = values.get(name)
        if not is_number(value):
            continue
        key = name if name in space.dimensions else "units"
        limit = limits.get(key, limits.get("units") if key.startswith("units") else None)
        if isinstance(dimension, Range):
            wider = _wider_range(dimension, value)
        elif isinstance(dimension, Choice):
            # A list in place of the whole would lose its condition.
            part = ".choices" if key in space.when else ""
            wider = _wider_choice(dimension, value, part)
        else:
            continue
        found += [
            Edge(name, f"space.{config_key(key)}{part}={number}")
            for part, number, beyond in wider
            if limit is None or limit.allows(beyond)
        ]
    return found


def say(
    found: Sequence[Edge],
    values: Values,
    overrides: Sequence[str],
    study: str,
    max_trials: int | None,
    python: str | None = None,
) -> tuple[str, str]:
    """Word what lies on an edge, and return the command that searches beyond it.

    Args:
        found: At least one.
        values: The best point.
        overrides: What the study was asked for on the command line.
        study: Its name.
        max_trials: Its budget, if it has one.
        python: What to call Python by; None for that of this environment.
    """
    names = dict.fromkeys(edge.name for edge in found)
    at = describe({name: values[name] for name in names})
    new = list(dict.fromkeys(edge.override for edge in found))
    if max_trials is not None:
        new.append(f"search.max_trials={2 * max_trials}")
    replaced = {key_of(override) for override in (*new, "study=", "extend=", "overwrite=")}
    kept = [given for given in overrides if key_of(given) not in replaced]
    given = [*kept, f"study={study}", *new, "extend=true"]
    command = printed_commands.of_module("tuner.search", given, python)
    return f"On the edge of what was searched: {at}.", command


_Wider = tuple[str, str, float]
"""Part of the key, what it is set to, and the number beyond the edge."""


def _wider_range(given: Range, value: float) -> Iterator[_Wider]:
    low, high = float(given.min), float(given.max)
    if given.log:
        place = math.log(value / low) / math.log(high / low)
    else:
        place = (value - low) / (high - low)
    near = NEAR if given.options is None else 0.0
    # Zero is where most hyperparameters end by their nature.
    if place >= 1 - near and high != 0:
        yield ".max", *_written(_beyond(given, high, up=True), given)
    if place <= near and low != 0:
        yield ".min", *_written(_beyond(given, low, up=False), given)


def _beyond(given: Range, bound: float, up: bool) -> float:
    """Return a bound further out: twice or half of it, ten times on a logarithmic scale."""
    factor = 10 if given.log else 2
    wanted = bound * factor if up == (bound > 0) else bound / factor
    if given.step is None:
        return wanted
    steps = max(math.floor(abs(wanted - bound) / given.step), 1)
    return bound + steps * given.step if up else bound - steps * given.step


def _written(number: float, given: Range) -> tuple[str, float]:
    if given.is_integer:
        number = math.floor(number)
    return f"{number:.6g}", number


def _wider_choice(given: Choice, value: float, part: str) -> Iterator[_Wider]:
    """Yield the list with one number more, if it is one of numbers in an order."""
    numbers = [option for option in given.options if is_number(option)]
    if len(numbers) < len(given.options) or len(numbers) < 2:
        return
    ordered = sorted(numbers)
    grows = all(a > 0 and b / a >= 1.5 for a, b in pairwise(ordered))
    for edge, inner, is_last in (
        (ordered[-1], ordered[-2], True),
        (ordered[0], ordered[1], False),
    ):
        if value != edge:
            continue
        beyond = edge * edge / inner if grows else 2 * edge - inner
        if all(isinstance(number, int) for number in numbers):
            beyond = round(beyond)
        if beyond in ordered:
            continue
        listed = [*ordered, beyond] if is_last else [beyond, *ordered]
        yield part, f"[{','.join(f'{number:.6g}' for number in listed)}]", beyond
