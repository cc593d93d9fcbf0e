"""When a trial has a hyperparameter: `when: {optimizer: [sgd]}`, and what cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from tuner.config.hyperparameters import Dimension, is_same, listed
from tuner.errors import ConfigError
from tuner.trial import Value, Values, is_number
from tuner.wording import did_you_mean

Conditions = Mapping[str, tuple[Value, ...]]
"""The values of other hyperparameters with one of which, each, a trial has this one."""

ALWAYS = ("epochs", "batch_size")
"""Hyperparameters that every trial has, since training needs them."""


def has(name: str, values: Values, conditions: Mapping[str, Conditions]) -> bool:
    """Say whether a trial has a hyperparameter.

    Args:
        name: The hyperparameter.
        values: The trial's other values, at least those that it depends on.
        conditions: Those of all hyperparameters.
    """
    return all(
        parent in values
        and any(is_same(values[parent], value) for value in allowed)
        and has(parent, values, conditions)
        for parent, allowed in conditions[name].items()
    )


def depth(name: str, conditions: Mapping[str, Conditions]) -> int:
    """Return how many others a hyperparameter depends on, one after another."""
    return max((1 + depth(parent, conditions) for parent in conditions[name]), default=0)


def first_of(choice: Mapping[str, tuple[Value, ...]]) -> dict[str, Value]:
    """Return one value of each group of options."""
    return {name: group[0] for name, group in choice.items()}


def alike(
    name: str, options: Iterable[Value], conditions: Mapping[str, Conditions]
) -> list[tuple[Value, ...]]:
    """Group the options of a hyperparameter by which of the others they bring about."""
    groups: dict[tuple[bool, ...], list[Value]] = {}
    for option in options:
        meets = tuple(
            any(is_same(option, value) for value in given[name])
            for given in conditions.values()
            if name in given
        )
        groups.setdefault(meets, []).append(option)
    return [tuple(group) for group in groups.values()]


def split(setting: object) -> tuple[object, object]:
    """Return what a hyperparameter may be, and its `when`, None where it has none."""
    if isinstance(setting, Mapping) and "when" in setting:
        return {k: v for k, v in setting.items() if k != "when"}, setting["when"]
    return setting, None


def parse(key: str, name: str, given: object) -> dict[str, Any]:
    """Read a `when` as it stands in the configuration; `resolve` checks it.

    Args:
        key: The hyperparameter's key, for messages.
        name: Its name.
        given: The value of `when`.

    Raises:
        ConfigError: If it is no mapping from names to values, or not allowed there.
    """
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            f"`when` of `{key}` must name another hyperparameter and its values, as in "
            f"{{optimizer: [sgd]}}, but got {given!r}."
        )
    if name in ALWAYS:
        raise ConfigError(f"`{key}` cannot have a `when`: every trial needs {name}.")
    return {str(parent): allowed for parent, allowed in given.items()}


def resolve(
    keys: Mapping[str, str],
    given: Mapping[str, Mapping[str, Any]],
    dimensions: Mapping[str, Dimension],
) -> dict[str, Conditions]:
    """Check conditions, and give their values the types that the space gives them.

    Args:
        keys: Keys of the hyperparameters that have conditions, for messages.
        given: Those conditions, as `parse` returns them.
        dimensions: Every hyperparameter that a trial can have.

    Raises:
        ConfigError: If one names what is not there, or values that cannot occur.
    """
    return {
        name: {
            parent: _allowed(keys[name], parent, allowed, dimensions)
            for parent, allowed in conditions.items()
        }
        for name, conditions in given.items()
    }


def _allowed(
    key: str, parent: str, allowed: object, dimensions: Mapping[str, Dimension]
) -> tuple[Value, ...]:
    if parent not in dimensions:
        hint = did_you_mean(parent, dimensions)
        raise ConfigError(
            f"`when` of `{key}` names `{parent}`, which is not in the space; it has "
            f"{', '.join(dimensions)}.{hint}"
        )
    if parent == "epochs":
        raise ConfigError(
            f"`when` of `{key}` cannot name `epochs`: trials that differ only in their epochs "
            f"share a curve."
        )
    options = dimensions[parent].options
    if options is None:
        raise ConfigError(
            f"`when` of `{key}` cannot name `{parent}`, a range of any values: give the range "
            f"a `step`, or a list of choices."
        )
    is_list = isinstance(allowed, Sequence) and not isinstance(allowed, str)
    values = cast(Sequence[Value], allowed if is_list else [allowed])
    found = [option for value in values for option in options if _means(value, option)]
    if len(found) < len(values) or not found:
        wrong = [v for v in values if not any(_means(v, option) for option in options)]
        shown = f"can never be {listed(wrong)}" if wrong else "must have at least one value"
        raise ConfigError(
            f"`when` of `{key}`: `{parent}` {shown}; in this space it is "
            f"{'' if len(options) == 1 else 'one of '}{_among(options)}."
        )
    return tuple(found)


def _means(given: Value, option: Value) -> bool:
    """Say whether a value of a condition is that option; 1 and 1.0 are the same number."""
    if is_number(given) and is_number(option):
        return given == option
    return type(given) is type(option) and given == option


def _among(options: Sequence[Value]) -> str:
    shown = listed(options[:10])
    return shown if len(options) <= 10 else f"{shown[:-1]}, …]"


def check_no_circle(keys: Mapping[str, str], conditions: Mapping[str, Conditions]) -> None:
    """Refuse hyperparameters that depend on each other.

    Args:
        keys: Keys of those that have conditions, for the message.
        conditions: Those of all.

    Raises:
        ConfigError: It shows the circle.
    """

    def follow(path: list[str]) -> None:
        for parent in conditions[path[-1]]:
            if parent in path:
                circle = [*path[path.index(parent) :], parent]
                raise ConfigError(
                    f"`when` of `{keys.get(parent, parent)}` leads back to itself: "
                    f"{' depends on '.join(circle)}."
                )
            follow([*path, parent])

    for name in conditions:
        follow([name])
