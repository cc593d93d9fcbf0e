"""Which of several studies has found the better model, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.evaluation import mcnemar

SIGNIFICANT = 0.05
"""Models whose p-value lies below this differ by more than chance."""


@dataclass(frozen=True)
class Contender:
    """The best model of one study, on the test images.

    Attributes:
        study: The study's name.
        data: The name of its data.
        digest: Their digest: models with the same one were tested on the same images.
        num_images: Number of test images.
        wrong: Those that it gets wrong, by their place in the test split.
    """

    study: str
    data: str
    digest: str
    num_images: int
    wrong: frozenset[int]

    @property
    def accuracy(self) -> float:
        """Share of the images that it gets right, in `[0, 1]`."""
        return 1 - len(self.wrong) / self.num_images


@dataclass(frozen=True)
class Verdict:
    """Two models on the same test images.

    Attributes:
        first: The one with the higher test accuracy.
        second: The other one.
        p_value: Probability of at least this difference if they were equally good, by
            McNemar's exact two-sided test; if several were compared with the first, adjusted
            for their number.
    """

    first: Contender
    second: Contender
    p_value: float

    @property
    def only_first(self) -> int:
        """Number of images that only the first gets right."""
        return len(self.second.wrong - self.first.wrong)

    @property
    def only_second(self) -> int:
        """Number of images that only the second gets right."""
        return len(self.first.wrong - self.second.wrong)

    @property
    def points(self) -> str:
        """How far the first is ahead, in hundredths of accuracy."""
        lead = 100 * (self.first.accuracy - self.second.accuracy)
        return f"{lead:.1f}" if lead >= 0.1 else f"{lead:.2g}"

    @property
    def p_shown(self) -> str:
        """The p-value with only as many digits as a person wants to read."""
        return f"{self.p_value:.2g}" if self.p_value >= 0.0001 else "< 0.0001"

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_value < SIGNIFICANT

    @property
    def answer(self) -> str:
        """The answer in two words."""
        kind = "significant" if self.is_significant else "indistinguishable"
        return f"statistically {kind}"

    def __str__(self) -> str:
        """Say which did better and how surely, in one sentence."""
        first, second = self.first, self.second
        accuracies = f"{first.accuracy:.4f} against {second.accuracy:.4f}"
        if len(first.wrong) == len(second.wrong):
            said = f"{first.study} and {second.study} have the same test accuracy"
            accuracies = f"{first.accuracy:.4f}"
        else:
            said = f"{first.study} is ahead of {second.study} by {self.points} points"
        return (
            f"{said} ({accuracies} on {first.num_images:,} test images); "
            f"p {'' if self.p_shown.startswith('<') else '= '}{self.p_shown}: {self.answer}."
        )


def judge(contenders: Sequence[Contender]) -> list[Verdict]:
    """Compare the best model on each data set with every other one on the same data.

    Args:
        contenders: The models, of studies on any data.

    Returns:
        The verdicts, those of one data set together, the closest rival first.
    """
    groups: dict[tuple[str, int], list[Contender]] = {}
    for contender in contenders:
        key = contender.digest, contender.num_images
        groups.setdefault(key, []).append(contender)
    return [verdict for group in groups.values() for verdict in _judge_group(group)]


def _judge_group(contenders: Sequence[Contender]) -> list[Verdict]:
    best, *others = sorted(contenders, key=lambda contender: len(contender.wrong))
    tests = [
        mcnemar.p_value(
            len(other.wrong - best.wrong), len(best.wrong - other.wrong), "two-sided"
        )
        for other in others
    ]
    return [
        Verdict(best, other, p)
        for other, p in zip(others, mcnemar.adjusted(tests), strict=True)
    ]
