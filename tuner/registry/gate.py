"""The gate: decides whether a challenger replaces the champion. Numbers in, a decision out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.config.schema import GateConfig
from tuner.evaluation import mcnemar
from tuner.evaluation.measures import (
    Counts,
    Probabilities,
    accuracy_interval,
    confusion_matrix,
    evaluate,
)

METRICS = {
    "accuracy": "test accuracy",
    "balanced_accuracy": "mean recall of the classes",
    "loss": "test loss",
}
"""The metrics that the gate can compare, with their names in messages."""


@dataclass(frozen=True)
class Measured:
    """The performance of one version of a model on the test split.

    Attributes:
        version: Its number in the registry.
        labels: The split's true classes, int64 `(num_test,)`.
        probabilities: The version's output for the split, float32 `(num_test, classes)`.
        num_parameters: Number of weights, trainable or not.
        latency_ms: Milliseconds that it takes for one image; None if nobody asked for it.
    """

    version: str
    labels: npt.NDArray[np.int64]
    probabilities: Probabilities
    num_parameters: int
    latency_ms: float | None = None

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Whether it gets each image right, bool `(num_test,)`."""
        hits: npt.NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return hits

    @property
    def accuracy(self) -> float:
        """Share of the images that it gets right, in `[0, 1]`."""
        return float(self.hits.mean())

    @property
    def confusion(self) -> Counts:
        """Counts `(classes, classes)`: rows are true classes, columns predicted ones."""
        predicted = self.probabilities.argmax(axis=1)
        return confusion_matrix(self.labels, predicted, self.probabilities.shape[1])

    @property
    def recalls(self) -> npt.NDArray[np.float64]:
        """Share of each class that it gets right, `(classes,)`; NaN without test images."""
        confusion = self.confusion
        totals = confusion.sum(axis=1)
        return np.where(totals > 0, np.diag(confusion) / np.maximum(totals, 1), np.nan)

    def metric(self, name: str) -> float:
        """Return one of `METRICS`."""
        if name == "loss":
            return evaluate(self.probabilities, self.labels).loss
        return self.accuracy if name == "accuracy" else float(np.nanmean(self.recalls))

    def to_dict(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """Return its numbers in the form of the decision's artifact."""
        low, high = accuracy_interval(int(self.hits.sum()), len(self.hits))
        recalls = {
            name: round(float(recall), 6)
            for name, recall in zip(class_names, self.recalls, strict=True)
            if not np.isnan(recall)
        }
        return {
            "version": self.version,
            "num_right": int(self.hits.sum()),
            "num_wrong": int((~self.hits).sum()),
            **{name: round(self.metric(name), 6) for name in METRICS},
            "accuracy_interval": [round(low, 6), round(high, 6)],
            "recalls": recalls,
            "num_parameters": self.num_parameters,
            "latency_ms": None if self.latency_ms is None else round(self.latency_ms, 3),
        }


@dataclass(frozen=True)
class Agreement:
    """Numbers of test images that two models get right, alone or together."""

    both_right: int
    only_challenger: int
    only_champion: int
    both_wrong: int

    @classmethod
    def of(
        cls, challenger: npt.NDArray[np.bool_], champion: npt.NDArray[np.bool_]
    ) -> "Agreement":
        """Count the hits of two models on the same images.

        Args:
            challenger: Whether the challenger gets each image right, `(num_test,)`.
            champion: The same for the champion.
        """
        return cls(
            int(np.count_nonzero(challenger & champion)),
            int(np.count_nonzero(challenger & ~champion)),
            int(np.count_nonzero(~challenger & champion)),
            int(np.count_nonzero(~challenger & ~champion)),
        )

    @property
    def p_value(self) -> float:
        """Probability of at least this lead if the two models were equally good."""
        return mcnemar.p_value(self.only_challenger, self.only_champion, "greater")


@dataclass(frozen=True)
class GateDecision:
    """Whether the challenger replaces the champion.

    Attributes:
        promoted: Whether it does.
        reason: The gate's reason, in one or a few sentences.
        challenger: Measurements of the challenger.
        champion: Measurements of the champion; None if there was none, or none that the
            challenger could be compared with.
        agreement: How many images the two get right; None without such a champion.
        forced: Why a person promotes it although the gate refuses it; None if nobody does.
    """

    promoted: bool
    reason: str
    challenger: Measured
    champion: Measured | None = None
    agreement: Agreement | None = None
    forced: str | None = None

    @property
    def why(self) -> str:
        """The gate's reason and, if the gate was overruled, the person's."""
        if self.forced is None:
            return self.reason
        return f"The gate refuses it: {self.reason} It is overruled (force=true): {self.forced}"

    def overruled(self, reason: str) -> "GateDecision":
        """Return the decision of a person who promotes it whatever the gate says.

        A challenger that the gate lets through needs no force, so that decision stays.

        Args:
            reason: The person's reason.
        """
        return self if self.promoted else replace(self, promoted=True, forced=reason)

    def to_dict(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """Return the decision in the form of the artifact `decision.json`."""
        champion, agreement = self.champion, self.agreement
        return {
            "promoted": self.promoted,
            "reason": self.reason,
            "forced": self.forced,
            "challenger": self.challenger.to_dict(class_names),
            "champion": champion and champion.to_dict(class_names),
            "agreement": agreement and asdict(agreement),
            "p_value": agreement and agreement.p_value,
        }


def decide(
    gate: GateConfig,
    challenger: Measured,
    champion: Measured | None,
    class_names: tuple[str, ...],
) -> GateDecision:
    """Decide whether a challenger replaces the champion.

    It must keep within the limits and, if there is a champion, be better than it by the
    configured rule. A tie keeps the champion.

    Args:
        gate: The rule.
        challenger: Measurements of the challenger.
        champion: Measurements of the champion on the same images, or None.
        class_names: One name per class.
    """
    broken = _broken_limits(gate, challenger)
    if champion is None:
        if broken:
            return GateDecision(False, f"{'; '.join(broken)}.", challenger)
        return GateDecision(True, "There was no champion to beat.", challenger)
    agreement = Agreement.of(challenger.hits, champion.hits)
    compared = _compared(challenger, champion, agreement)
    broken += _shortcomings(gate, challenger, champion, agreement)
    broken += _dropped_classes(gate, challenger, champion, class_names)
    if broken:
        reason = f"{compared} It does not pass: {'; '.join(broken)}."
        return GateDecision(False, reason, challenger, champion, agreement)
    return GateDecision(True, compared, challenger, champion, agreement)


def has_limits(gate: GateConfig) -> bool:
    """Say whether there are limits that a champion must keep within too."""
    limits = (gate.min_accuracy, gate.max_parameters, gate.max_latency_ms)
    return any(limit is not None for limit in limits)


def _compared(challenger: Measured, champion: Measured, agreement: Agreement) -> str:
    """Describe the results of the two, whatever the decision."""
    num_test = len(challenger.hits)
    return (
        f"It gets {int(challenger.hits.sum()):,} of {num_test:,} test images right "
        f"({challenger.accuracy:.2%}), and the champion, version {champion.version}, "
        f"{int(champion.hits.sum()):,} ({champion.accuracy:.2%}); right in only one of the "
        f"two: challenger {agreement.only_challenger:,}, champion {agreement.only_champion:,} "
        f"(McNemar's exact test: p = {agreement.p_value:.2g})."
    )


def _broken_limits(gate: GateConfig, challenger: Measured) -> list[str]:
    broken = []
    if gate.min_accuracy is not None and challenger.accuracy < gate.min_accuracy:
        broken.append(
            f"its test accuracy, {challenger.accuracy:.4f}, is below "
            f"registry.gate.min_accuracy={gate.min_accuracy:g}"
        )
    if gate.max_parameters is not None and challenger.num_parameters > gate.max_parameters:
        broken.append(
            f"its number of parameters, {challenger.num_parameters:,}, is above "
            f"registry.gate.max_parameters={gate.max_parameters}"
        )
    most, latency = gate.max_latency_ms, challenger.latency_ms
    if most is not None and latency is not None and latency > most:
        broken.append(
            f"its latency for one image, {latency:.2f} ms, is above "
            f"registry.gate.max_latency_ms={most:g}"
        )
    return broken


def _shortcomings(
    gate: GateConfig, challenger: Measured, champion: Measured, agreement: Agreement
) -> list[str]:
    """Say in what the challenger is not sufficiently better."""
    ours, theirs = challenger.metric(gate.metric), champion.metric(gate.metric)
    gain = theirs - ours if gate.metric == "loss" else ours - theirs
    if not gain > gate.min_improvement:
        margin = gate.min_improvement
        least = f" by more than registry.gate.min_improvement={margin:g}" if margin else ""
        said = METRICS[gate.metric]
        return [f"its {said}, {ours:.4f}, is not better than {theirs:.4f}{least}"]
    if gate.confidence and agreement.p_value > 1 - gate.confidence:
        return [
            f"the difference is not statistically significant, since p is above "
            f"{1 - gate.confidence:.2g} (registry.gate.confidence={gate.confidence:g})"
        ]
    return []


def _dropped_classes(
    gate: GateConfig, challenger: Measured, champion: Measured, class_names: tuple[str, ...]
) -> list[str]:
    if gate.max_class_drop is None:
        return []
    falls: Mapping[str, tuple[float, float]] = {
        name: (before, after)
        for name, before, after in zip(
            class_names, champion.recalls, challenger.recalls, strict=True
        )
        if before - after > gate.max_class_drop
    }
    return [
        f"its recall of class {name} falls from {before:.4f} to {after:.4f}, by more than "
        f"registry.gate.max_class_drop={gate.max_class_drop:g}"
        for name, (before, after) in falls.items()
    ]
