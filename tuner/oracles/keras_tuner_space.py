"""A space as Keras Tuner knows it: everything that is searched, under its conditions."""

import math

import keras_tuner
from keras_tuner.src.engine import conditions
from keras_tuner.src.engine.hyperparameters import hp_types

from tuner.config.conditions import depth
from tuner.config.hyperparameters import Choice, Fixed, Range
from tuner.config.space import Space


class LogSteps(hp_types.Choice):  # type: ignore[misc]
    """Evenly spaced numbers, of which orders of magnitude are equally likely.

    Keras Tuner's own ranges multiply by their step if they are logarithmic.
    """

    def prob_to_value(self, prob: float) -> int | float:
        """Return the number at a share of the way, in `[0, 1)`, by orders of magnitude."""
        low, high = self.values[0], self.values[-1]
        value = math.exp(math.log(low) + prob * (math.log(high) - math.log(low)))
        place = (value - low) / (self.values[1] - low)
        found: int | float = self.values[min(round(place), len(self.values) - 1)]
        return found

    def value_to_prob(self, value: float) -> float:
        """Return how far a number is on the way, in `[0, 1]`, by orders of magnitude."""
        low, high = math.log(self.values[0]), math.log(self.values[-1])
        return (math.log(value) - low) / (high - low)


# By this name Keras Tuner copies it with its trials.
hp_types.ALL_CLASSES[LogSteps.__name__] = LogSteps


def declare(space: Space) -> keras_tuner.HyperParameters:
    """Declare everything that is searched to Keras Tuner.

    Args:
        space: The space; what depends on others comes after them.
    """
    declared = keras_tuner.HyperParameters()
    dimensions, needed = dict(space.expanded()), space.needed()
    given = space.conditions()
    for name in sorted(dimensions, key=lambda name: depth(name, given)):
        dimension = dimensions[name]
        if isinstance(dimension, Fixed):
            continue
        # All that must hold, and not only the nearest: Keras Tuner's grid keeps values of what
        # a point does not have.
        declared._conditions = [
            conditions.Parent(parent, [dimensions[parent].declare(v) for v in allowed])
            for parent, allowed in needed[name]
        ]
        _declare(declared, name, dimension)
    declared._conditions = []
    return declared


def _declare(
    declared: keras_tuner.HyperParameters, name: str, dimension: Choice | Range
) -> None:
    options = dimension.options
    if isinstance(dimension, Choice):
        declared.Choice(name, list(dimension.declared))
    elif options is not None and dimension.log and dimension.step is not None:
        declared._retrieve(
            LogSteps(name=name, values=list(options), conditions=declared._conditions)
        )
    elif options is not None and not dimension.is_integer:
        # By its values: Keras Tuner loses the last to rounding.
        declared.Choice(name, list(options))
    else:
        sampling = "log" if dimension.log else "linear"
        kind = declared.Int if dimension.is_integer else declared.Float
        kind(name, dimension.min, dimension.max, step=dimension.step, sampling=sampling)
