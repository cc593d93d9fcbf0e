"""The configured space: fixed, chosen and ranged hyperparameters, and when trials have them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.config import conditions
from tuner.config.conditions import Conditions, alike, depth, first_of, has
from tuner.config.hyperparameters import (
    Choice,
    Dimension,
    Fixed,
    Range,
    check_limit,
    parse_dimension,
)
from tuner.errors import ConfigError
from tuner.models import LIMITS, MOMENTUM, NEUTRAL, OMITTED, OPTIONAL, SPACES, Limit
from tuner.trial import Value, Values, whole
from tuner.wording import did_you_mean

GROUP = "augment"
"""Key of a group of hyperparameters: `augment: {shift: 0.1}` is `augment_shift`."""


@dataclass(frozen=True)
class Space:
    """The hyperparameters of a study and what each may be.

    Where there are `layers`, `units` stands for one hyperparameter per layer: `units_1` to
    `units_<layers>`. A trial has only those of its own layers. A separate `units_2` in the
    configuration overrides `units` for that layer.

    Attributes:
        dimensions: The hyperparameters as they are configured.
        when: The conditions of those that only some trials have.
    """

    dimensions: Mapping[str, Dimension]
    when: Mapping[str, Conditions] = field(default_factory=dict)

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
        dimensions: dict[str, Dimension] = {}
        keys: dict[str, str] = {}
        when: dict[str, dict[str, Any]] = {}
        for key, name, setting in _flattened(space):
            layer = _layer_of(name)
            base = "units" if layer and "layers" in space else name
            if known is not None and base not in known:
                names = [config_key(n) for n in known]
                hint = did_you_mean(key, names, "`space.{}`")
                raise ConfigError(
                    f"`space.{key}` is not a hyperparameter of {model}, which takes "
                    f"{', '.join(names)}.{hint}"
                )
            given, condition = conditions.split(setting)
            dimension = parse_dimension(f"space.{key}", given)
            limit = (known or LIMITS).get(base)
            if limit is not None:
                check_limit(f"space.{key}", dimension, limit)
            # A setting that changes nothing is left out of a trial's values.
            if known is not None and name in OMITTED and dimension == Fixed(0):
                continue
            dimensions[name] = dimension
            if condition is not None:
                keys[name] = f"space.{key}"
                when[name] = conditions.parse(keys[name], name, condition)
                if known is not None and name not in NEUTRAL:
                    raise ConfigError(
                        f"`{keys[name]}` cannot have a `when`, since every trial of {model} "
                        f"needs it. It can do without {', '.join(map(config_key, NEUTRAL))}."
                    )
        _check_layers(dimensions)
        for name in known or LIMITS:
            if name not in dimensions and name not in OPTIONAL:
                raise ConfigError(
                    f"`space.{name}` is missing: give a number, a list of choices or a range "
                    f"{{min: …, max: …}}."
                )
        expanded = dict(cls(dimensions).expanded())
        parsed = cls(dimensions, conditions.resolve(keys, when, expanded))
        conditions.check_no_circle(keys, parsed.conditions())
        if never := expanded.keys() - {name for box in parsed.boxes() for name in box}:
            name = min(never)
            raise ConfigError(
                f"`{keys.get(name, f'space.{name}')}` can never occur: its conditions exclude "
                f"each other."
            )
        if known is not None:
            _check_momentum(parsed)
        return parsed

    def without(self, name: str) -> Space:
        """Return the space with one hyperparameter fewer, on which no other depends."""
        return Space({k: v for k, v in self.dimensions.items() if k != name}, self.when)

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
                yield name, dimension, self.when.get(name, {})
            elif name == "units":
                for i in range(1, max(layers) + 1):
                    key = f"units_{i}" if f"units_{i}" in self.dimensions else name
                    given = self.when.get(key, {})
                    deep = [n for n in given.get("layers", layers) if whole(n) >= i]
                    yield f"units_{i}", self.dimensions[key], {**given, "layers": tuple(deep)}

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
        return sum(math.prod(map(len, box.values())) for box in self.boxes())

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every point of the space once, where it is not continuous."""
        for box in self.boxes():
            for chosen in itertools.product(*box.values()):
                yield dict(zip(box, chosen, strict=True))

    def boxes(self) -> Iterator[dict[str, tuple[Value, ...]]]:
        """Yield parts of the space in each of which all points have the same names.

        A point of a part has any of the options that the part gives for each name; of a
        continuous range it gives none.
        """
        conditions = self.conditions()
        options = {name: dimension.options or () for name, dimension in self.expanded()}
        parents = {parent for given in conditions.values() for parent in given}
        choices: list[dict[str, tuple[Value, ...]]] = [{}]
        for name in sorted(parents, key=lambda name: depth(name, conditions)):
            groups = alike(name, options[name], conditions)
            choices = [
                extended
                for choice in choices
                for extended in (
                    [{**choice, name: group} for group in groups]
                    if has(name, first_of(choice), conditions)
                    else [choice]
                )
            ]
        for choice in choices:
            values = first_of(choice)
            yield {
                name: choice.get(name, options[name])
                for name in options
                if has(name, values, conditions)
            }

    def needed(self) -> dict[str, list[tuple[str, tuple[Value, ...]]]]:
        """Return all that must hold for a trial to have each hyperparameter, in order.

        It includes the conditions of those that it depends on, and excludes what always holds.
        """
        conditions, dimensions = self.conditions(), dict(self.expanded())

        def of(name: str) -> list[tuple[str, tuple[Value, ...]]]:
            found: list[tuple[str, tuple[Value, ...]]] = []
            for parent, allowed in conditions[name].items():
                found += [condition for condition in of(parent) if condition not in found]
                if len(allowed) < len(dimensions[parent].options or ()):
                    found.append((parent, allowed))
            return found

        return {name: of(name) for name in conditions}


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


def _check_momentum(space: Space) -> None:
    """Refuse a momentum in trials whose optimiser takes none."""
    for box in space.boxes():
        wrong = [name for name in box["optimizer"] if name not in MOMENTUM]
        if "momentum" in box and wrong:
            raise ConfigError(
                f"`space.momentum` is for the optimizers {' and '.join(MOMENTUM)}, but "
                f"`space.optimizer` may be {wrong[0]}: give {{min: …, max: …, when: "
                f"{{optimizer: [sgd]}}}}, or 0."
            )
