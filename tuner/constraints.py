"""Limits that a trial's model must keep within to be the best of its study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tuner import names

BEFORE_TRAINING = (names.NUM_PARAMETERS, names.LATENCY_MS)
"""The metrics of a model that are known once it is built."""

KINDS = ("max", "min")
"""What a limit may be: the largest value allowed, or the smallest."""

GATE = "gate"
"""In place of constraints: those that the gate's limits are."""

_KEY = "search.constraints"


@dataclass(frozen=True)
class Constraint:
    """A limit for one metric.

    Attributes:
        key: The configuration's key that sets it, such as `search.constraints.latency_ms.max`.
        metric: `num_parameters`, `latency_ms`, or a validation metric of the trial's model.
        kind: Whether the bound is the largest value allowed or the smallest.
        bound: The bound; a metric that equals it is within the limit.
    """

    key: str
    metric: str
    kind: Literal["max", "min"]
    bound: float

    def violation(self, metrics: Mapping[str, float]) -> float | None:
        """Return how far a trial is beyond the bound, as a share of it.

        The shares of several constraints can be added, whatever their units.

        Args:
            metrics: The trial's metrics.

        Returns:
            Above 0 if the trial breaks the constraint, at most 0 if it meets it; None if the
            metric was not measured.
        """
        value = metrics.get(self.metric)
        if value is None:
            return None
        excess = value - self.bound if self.kind == "max" else self.bound - value
        return excess / (abs(self.bound) or 1.0)

    def is_met(self, metrics: Mapping[str, float]) -> bool:
        """Say whether a trial is known to keep within the limit."""
        violation = self.violation(metrics)
        return violation is not None and violation <= 0

    def say(self, metrics: Mapping[str, float]) -> str:
        """Say how a trial breaks it."""
        limit = f"{self.key}={self.bound:.10g}"
        value = metrics.get(self.metric)
        if value is None:
            return f"{self.metric} was not measured ({limit})"
        side = "above" if self.kind == "max" else "below"
        return f"{self.metric} {shown(self.metric, value)} is {side} {limit}"


@dataclass(frozen=True)
class Constraints:
    """All limits of a study; none if empty, which every trial meets."""

    limits: tuple[Constraint, ...] = ()

    @classmethod
    def parse(cls, given: object) -> Constraints:
        """Read `search.constraints`, which has been checked.

        Args:
            given: Bounds by metric and kind, as in `{"num_parameters": {"max": 100000}}`; None
                for no constraints.
        """
        bounds = given if isinstance(given, Mapping) else {}
        return cls(
            tuple(
                Constraint(f"{_KEY}.{metric}.{kind}", str(metric), kind, float(bound))
                for metric, kinds in bounds.items()
                for kind, bound in kinds.items()
                if bound is not None
            )
        )

    @classmethod
    def of_gate(cls, max_parameters: float | None, max_latency_ms: float | None) -> Constraints:
        """Return those of the gate's limits that do not look at the test images."""
        limits = (
            ("max_parameters", names.NUM_PARAMETERS, max_parameters),
            ("max_latency_ms", names.LATENCY_MS, max_latency_ms),
        )
        return cls(
            tuple(
                Constraint(f"registry.gate.{key}", metric, "max", float(bound))
                for key, metric, bound in limits
                if bound is not None
            )
        )

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self.limits)

    def __iter__(self) -> Iterator[Constraint]:
        """Return them in the order in which they were given."""
        return iter(self.limits)

    def __str__(self) -> str:
        """Write them as on the command line."""
        return " ".join(f"{limit.key}={limit.bound:.10g}" for limit in self.limits)

    def __add__(self, other: Constraints) -> Constraints:
        """Return these and others."""
        return Constraints(self.limits + other.limits)

    @property
    def metrics(self) -> list[str]:
        """The metrics that they look at, each once."""
        return list(dict.fromkeys(limit.metric for limit in self.limits))

    @property
    def before_training(self) -> Constraints:
        """Those that a model can be seen to break before it is trained."""
        return Constraints(tuple(c for c in self.limits if c.metric in BEFORE_TRAINING))

    def are_met(self, metrics: Mapping[str, float]) -> bool:
        """Say whether a trial is known to meet them all."""
        return all(limit.is_met(metrics) for limit in self.limits)

    def broken(self, metrics: Mapping[str, float]) -> str:
        """Say which of them a trial breaks, and how; empty if it meets them all."""
        return "; ".join(c.say(metrics) for c in self.limits if not c.is_met(metrics))

    def violations(self, metrics: Mapping[str, float]) -> dict[str, float | None]:
        """Return a trial's `Constraint.violation` of each of them, by the constraint's key."""
        return {limit.key: limit.violation(metrics) for limit in self.limits}

    def distance(self, metrics: Mapping[str, float]) -> float:
        """Return how far a trial is from meeting them all: the sum of what it is beyond.

        A metric that was not measured counts as far beyond its bound.
        """
        shares = (limit.violation(metrics) for limit in self.limits)
        return sum(float("inf") if share is None else max(share, 0.0) for share in shares)


NO_CONSTRAINTS = Constraints()
"""What every trial meets."""


def shown(metric: str, value: float) -> str:
    """Write a metric for a person: parameters are counted, times are short, shares have digits.

    Args:
        metric: Its name.
        value: Its value.
    """
    if metric == names.NUM_PARAMETERS:
        return f"{value:,.0f}"
    return f"{value:.3g} ms" if metric == names.LATENCY_MS else f"{value:.4f}"
