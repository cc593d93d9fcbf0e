"""The pruners that `search.pruner` chooses from: one entry each, in one table.

An entry is a dataclass whose fields are the pruner's options. The pruner itself is imported
only where it decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from tuner.config.bounds import check_at_least
from tuner.config.space import Space
from tuner.errors import ConfigError
from tuner.trial import Json, is_number, whole
from tuner.wording import did_you_mean

if TYPE_CHECKING:
    from tuner.config.searches import SearchConfig


@dataclass(frozen=True)
class PrunerConfig:
    """What every pruner takes, and the base of an entry.

    A trial is pruned after an epoch if its best score so far is worse than a percentile of the
    scores that completed trials had after the same epoch. Trials that were pruned themselves do
    not count among these.

    Attributes:
        num_startup_trials: Trials that must complete before any is pruned.
        warmup_epochs: Epochs of each trial after which none is pruned.
        interval: Epochs from one decision to the next.
        min_trials: Completed trials that must have the epoch that is judged.
        optuna_class: Name of the class in `optuna.pruners` that decides.
    """

    num_startup_trials: int = 5
    warmup_epochs: int = 0
    interval: int = 1
    min_trials: int = 1

    optuna_class: ClassVar[str]

    @property
    def said(self) -> str:
        """What a pruned trial is worse than, in words that a number of trials follows."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Json]:
        """Return the arguments of Optuna's pruner, whose steps are epochs counted from 0."""
        return {
            "n_startup_trials": self.num_startup_trials,
            "n_warmup_steps": self.warmup_epochs,
            "interval_steps": self.interval,
            "n_min_trials": self.min_trials,
        }

    def check(self) -> None:
        """Refuse options that cannot work.

        Raises:
            ConfigError: At the first thing wrong.
        """
        least = {"num_startup_trials": 0, "warmup_epochs": 0, "interval": 1, "min_trials": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(
                    f"`search.pruner.{name}` must be a whole number, but got {value!r}."
                )
            check_at_least(f"search.pruner.{name}", value, bound)


@dataclass(frozen=True)
class MedianConfig(PrunerConfig):
    """`search.pruner=median`."""

    optuna_class: ClassVar[str] = "MedianPruner"

    @property
    def said(self) -> str:
        """See `PrunerConfig.said`."""
        return "the median"


@dataclass(frozen=True)
class PercentileConfig(PrunerConfig):
    """`search.pruner=percentile`.

    Attributes:
        percentile: Percentage of the completed trials, the best ones, that a trial must keep up
            with; above 0 and below 100. 50 is the median.
    """

    percentile: float = 25.0

    optuna_class: ClassVar[str] = "PercentilePruner"

    @property
    def said(self) -> str:
        """See `PrunerConfig.said`."""
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


PRUNERS: Mapping[str, type[PrunerConfig]] = {
    "median": MedianConfig,
    "percentile": PercentileConfig,
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


def check(search: SearchConfig, space: Space) -> None:
    """Refuse a pruner that the search does not take, or that could never decide.

    Args:
        search: The search, with its `pruner`.
        space: What it searches; without `epochs` where the oracle sets them.

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
    if (epochs := space.dimensions.get("epochs")) is None:
        return
    most, spared = max(map(whole, epochs.options or ())), pruner.warmup_epochs
    if spared + 1 >= most:
        raise ConfigError(
            f"`search.pruner` with warmup_epochs={spared} needs trials of at least "
            f"{spared + 2} epochs, since nothing is saved after the last one, but "
            f"`space.epochs` has at most {most}: give more epochs, or search.pruner=null."
        )
