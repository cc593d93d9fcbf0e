"""The configured space: fixed, chosen and ranged hyperparameters, and its Keras Tuner form."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.config.hyperparameters import (
    Choice,
    Dimension,
    Fixed,
    Range,
    check_limit,
    is_same,
    parse_dimension,
)
from tuner.errors import ConfigError
from tuner.models import LIMITS, OPTIONAL, SPACES, Limit
from tuner.trial import Value, Values

if TYPE_CHECKING:
    import keras_tuner

GROUP = "augment"
"""Key of a group of hyperparameters: `augment: {shift: 0.1}` is `augment_shift`."""


Conditions = Mapping[str, tuple[Value, ...]]
"""The values of others with one of which, each, a trial has a hyperparameter."""


@dataclass(frozen=True)
class Space:
    """The hyperparameters of a study and what each may be.

    Where there are `layers`, `units` stands for one hyperparameter per layer: `units_1` to
    `units_<layers>`. A trial has only those of its own layers. A separate `units_2` in the
    configuration overrides `units` for that layer.
    """

    dimensions: Mapping[str, Dimension]

    @classmethod
    def parse(cls, space: Mapping[str, object], model: str) -> Space:
        """Read the space as it stands in the configuration.

        Args:
            space: A scalar is fixed, a list is a choice, a mapping is a range.
            model: The model function's dotted name; hyperparameters of a built-in model are
                checked against those it takes.

        Raises:
            ConfigError: If a name is unknown to a built-in model, or a value out of range.
        """
        known = SPACES.get(model)
        dimensions = {}
        for key, name, given in _flattened(space):
            layer = _layer_of(name)
            base = "units" if layer and "layers" in space else name
            if known is not None and base not in known:
                names = [config_key(n) for n in known]
                close = difflib.get_close_matches(key, names, 1)
                hint = f" Did you mean `space.{close[0]}`?" if close else ""
                raise ConfigError(
                    f"`space.{key}` is not a hyperparameter of {model}, which takes "
                    f"{', '.join(names)}.{hint}"
                )
            dimension = parse_dimension(f"space.{key}", given)
            limit = (known or LIMITS).get(base)
            if limit is not None:
                check_limit(f"space.{key}", dimension, limit)
            # A setting that changes nothing is left out of a trial's values.
            if not (known is not None and key != name and dimension == Fixed(0)):
                dimensions[name] = dimension
        _check_layers(dimensions)
        for name in known or LIMITS:
            if name not in dimensions and name not in OPTIONAL:
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
        return tuple(n for n in layers.options or () if isinstance(n, int))

    def expanded(self) -> Iterator[tuple[str, Dimension]]:
        """Yield every hyperparameter a trial can have, `units` as one for each layer."""
        for name, dimension, _ in self._expanded():
            yield name, dimension

    def conditions(self) -> dict[str, Conditions]:
        """Return when a trial has each hyperparameter; always if there are no conditions."""
        return {name: conditions for name, _, conditions in self._expanded()}

    def _expanded(self) -> Iterator[tuple[str, Dimension, Conditions]]:
        layers = self._layer_options
        for name, dimension in self.dimensions.items():
            if layers is None or not (name == "units" or _layer_of(name)):
                yield name, dimension, {}
            elif name == "units":
                for i in range(1, max(layers) + 1):
                    own = self.dimensions.get(f"units_{i}", dimension)
                    yield f"units_{i}", own, {"layers": tuple(n for n in layers if n >= i)}

    def complete(self, proposed: Values) -> dict[str, Value]:
        """Add the fixed values to those an oracle proposed, in the configuration's order.

        Args:
            proposed: Values of the searched hyperparameters, as they were declared to Keras
                Tuner; others among them are dropped.

        Returns:
            The values as the configuration has them, with the same types, without those that
            the trial does not have, such as the widths of further layers.
        """
        values = {
            name: dimension.value
            if isinstance(dimension, Fixed)
            else _plain(proposed[name], dimension)
            for name, dimension in self.expanded()
            if isinstance(dimension, Fixed) or name in proposed
        }
        conditions = self.conditions()
        return {name: value for name, value in values.items() if has(name, values, conditions)}

    def sample(self, drawn: random.Random) -> dict[str, Value]:
        """Draw a point, each hyperparameter by itself.

        Args:
            drawn: Source of the randomness.
        """
        return self.complete(
            {name: dimension.draw(drawn) for name, dimension in self.expanded()}
        )

    def holds(self, values: Values) -> bool:
        """Say whether values are a point of the space: the same names, with possible values.

        Args:
            values: A trial's values, of the very types that the space would give them.
        """
        dimensions = dict(self.expanded())
        if not values.keys() <= dimensions.keys():
            return False
        if not all(dimensions[name].holds(value) for name, value in values.items()):
            return False
        conditions = self.conditions()
        return all((name in values) == has(name, values, conditions) for name in dimensions)

    def declared(self, values: Values) -> dict[str, Value]:
        """Return the values of a point as they are declared to Keras Tuner."""
        dimensions = dict(self.expanded())
        return {name: dimensions[name].declare(value) for name, value in values.items()}

    def size(self) -> int | None:
        """Count the points of the space, or return None where it is continuous."""
        if any(dimension.options is None for _, dimension in self.expanded()):
            return None
        return sum(math.prod(map(len, rest.values())) for _, rest in self._decided())

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every point of the space once, where it is not continuous."""
        names = [name for name, _ in self.expanded()]
        for decided, rest in self._decided():
            for chosen in itertools.product(*rest.values()):
                values = decided | dict(zip(rest, chosen, strict=True))
                yield {name: values[name] for name in names if name in values}

    def _decided(self) -> Iterator[tuple[dict[str, Value], dict[str, tuple[Value, ...]]]]:
        """Yield each choice of what others depend on, with the options of all the rest."""
        conditions = self.conditions()
        options = {name: dimension.options or () for name, dimension in self.expanded()}
        parents = {parent for given in conditions.values() for parent in given}
        choices: list[dict[str, Value]] = [{}]
        for name in sorted(parents, key=lambda name: depth(name, conditions)):
            choices = [
                extended
                for choice in choices
                for extended in (
                    [choice | {name: option} for option in options[name]]
                    if has(name, choice, conditions)
                    else [choice]
                )
            ]
        for choice in choices:
            yield (
                choice,
                {
                    name: given
                    for name, given in options.items()
                    if name not in parents and has(name, choice, conditions)
                },
            )

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """Declare everything that is searched to Keras Tuner, widths under their layers."""
        import keras_tuner

        declared = keras_tuner.HyperParameters()
        conditions, searched = self.conditions(), self.searched
        # A width is declared under its layer count, which must therefore come first.
        for name, dimension in sorted(
            self.expanded(), key=lambda item: depth(item[0], conditions)
        ):
            if isinstance(dimension, Fixed):
                continue
            with contextlib.ExitStack() as scopes:
                for parent, allowed in conditions[name].items():
                    if parent in searched:
                        scopes.enter_context(declared.conditional_scope(parent, list(allowed)))
                _declare(declared, name, dimension)
        return declared


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


def _declare(
    declared: keras_tuner.HyperParameters, name: str, dimension: Choice | Range
) -> None:
    options = dimension.options
    # A stepped float range is declared by its values: Keras Tuner loses the last to rounding.
    if isinstance(dimension, Choice) or (options is not None and not dimension.is_integer):
        choices = dimension.declared if isinstance(dimension, Choice) else options
        declared.Choice(name, list(choices or ()))
        return
    sampling = "log" if dimension.log else "linear"
    kind = declared.Int if dimension.is_integer else declared.Float
    kind(name, dimension.min, dimension.max, step=dimension.step, sampling=sampling)


def _flattened(space: Mapping[str, object]) -> Iterator[tuple[str, str, object]]:
    """Yield key, name and setting of every hyperparameter, including those in the group."""
    for name, given in space.items():
        if isinstance(given, Mapping) and name == GROUP:
            for member, inner in given.items():
                yield f"{name}.{member}", f"{name}_{member}", inner
        else:
            yield name, name, given


def config_key(name: str) -> str:
    """Return what the configuration calls a hyperparameter: `augment_shift` in its group."""
    return name.replace("_", ".", 1) if name.startswith(f"{GROUP}_") else name


def _layer_of(name: str) -> int:
    """Return 2 for `units_2`, and 0 for a name of another form."""
    stem, _, number = name.rpartition("_")
    return int(number) if stem == "units" and number.isdecimal() else 0


def _plain(value: Any, dimension: Choice | Range) -> Value:
    """Turn a value that an oracle proposes, perhaps a NumPy scalar, into one of the space's."""
    plain: Value = value.item() if hasattr(value, "item") else value
    return dimension.chosen(plain) if isinstance(dimension, Choice) else plain


def _check_layers(dimensions: Mapping[str, Dimension]) -> None:
    """Check that the widths configured for single layers are for layers that can exist."""
    layers = dimensions.get("layers")
    if layers is None or "units" not in dimensions:
        return
    check_limit("space.layers", layers, Limit(min=1, integer=True))
    most = max(number for number in layers.options or () if isinstance(number, int))
    for name in dimensions:
        layer = _layer_of(name)
        if name.startswith("units_") and (name != f"units_{layer}" or not 1 <= layer <= most):
            raise ConfigError(
                f"`space.{name}` must be the width of a layer from 1 to {most}, as "
                f"`space.layers` has them: units_1 to units_{most}."
            )
