"""Hyperparameters as Optuna knows them: each a distribution of numbers or of indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.config.hyperparameters import Choice, Range, is_same
from tuner.trial import Value, is_number

Param = int | float
"""What Optuna's trials hold: a number of the range itself, or the index of an option."""


@dataclass(frozen=True)
class Axis:
    """A hyperparameter that is searched, and its distribution in Optuna.

    Attributes:
        distribution: Optuna's distribution, over the range itself or over indices of options.
        options: What the indices stand for; None where the numbers are those of the range.
        steps: The range whose nearest value a number stands for; None where it is its own.
    """

    distribution: FloatDistribution | IntDistribution | CategoricalDistribution
    options: Sequence[Value] | None = None
    steps: Range | None = None

    @classmethod
    def of(cls, dimension: Choice | Range) -> Axis:
        """Make the axis of a hyperparameter.

        Options are told as indices, since Optuna's categories are compared by `==`, for which
        1, 1.0 and true are the same. Numbers are put in order, so that neighbours are alike.
        """
        if isinstance(dimension, Choice):
            if all(map(is_number, dimension.options)):
                return cls._of_ordered(sorted(dimension.options, key=_as_number))
            indices = tuple(range(len(dimension.options)))
            return cls(CategoricalDistribution(indices), dimension.options)
        low, high, log = dimension.min, dimension.max, dimension.log
        if dimension.options is not None and dimension.step is not None:
            high = _as_number(dimension.options[-1])
            if log:
                # Optuna's logarithmic ranges have no steps.
                kind = IntDistribution if dimension.is_integer else FloatDistribution
                return cls(kind(low, high, log=True), steps=dimension)
            if not dimension.is_integer:
                # By their indices: Optuna would compute each anew, and round it otherwise.
                return cls._of_ordered(dimension.options)
        if dimension.is_integer:
            step = int(dimension.step or 1)
            return cls(IntDistribution(int(low), int(high), step=step, log=log))
        return cls(FloatDistribution(float(low), float(high), log=log))

    @classmethod
    def _of_ordered(cls, options: Sequence[Value]) -> Axis:
        return cls(IntDistribution(0, len(options) - 1), options)

    def suggest(self, trial: Any, name: str) -> None:
        """Let an Optuna trial have a value.

        Args:
            trial: The `optuna.Trial`.
            name: The hyperparameter's name.
        """
        given = self.distribution
        if isinstance(given, CategoricalDistribution):
            trial.suggest_categorical(name, given.choices)
        elif isinstance(given, IntDistribution):
            trial.suggest_int(name, given.low, given.high, step=given.step, log=given.log)
        else:
            trial.suggest_float(name, given.low, given.high, log=given.log)

    def value(self, param: Param) -> Value:
        """Return the value of the space that a trial's number stands for.

        Raises:
            LookupError: If it is the index of no option.
        """
        if self.options is not None:
            return self.options[int(param)]
        if self.steps is not None:
            return self.steps.nearest(param)
        if isinstance(self.distribution, IntDistribution):
            return int(param)
        # The exponential of a logarithm may lie beyond the bound by a last bit.
        return float(min(max(param, self.distribution.low), self.distribution.high))

    def param(self, value: Value) -> Param:
        """Return the number that stands for a value of the space."""
        if self.options is not None:
            return next(i for i, option in enumerate(self.options) if is_same(option, value))
        return _as_number(value)


def _as_number(value: Value) -> Param:
    if not is_number(value):
        raise TypeError(f"A number is needed, but got {value!r}.")
    return value
