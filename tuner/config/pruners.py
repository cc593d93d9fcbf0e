"""The pruners that `search.pruner` chooses from: one entry each, in one table.

An entry is a dataclass whose fields are the pruner's options. The pruner itself is imported
only where it decides.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from tuner.config.bounds import check_at_least
from tuner.config.space import Space
from tuner.errors import ConfigError
from tuner.trial import Json, is_number, whole
from tuner.wording import did_you_mean, plural

if TYPE_CHECKING:
    from tuner.config.searches import SearchConfig


@dataclass(frozen=True)
class PrunerConfig:
    """What all pruners have in common, and the base of an entry.

    Attributes:
        optuna_class: Name of the class in `optuna.pruners` that decides.
        judges_repeats: Whether it decides after each repeat, rather than after each epoch.
    """

    optuna_class: ClassVar[str]
    judges_repeats: ClassVar[bool] = False

    def arguments(self) -> dict[str, Json]:
        """Return the arguments of Optuna's pruner, whose steps are counted from 0."""
        raise NotImplementedError

    def say(self, name: str, scores: Sequence[float], best: float, num_others: int) -> str:
        """Say why a trial is pruned, in words that follow a colon.

        Args:
            name: The objective's name.
            scores: Its scores so far.
            best: The best of them.
            num_others: Number of completed trials that have as many.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Refuse options that cannot work.

        Raises:
            ConfigError: At the first thing wrong.
        """
        raise NotImplementedError

    def check_study(self, space: Space, num_repeats: int) -> None:
        """Refuse a pruner that could never decide in a study.

        Args:
            space: What it searches; without `epochs` where the oracle sets them.
            num_repeats: Trainings of each trial.

        Raises:
            ConfigError: If it could not.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class CurvePrunerConfig(PrunerConfig):
    """What the pruners that compare curves have in common.

    A trial is pruned after an epoch if its best score so far is worse than a percentile of the
    scores that completed trials had after the same epoch. Trials that were pruned themselves do
    not count among these.

    Attributes:
        num_startup_trials: Trials that must complete before any is pruned.
        warmup_epochs: Epochs of each trial after which none is pruned.
        interval: Epochs from one decision to the next.
        min_trials: Completed trials that must have the epoch that is judged.
    """

    num_startup_trials: int = 5
    warmup_epochs: int = 0
    interval: int = 1
    min_trials: int = 1

    @property
    def said(self) -> str:
        """What a pruned trial is worse than, in words that a number of trials follows."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Json]:
        """See `PrunerConfig.arguments`."""
        return {
            "n_startup_trials": self.num_startup_trials,
            "n_warmup_steps": self.warmup_epochs,
            "interval_steps": self.interval,
            "n_min_trials": self.min_trials,
        }

    def say(self, name: str, scores: Sequence[float], best: float, num_others: int) -> str:
        """See `PrunerConfig.say`."""
        return (
            f"its best {name}, {best:.4f}, is worse than {self.said} of "
            f"{plural(num_others, 'trial')} after that epoch"
        )

    def check(self) -> None:
        """See `PrunerConfig.check`."""
        least = {"num_startup_trials": 0, "warmup_epochs": 0, "interval": 1, "min_trials": 1}
        for name, bound in least.items():
            _check_count(name, getattr(self, name), bound)

    def check_study(self, space: Space, num_repeats: int) -> None:
        """See `PrunerConfig.check_study`."""
        if (epochs := space.dimensions.get("epochs")) is None:
            return
        most, spared = max(map(whole, epochs.options or ())), self.warmup_epochs
        if spared + 1 >= most:
            raise ConfigError(
                f"`search.pruner` with warmup_epochs={spared} needs trials of at least "
                f"{spared + 2} epochs, since nothing is saved after the last one, but "
                f"`space.epochs` has at most {most}: give more epochs, or search.pruner=null."
            )


@dataclass(frozen=True)
class MedianConfig(CurvePrunerConfig):
    """`search.pruner=median`."""

    optuna_class: ClassVar[str] = "MedianPruner"

    @property
    def said(self) -> str:
        """See `CurvePrunerConfig.said`."""
        return "the median"


@dataclass(frozen=True)
class PercentileConfig(CurvePrunerConfig):
    """`search.pruner=percentile`.

    Attributes:
        percentile: Percentage of the completed trials, the best ones, that a trial must keep up
            with; above 0 and below 100. 50 is the median.
    """

    percentile: float = 25.0

    optuna_class: ClassVar[str] = "PercentilePruner"

    @property
    def said(self) -> str:
        """See `CurvePrunerConfig.said`."""
        return f"the best {self.percentile:g} %"

    def arguments(self) -> dict[str, Json]:
        """See `PrunerConfig.arguments`."""
        return {"percentile": float(self.percentile), **super().arguments()}

    def check(self) -> None:
        """See `PrunerConfig.check`."""
        super().check()
        if not is_number(self.percentile) or not 0 < self.percentile < 100:
            raise ConfigError(
                f"`search.pruner.percentile` must be above 0 and below 100 (the best so many "
                f"percent of the trials are what others must keep up with), but got "
                f"{self.percentile!r}."
            )


@dataclass(frozen=True)
class WilcoxonConfig(PrunerConfig):
    """`search.pruner=wilcoxon`.

    A trial is pruned after a repeat if its repeats are significantly worse than those of the
    best trial, by Wilcoxon's signed-rank test, and so is their mean.

    Attributes:
        p_threshold: The p-value below which they are; above 0 and below 1.
        num_startup_repeats: Repeats of each trial that must have ended before it is judged.
    """

    p_threshold: float = 0.1
    num_startup_repeats: int = 2

    optuna_class: ClassVar[str] = "WilcoxonPruner"
    judges_repeats: ClassVar[bool] = True

    def arguments(self) -> dict[str, Json]:
        """See `PrunerConfig.arguments`."""
        return {
            "p_threshold": float(self.p_threshold),
            "n_startup_steps": self.num_startup_repeats,
        }

    def say(self, name: str, scores: Sequence[float], best: float, num_others: int) -> str:
        """See `PrunerConfig.say`."""
        return (
            f"after {plural(len(scores), 'repeat')} its mean {name}, "
            f"{statistics.fmean(scores):.4f}, is significantly worse than that of the best "
            f"trial (Wilcoxon's signed-rank test, p < {self.p_threshold:g})"
        )

    def check(self) -> None:
        """See `PrunerConfig.check`."""
        _check_count("num_startup_repeats", self.num_startup_repeats, 0)
        if not is_number(self.p_threshold) or not 0 < self.p_threshold < 1:
            raise ConfigError(
                f"`search.pruner.p_threshold` must be above 0 and below 1, but got "
                f"{self.p_threshold!r}."
            )

    def check_study(self, space: Space, num_repeats: int) -> None:
        """See `PrunerConfig.check_study`."""
        # The smallest p-value of n repeats is that of n differences of one sign, 2 ** -n; and
        # nothing is saved after the last one.
        by_test = math.floor(-math.log2(self.p_threshold)) + 1
        needed = max(by_test, self.num_startup_repeats, 2) + 1
        if num_repeats < needed:
            raise ConfigError(
                f"`search.pruner=wilcoxon` compares the repeats of trials, and with "
                f"p_threshold={self.p_threshold:g} needs at least {needed} of them, but each "
                f"trial has {plural(num_repeats, 'training')}: give search.repeats={needed} or "
                f"data.folds={needed}, or use search.pruner=median, which compares epochs."
            )


PRUNERS: Mapping[str, type[PrunerConfig]] = {
    "median": MedianConfig,
    "percentile": PercentileConfig,
    "wilcoxon": WilcoxonConfig,
}
"""Every pruner, by its name in the configuration."""


def pruner_of(given: Any) -> PrunerConfig | None:
    """Return the pruner that `search.pruner` names, with its options; checked.

    Args:
        given: None, a name such as `median`, or a mapping such as
            `{name: percentile, percentile: 25}`.

    Raises:
        ConfigError: If there is no such pruner, or it does not take such options.
    """
    if given is None:
        return None
    options = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in PRUNERS:
        hint = did_you_mean(str(name), PRUNERS)
        raise ConfigError(
            f"`search.pruner` must be {', '.join(PRUNERS)}, one of these with options such as "
            f"{{name: median, warmup_epochs: 2}}, or null, but got {given!r}.{hint}"
        )
    known = [field.name for field in fields(PRUNERS[name])]
    for key in options:
        if key not in known:
            hint = did_you_mean(str(key), known, "`search.pruner.{}`")
            raise ConfigError(
                f"`search.pruner.{key}` is not an option of the pruner {name}, which has "
                f"{', '.join(known)}.{hint}"
            )
    pruner = PRUNERS[name](**options)
    pruner.check()
    return pruner


def check(search: SearchConfig, space: Space, num_repeats: int) -> None:
    """Refuse a pruner that the search does not take, or that could never decide.

    Args:
        search: The search, with its `pruner`.
        space: What it searches; without `epochs` where the oracle sets them.
        num_repeats: Trainings of each trial.

    Raises:
        ConfigError: At the first thing wrong.
    """
    pruner = pruner_of(search.pruner)
    if pruner is None:
        return
    if search.sets_epochs:
        raise ConfigError(
            f"`search.pruner` must be null with search={search.oracle}, which decides itself "
            f"after which epochs trials end, but got {search.pruner!r}."
        )
    pruner.check_study(space, num_repeats)


def _check_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"`search.pruner.{name}` must be a whole number, but got {value!r}.")
    check_at_least(f"search.pruner.{name}", value, least)
