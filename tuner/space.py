"""The configured space: what is fixed, what is chosen, what is ranged, and its KT form."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError
from tuner.models import LIMITS, SPACES, Limit
from tuner.trial import Value, Values

if TYPE_CHECKING:
    import keras_tuner

RANGE_KEYS = ("min", "max", "step", "log")


@dataclass(frozen=True)
class Fixed:
    """A hyperparameter that is the same in every trial."""

    value: Value

    @property
    def options(self) -> tuple[Value, ...]:
        """All values it can take."""
        return (self.value,)


@dataclass(frozen=True)
class Choice:
    """A hyperparameter that takes one of at least two listed values, all of one type."""

    options: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """A hyperparameter between `min` and `max`, both included.

    Attributes:
        min: Smallest value; an integer range has integer `min`, `max` and `step`.
        max: Largest value.
        step: Distance between neighbours, or None: 1 for integers, any value for floats.
        log: Whether orders of magnitude are equally likely; never together with `step`.
    """

    min: int | float
    max: int | float
    step: int | float | None = None
    log: bool = False

    @property
    def is_integer(self) -> bool:
        """Say whether only whole numbers are meant."""
        return isinstance(self.min, int) and isinstance(self.max, int)

    @property
    def options(self) -> tuple[Value, ...] | None:
        """All values it can take, or None where they cannot be listed."""
        if self.is_integer:
            return tuple(range(int(self.min), int(self.max) + 1, int(self.step or 1)))
        if self.step is None:
            return None
        # The small slack keeps `max` when the step divides the range up to rounding.
        count = math.floor((self.max - self.min) / self.step + 1e-9) + 1
        # Rounded to what a person would write: 0.9, not 0.8999999999999999.
        return tuple(float(f"{self.min + i * self.step:.12g}") for i in range(count))


Dimension = Fixed | Choice | Range


@dataclass(frozen=True)
class Space:
    """The hyperparameters of a study and what each may be.

    `units` beside `layers` stands for one hyperparameter a layer: `units_1` to
    `units_<layers>`, of which a trial has only those of the layers it has. A `units_2` of its
    own in the configuration overrules `units` for that layer.
    """

    dimensions: Mapping[str, Dimension]

    @classmethod
    def parse(cls, space: Mapping[str, Any], model: str) -> Space:
        """Read the space as it stands in the configuration.

        Args:
            space: A scalar is fixed, a list is a choice, a mapping is a range.
            model: The model function's dotted name; a built-in model's hyperparameters are
                checked against what it knows.

        Raises:
            ConfigError: If a name is unknown to a built-in model, or a value out of range.
        """
        known = SPACES.get(model)
        dimensions = {}
        for name, given in space.items():
            layer = _layer_of(name)
            base = "units" if layer and "layers" in space else name
            if known is not None and base not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f" Did you mean `space.{close[0]}`?" if close else ""
                raise ConfigError(
                    f"`space.{name}` is not a hyperparameter of {model}, which takes "
                    f"{', '.join(known)}.{hint}"
                )
            dimensions[name] = _parse_dimension(f"space.{name}", given)
            limit = (known or LIMITS).get(base)
            if limit is not None:
                _check_limit(f"space.{name}", dimensions[name], limit)
        _check_layers(dimensions)
        for name in known or LIMITS:
            if name not in dimensions and name != "epochs":
                raise ConfigError(
                    f"`space.{name}` is missing: give a number, a list of choices or a range "
                    f"{{min: …, max: …}}."
                )
        return cls(dimensions)

    def without(self, name: str) -> Space:
        """Return the space with one hyperparameter fewer."""
        return Space({k: v for k, v in self.dimensions.items() if k != name})

    @property
    def searched(self) -> frozenset[str]:
        """Names of the hyperparameters that are not the same in every trial."""
        return frozenset(n for n, d in self.expanded() if not isinstance(d, Fixed))

    @property
    def _layer_options(self) -> tuple[int, ...] | None:
        """The numbers of layers, where the space has a width for each of them."""
        layers = self.dimensions.get("layers")
        if layers is None or "units" not in self.dimensions:
            return None
        return tuple(int(n) for n in layers.options or ())

    def expanded(self) -> Iterator[tuple[str, Dimension]]:
        """Yield every hyperparameter a trial can have, `units` as one for each layer."""
        for name, dimension, _ in self._expanded():
            yield name, dimension

    def _expanded(self) -> Iterator[tuple[str, Dimension, int]]:
        """Yield every hyperparameter a trial can have, and the layer it is of (0: none)."""
        layers = self._layer_options
        for name, dimension in self.dimensions.items():
            if layers is None or not (name == "units" or _layer_of(name)):
                yield name, dimension, 0
            elif name == "units":
                for i in range(1, max(layers) + 1):
                    yield f"units_{i}", self.dimensions.get(f"units_{i}", dimension), i

    def complete(self, proposed: Values) -> dict[str, Value]:
        """Add the fixed values to those an oracle proposed, in the configuration's order.

        Args:
            proposed: Values of the searched hyperparameters; others in it are dropped.

        Returns:
            Plain Python numbers and strings, without the widths of layers that are not there.
        """
        fixed = {n: d.value for n, d, _ in self._expanded() if isinstance(d, Fixed)}
        values = {**proposed, **fixed}
        # A layer count of 0 or a missing one has no widths at all.
        num_layers = int(values.get("layers", 0))
        return {
            name: _plain(values[name], dimension)
            for name, dimension, layer in self._expanded()
            if layer <= num_layers and name in values
        }

    def size(self) -> int | None:
        """Count the points of the space, or return None where it is continuous."""
        layers = self._layer_options or (0,)
        shared = 1
        per_layer: dict[int, int] = {}
        for name, dimension, layer in self._expanded():
            if name == "layers" and self._layer_options:
                continue
            options = dimension.options
            if options is None:
                return None
            if layer:
                per_layer[layer] = len(options)
            else:
                shared *= len(options)
        return shared * sum(
            math.prod(per_layer.get(i, 1) for i in range(1, n + 1)) for n in layers
        )

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """Declare everything that is searched to Keras Tuner, widths under their layers."""
        import keras_tuner

        declared = keras_tuner.HyperParameters()
        layers = self._layer_options or ()
        is_searched = not isinstance(self.dimensions.get("layers"), Fixed)
        # A width is declared under its layer count, which must therefore come first.
        for name, dimension, layer in sorted(self._expanded(), key=lambda item: item[2] > 0):
            if isinstance(dimension, Fixed):
                continue
            if layer and is_searched:
                counts = [n for n in layers if n >= layer]
                with declared.conditional_scope("layers", counts):
                    _declare(declared, name, dimension)
            else:
                _declare(declared, name, dimension)
        return declared


def _declare(declared: Any, name: str, dimension: Choice | Range) -> None:
    options = dimension.options
    # A stepped float range is declared by its values: Keras Tuner loses the last to rounding.
    if isinstance(dimension, Choice) or (options is not None and not dimension.is_integer):
        declared.Choice(name, list(options or ()))
        return
    sampling = "log" if dimension.log else "linear"
    kind = declared.Int if dimension.is_integer else declared.Float
    kind(name, dimension.min, dimension.max, step=dimension.step, sampling=sampling)


def _layer_of(name: str) -> int:
    """Return 2 for `units_2`, and 0 for a name of another form."""
    stem, _, number = name.rpartition("_")
    return int(number) if stem == "units" and number.isdecimal() else 0


def _plain(value: Any, dimension: Dimension) -> Value:
    """Turn what an oracle proposes, NumPy's scalars and 1 for true, into Python's own."""
    plain: Value = value.item() if hasattr(value, "item") else value
    if isinstance(dimension, Choice) and isinstance(dimension.options[0], bool):
        return bool(plain)
    return plain


def _parse_dimension(key: str, given: Any) -> Dimension:
    if isinstance(given, Mapping):
        return _parse_range(key, given)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return _parse_choice(key, given)
    return Fixed(_scalar(key, given))


def _scalar(key: str, given: Any) -> Value:
    if isinstance(given, float) and not math.isfinite(given):
        raise ConfigError(f"`{key}` must be finite, but got {given}.")
    if isinstance(given, int | float | str | bool):
        return given
    raise ConfigError(f"`{key}` must hold numbers or strings, but got {given!r}.")


def _parse_choice(key: str, given: Sequence[Any]) -> Dimension:
    options = tuple(_scalar(key, option) for option in given)
    if not options:
        raise ConfigError(f"`{key}` is an empty choice: list at least one value.")
    types = {type(option) for option in options}
    if types == {int, float}:
        options = tuple(float(option) for option in options)
    elif len(types) > 1:
        raise ConfigError(f"`{key}` must list values of one type, but got {_listed(options)}.")
    if len(set(options)) < len(options):
        raise ConfigError(f"`{key}` lists a value twice: {_listed(options)}.")
    return Choice(options) if len(options) > 1 else Fixed(options[0])


def _parse_range(key: str, given: Mapping[str, Any]) -> Dimension:
    if unknown := sorted(set(given) - set(RANGE_KEYS)):
        raise ConfigError(
            f"`{key}` has the unknown key `{unknown[0]}`; a range takes "
            f"{', '.join(RANGE_KEYS)}."
        )
    for bound in ("min", "max"):
        if not _is_number(given.get(bound)):
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
        if log:
            raise ConfigError(
                f"`{key}` cannot have both `step` and `log`; list its values instead."
            )
        if not _is_number(step) or step <= 0:
            raise ConfigError(f"`step` of `{key}` must be a number above 0, but got {step!r}.")
        if isinstance(low, int) and isinstance(high, int) and not isinstance(step, int):
            low, high = float(low), float(high)
    if isinstance(low, int) != isinstance(high, int):
        low, high = float(low), float(high)
    return Range(low, high, step, log)


def _is_number(given: Any) -> bool:
    return (
        isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    )


def _check_limit(key: str, dimension: Dimension, limit: Limit) -> None:
    ends: Iterable[Value] = (
        (dimension.min, dimension.max) if isinstance(dimension, Range) else dimension.options
    )
    for value in ends:
        if not limit.allows(value):
            raise ConfigError(f"`{key}` must be {limit}, but got {value!r}.")
    # Between whole ends there may still be fractions.
    if limit.integer and isinstance(dimension, Range) and not dimension.is_integer:
        raise ConfigError(f"`{key}` must be {limit}, but its range has fractions.")


def _check_layers(dimensions: Mapping[str, Dimension]) -> None:
    """Check that the widths configured layer by layer are of layers that can exist."""
    layers = dimensions.get("layers")
    if layers is None or "units" not in dimensions:
        return
    _check_limit("space.layers", layers, Limit(min=1, integer=True))
    most = max(int(number) for number in layers.options or ())
    for name in dimensions:
        layer = _layer_of(name)
        if name.startswith("units_") and (name != f"units_{layer}" or not 1 <= layer <= most):
            raise ConfigError(
                f"`space.{name}` must be the width of a layer from 1 to {most}, as "
                f"`space.layers` has them: units_1 to units_{most}."
            )


def _listed(options: Iterable[Value]) -> str:
    return "[" + ", ".join(repr(option) for option in options) + "]"
