"""One hyperparameter: fixed, chosen or ranged, and how each is written in the configuration."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import ConfigError
from tuner.models import Limit
from tuner.trial import Value, is_number, number

RANGE_KEYS = ("min", "max", "step", "log")

CHOICES = "choices"
"""Key of a choice that has a `when`: `{choices: [a, b], when: …}`; without it, `[a, b]`."""

_SLACK = 1e-9
"""In steps: it keeps `max` when the step divides the range up to rounding."""


@dataclass(frozen=True)
class Fixed:
    """A hyperparameter that is the same in every trial."""

    value: Value

    @property
    def options(self) -> tuple[Value, ...]:
        """All values it can take."""
        return (self.value,)

    def draw(self, drawn: random.Random) -> Value:
        """Return its value."""
        return self.value

    def holds(self, value: Value) -> bool:
        """Say whether that is its value."""
        return is_same(value, self.value)

    def declare(self, value: Value) -> Value:
        """Return the value as Keras Tuner is told of it."""
        return value


@dataclass(frozen=True)
class Choice:
    """A hyperparameter that takes one of at least two listed values.

    Keras Tuner only takes options of one type, and no `null`. Options of several types are
    declared to it as JSON: `[null, 2, max]` becomes `'null'`, `'2'`, `'"max"'`.
    """

    options: tuple[Value, ...]

    @property
    def declared(self) -> tuple[int | float | str | bool, ...]:
        """The options as they are declared to Keras Tuner, in order."""
        alike = tuple(option for option in self.options if option is not None)
        if len(alike) == len(self.options) and len({type(option) for option in alike}) == 1:
            return alike
        return tuple(json.dumps(option) for option in self.options)

    def chosen(self, declared: Value) -> Value:
        """Return the option that Keras Tuner has chosen, since it turns `true` into 1."""
        by_declared: dict[Value, Value] = dict(zip(self.declared, self.options, strict=True))
        return by_declared.get(declared, declared)

    def holds(self, value: Value) -> bool:
        """Say whether the value is one of the options."""
        return any(is_same(value, option) for option in self.options)

    def declare(self, value: Value) -> Value:
        """Return an option as Keras Tuner is told of it."""
        pairs = zip(self.options, self.declared, strict=True)
        return next(declared for option, declared in pairs if is_same(value, option))

    def draw(self, drawn: random.Random) -> Value:
        """Draw an option, as `declared`; each is equally likely."""
        return drawn.choice(self.declared)


@dataclass(frozen=True)
class Range:
    """A hyperparameter between `min` and `max`, both included.

    Attributes:
        min: Smallest value; an integer range has integer `min`, `max` and `step`.
        max: Largest value.
        step: Distance between neighbours, or None: 1 for integers, any value for floats.
        log: Whether orders of magnitude are equally likely, as far as `step` allows.
    """

    min: int | float
    max: int | float
    step: int | float | None = None
    log: bool = False

    @property
    def is_integer(self) -> bool:
        """Whether the range holds whole numbers only."""
        return isinstance(self.min, int) and isinstance(self.max, int)

    @property
    def options(self) -> tuple[Value, ...] | None:
        """All values it can take, or None where they cannot be listed."""
        if self.is_integer:
            return tuple(range(int(self.min), int(self.max) + 1, int(self.step or 1)))
        if self.step is None:
            return None
        count = math.floor((self.max - self.min) / self.step + _SLACK) + 1
        # Rounded to what a person would write: 0.9, not 0.8999999999999999.
        return tuple(float(f"{self.min + i * self.step:.12g}") for i in range(count))

    def holds(self, value: Value) -> bool:
        """Say whether the value lies in the range, and on one of its steps."""
        if not is_number(value):
            return False
        if self.is_integer != isinstance(value, int) or not self.min <= value <= self.max:
            return False
        options = self.options
        return options is None or value in options

    def declare(self, value: Value) -> Value:
        """Return the value as Keras Tuner is told of it."""
        return value

    def draw(self, drawn: random.Random) -> Value:
        """Draw a value; each is equally likely, or each order of magnitude if `log`."""
        options = self.options
        if self.log:
            last = self.max if options is None else number(options[-1])
            return self.nearest(math.exp(drawn.uniform(math.log(self.min), math.log(last))))
        return drawn.uniform(self.min, self.max) if options is None else drawn.choice(options)

    def nearest(self, value: float) -> Value:
        """Return the value of the range that is nearest to one between its bounds."""
        options = self.options
        if options is None:
            return value
        place = (value - self.min) / (self.step or 1)
        return options[min(max(round(place), 0), len(options) - 1)]


Dimension = Fixed | Choice | Range


def is_same(one: Value, other: Value) -> bool:
    """Compare values with their types: 1, 1.0 and true are equal to Python."""
    return type(one) is type(other) and one == other


def parse_dimension(key: str, given: object) -> Dimension:
    """Read one hyperparameter as it stands in the configuration.

    Args:
        key: The configuration's key, for messages.
        given: A scalar is fixed, a list is a choice, a mapping is a range, or a choice whose
            list is its `choices`; without a `when`.

    Raises:
        ConfigError: If it is none of these, or not allowed.
    """
    if isinstance(given, Mapping):
        if CHOICES not in given:
            return _parse_range(key, given)
        if len(given) > 1:
            raise ConfigError(
                f"`{key}` with `{CHOICES}` takes no other key than `when`, but got "
                f"{', '.join(name for name in given if name != CHOICES)}."
            )
        given = given[CHOICES]
    if isinstance(given, Sequence) and not isinstance(given, str):
        return _parse_choice(key, given)
    return Fixed(_scalar(key, given))


def _scalar(key: str, given: object) -> Value:
    if isinstance(given, float) and not math.isfinite(given):
        raise ConfigError(f"`{key}` must be finite, but got {given}.")
    if given is None or isinstance(given, int | float | str | bool):
        return given
    raise ConfigError(
        f"`{key}` must hold numbers, strings, true, false or null, but got {given!r}."
    )


def _parse_choice(key: str, given: Sequence[object]) -> Dimension:
    options = tuple(_scalar(key, option) for option in given)
    if not options:
        raise ConfigError(f"`{key}` is an empty choice: list at least one value.")
    if {type(option) for option in options} == {int, float}:
        options = tuple(float(option) for option in options if option is not None)
    # As JSON, since 1, 1.0 and true are equal to Python.
    if len({json.dumps(option) for option in options}) < len(options):
        raise ConfigError(f"`{key}` lists a value twice: {listed(options)}.")
    return Choice(options) if len(options) > 1 else Fixed(options[0])


def _parse_range(key: str, given: Mapping[str, Any]) -> Dimension:
    if unknown := sorted(set(given) - set(RANGE_KEYS)):
        raise ConfigError(
            f"`{key}` has the unknown key `{unknown[0]}`; a range takes "
            f"{', '.join(RANGE_KEYS)} and when, a choice {CHOICES} and when."
        )
    for bound in ("min", "max"):
        if not _is_finite(given.get(bound)):
            raise ConfigError(
                f"`{bound}` of `{key}` must be a finite number, but got {given.get(bound)!r}."
            )
    low, high = given["min"], given["max"]
    step, log = given.get("step"), given.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"`log` of `{key}` must be true or false, but got {log!r}.")
    if low > high:
        raise ConfigError(
            f"`max` of `{key}` must be at least `min`, but got min={low}, max={high}."
        )
    if low == high:
        return Fixed(low)
    if log and low <= 0:
        raise ConfigError(f"`min` of `{key}` must be above 0 on a log scale, but got {low}.")
    if step is not None:
        if not _is_finite(step) or step <= 0:
            raise ConfigError(f"`step` of `{key}` must be a number above 0, but got {step!r}.")
        if isinstance(low, int) and isinstance(high, int) and not isinstance(step, int):
            low, high = float(low), float(high)
    if isinstance(low, int) != isinstance(high, int):
        low, high = float(low), float(high)
    if step is not None and (high - low) / step + _SLACK < 1:
        # The first step already leads out of the range: no other value is left.
        return Fixed(low)
    return Range(low, high, step, log)


def _is_finite(given: object) -> bool:
    return is_number(given) and math.isfinite(given)


def check_limit(key: str, dimension: Dimension, limit: Limit) -> None:
    """Check that every value that a hyperparameter can take is allowed.

    Raises:
        ConfigError: If one is not; it names the key and the value.
    """
    for value in ends(dimension):
        if not limit.allows(value):
            raise ConfigError(f"`{key}` must be {limit}, but got {_written(value)}.")
    # A range between whole numbers may still hold fractions.
    if limit.integer and isinstance(dimension, Range) and not dimension.is_integer:
        raise ConfigError(f"`{key}` must be {limit}, but its range holds fractions.")


def ends(dimension: Dimension) -> tuple[Value, ...]:
    """Return the smallest and the largest value of a range, or all options of a choice."""
    if isinstance(dimension, Range):
        return dimension.min, dimension.max
    return dimension.options


def listed(options: Iterable[Value]) -> str:
    """Return options as a list in a configuration, for messages."""
    return "[" + ", ".join(map(_written, options)) + "]"


def _written(value: Value) -> str:
    return "null" if value is None else repr(value)
