"""The oracles that `search=…` chooses from: one entry each, in one table.

An entry is a dataclass. Its fields are the keys of `conf/search/<name>.yaml`; its class
attributes and methods are all that the rest of Glassy needs to know about the oracle. The
oracle itself is imported only in its own process.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from tuner.config import finalists
from tuner.config.bounds import check_above, check_at_least, check_one_of
from tuner.config.finalists import Finalists
from tuner.config.hyperparameters import Range
from tuner.config.space import Space
from tuner.errors import ConfigError
from tuner.models import DIRECTIONS
from tuner.trial import whole
from tuner.wording import plural

OPTUNA_MAJOR = "5"
"""The major version of Optuna whose samplers are used, as `pyproject.toml` asks for."""


@dataclass
class SearchConfig:
    """What every oracle takes (group `search`), and the base of an entry.

    To add an oracle:

    1. Write its class, derived from `tuner.oracles.oracle.Oracle`, whose docstring says what
       the class must do.
    2. Derive a dataclass from this one, with the oracle's own keys as fields, each with a
       default, and with the class's dotted name as `oracle_class`. Override the class
       attributes, properties and methods below where the oracle differs from what they say.
       Commands import this dataclass before anything else, so its module imports nothing heavy
       at its top level.
    3. Write `conf/search/<name>.yaml` with every key. Its `oracle` is the entry's name in
       `SEARCHES` or, for an oracle outside this package, the dotted name of the dataclass.

    Attributes:
        oracle: The entry's name in `SEARCHES`, or its own dotted name.
        objective: The validation metric to improve; or a list of several objectives, whose
            first ranks the trials. See `tuner.config.objectives`.
        direction: `min`, `max`, or None for the metric's own; of several objectives, a list.
        max_trials: Trials after which the search ends, or None.
        max_minutes: Minutes after which the study ends, or None.
        patience: Trials in a row without a gain after which the search ends, or None.
        max_trial_minutes: Minutes after which a trial ends with its epoch, or None.
        target: Score of the objective at which the search ends, or None.
        constraints: Limits that the best trial must keep within, `max` or `min` by metric; None
            for none. `gate` stands for the gate's limits, which replace it when the
            configuration is read. See `tuner.config.objectives`.
        first: Starting points, partly or wholly given; `best:<study>` for the ten best of
            another study; None for none. See `tuner.config.starting_points`.
        repeats: Trainings of each trial, each with a seed of its own and on every fold of the
            data; the trial is scored by their mean.
        finalists: `auto`, None, or how many of the best trials are trained again with how many
            new seeds; see `tuner.config.finalists`.
        pruner: What ends trials that are not worth going on with, by name or with its options;
            None for nothing. See `tuner.config.pruners`.
        oracle_class: Dotted name of what proposes the trials.
        learns_from_results: Whether its proposals depend on earlier scores. Where they do not,
            workers are given trials ahead of time.
        ends_by_itself: Whether it has a last trial; otherwise `max_trials` must be given.
        sets_epochs: Whether it decides how long a trial trains; otherwise the space does.
        is_sampler: Whether it can propose the points of `search=asha`.
        knows_several: Whether it can be given several objectives.
    """

    oracle: str = MISSING
    objective: Any = "val_accuracy"
    direction: Any = None
    max_trials: int | None = None
    max_minutes: float | None = None
    max_trial_minutes: float | None = None
    patience: int | None = None
    target: float | None = None
    constraints: Any = None
    first: Any = None
    repeats: int = 1
    finalists: Any = finalists.AUTO
    pruner: Any = None

    oracle_class: ClassVar[str]
    learns_from_results: ClassVar[bool] = True
    ends_by_itself: ClassVar[bool] = False
    sets_epochs: ClassVar[bool] = False
    is_sampler: ClassVar[bool] = False
    knows_several: ClassVar[bool] = False

    @property
    def epochs(self) -> list[int]:
        """The rungs, where the oracle sets the epochs, in ascending order; checked.

        The last one is the most epochs that a trial trains.
        """
        return []

    def settle(self, space: Space) -> None:
        """Fill in what follows from the space, before it is checked.

        Args:
            space: The space as configured, `epochs` included.
        """

    @property
    def tries_every_point(self) -> bool:
        """Whether every point of the space is tried once."""
        return False

    @property
    def wanted_finalists(self) -> Finalists | None:
        """How many trials are trained again, and with how many seeds; None for none."""
        return finalists.parse(self.finalists)

    def check(self, space: Space) -> None:
        """Refuse options that cannot work.

        Args:
            space: What is searched; without `epochs` where the oracle sets them.

        Raises:
            ConfigError: At the first thing wrong.
        """
        for key in ("max_trials", "max_minutes", "max_trial_minutes", "patience"):
            if (value := getattr(self, key)) is not None:
                check_above(f"search.{key}", value, 0)
        check_above("search.repeats", self.repeats, 0)
        finalists.parse(self.finalists)
        if self.target is not None and not math.isfinite(self.target):
            raise ConfigError(
                f"`search.target` must be a finite number, but got {self.target}."
            )
        if self.max_trials is None and not self.ends_by_itself:
            raise ConfigError(
                f"`search.max_trials` must be a whole number for the {self.oracle} oracle, "
                f"which never ends by itself, but got null."
            )

    def notices(self, space: Space, num_trials: int | None) -> Iterator[str]:
        """Yield what a user should know before the first trial, a sentence or two each.

        Args:
            space: The space as configured, `epochs` included.
            num_trials: Trials of the whole search, or None if that is unknown.
        """
        if None not in (self.max_trials, num_trials) and num_trials != self.max_trials:
            yield (
                f"{self._holds(num_trials or 0)}, so the search ends before "
                f"search.max_trials={self.max_trials}."
            )
        if self.target is not None and self._direction == "min":
            yield (
                f"{self.objective} is minimised, so the search ends when a trial is at or "
                f"below search.target={self.target:g}."
            )
        asked = self.wanted_finalists
        if num_trials == 1 and asked is not None and asked.is_asked:
            yield (
                f"The study has one trial, so there is nothing to compare it with: "
                f"{finalists.KEY} trains none again."
            )

    @property
    def _direction(self) -> str | None:
        return self.direction or DIRECTIONS.get(self.objective)

    def _holds(self, num_trials: int) -> str:
        """Say what limits the search to fewer trials than the budget."""
        return f"The space has {plural(num_trials, 'point')}"

    def _only_random(self, num_trials: int | None, num_random: int) -> Iterator[str]:
        """Yield that the model proposes none of the trials, if that is so."""
        if num_trials is not None and num_trials <= num_random:
            yield (
                f"All trials of this search ({num_trials:,}) are random: search={self.oracle} "
                f"starts with {num_random:,} random ones before its model proposes any. Give "
                f"search.max_trials above {num_random:,}, or fewer search.num_initial_points."
            )


@dataclass
class RandomConfig(SearchConfig):
    """`search=random`."""

    oracle_class: ClassVar[str] = "tuner.oracles.keras_tuner.RandomOracle"
    knows_several: ClassVar[bool] = True
    learns_from_results: ClassVar[bool] = False
    is_sampler: ClassVar[bool] = True


@dataclass
class GridConfig(SearchConfig):
    """`search=grid`."""

    oracle_class: ClassVar[str] = "tuner.oracles.keras_tuner.GridOracle"
    knows_several: ClassVar[bool] = True
    learns_from_results: ClassVar[bool] = False
    ends_by_itself: ClassVar[bool] = True

    @property
    def tries_every_point(self) -> bool:
        """Whether no budget ends it earlier."""
        return self.max_trials is None


@dataclass
class BayesianConfig(SearchConfig):
    """`search=bayesian`."""

    num_initial_points: int | None = None
    alpha: float = 1e-4
    beta: float = 2.6

    oracle_class: ClassVar[str] = "tuner.oracles.keras_tuner.BayesianOracle"

    def initial_points(self, num_searched: int) -> int:
        """Return how many trials are random before the model proposes any.

        The number never depends on the budget, so that a study whose budget is raised later
        runs the trials that it would have run with the larger budget from the start. Keras
        Tuner's own default, three per hyperparameter, would make a search of 20 trials over
        seven hyperparameters random throughout.

        Args:
            num_searched: Number of hyperparameters that are searched.
        """
        if self.num_initial_points is not None:
            return self.num_initial_points
        return max(num_searched, 3)

    def check(self, space: Space) -> None:
        """See `SearchConfig.check`."""
        if self.num_initial_points is not None:
            check_above("search.num_initial_points", self.num_initial_points, 0)
        super().check(space)
        check_at_least("search.alpha", self.alpha, 0)
        check_at_least("search.beta", self.beta, 0)

    def notices(self, space: Space, num_trials: int | None) -> Iterator[str]:
        """See `SearchConfig.notices`."""
        yield from super().notices(space, num_trials)
        yield from self._only_random(num_trials, self.initial_points(len(space.searched)))


@dataclass
class HyperbandConfig(SearchConfig):
    """`search=hyperband`."""

    max_epochs: int = 10
    reduction_factor: int = 3
    iterations: int = 1

    oracle_class: ClassVar[str] = "tuner.oracles.keras_tuner.HyperbandOracle"
    ends_by_itself: ClassVar[bool] = True
    sets_epochs: ClassVar[bool] = True

    @property
    def epochs(self) -> list[int]:
        """The numbers of epochs that its rounds train for, in ascending order.

        Keras Tuner's rule: `max_epochs=10` and `reduction_factor=3` give `[2, 4, 10]`.
        """
        epochs, divisor = [], 1
        while self.max_epochs >= divisor:
            epochs.append(math.ceil(self.max_epochs / divisor))
            divisor *= self.reduction_factor
        return sorted(set(epochs))

    def check(self, space: Space) -> None:
        """See `SearchConfig.check`."""
        check_above("search.max_epochs", self.max_epochs, 0)
        check_above("search.iterations", self.iterations, 0)
        super().check(space)
        check_at_least("search.reduction_factor", self.reduction_factor, 2)
        self._check_first_round(space)

    def _check_first_round(self, space: Space) -> None:
        """Refuse a space too small for the first round: no trial could be promoted then."""
        factor = self.reduction_factor
        num_brackets = 1 + math.floor(math.log(self.max_epochs, factor) + 1e-9)
        end_size = math.ceil(1 + math.log(self.max_epochs, factor)) / num_brackets
        needed = math.ceil(end_size * factor ** (num_brackets - 1))
        size = space.size()
        if size is not None and size < needed:
            raise ConfigError(
                f"`search=hyperband` needs a `space` of at least {needed} points, not counting "
                f"`epochs`, for its first round with max_epochs={self.max_epochs} and "
                f"reduction_factor={factor}, but got {size}: search more hyperparameters, or "
                f"use search=grid."
            )

    def notices(self, space: Space, num_trials: int | None) -> Iterator[str]:
        """See `SearchConfig.notices`."""
        if "epochs" in space.dimensions:
            yield (
                f"Hyperband sets the epochs itself ({', '.join(map(str, self.epochs))}; "
                f"search.max_epochs={self.max_epochs}): space.epochs is not searched."
            )
        yield from super().notices(space, num_trials)

    def _holds(self, num_trials: int) -> str:
        return f"Hyperband's brackets hold {plural(num_trials, 'trial')}"


@dataclass
class OptunaConfig(SearchConfig):
    """What the searches that Optuna computes have in common."""

    def check(self, space: Space) -> None:
        """See `SearchConfig.check`."""
        super().check(space)
        found = _installed_version("optuna")
        if found is None or found.partition(".")[0] != OPTUNA_MAJOR:
            raise ConfigError(
                f"`search={self.oracle}` needs Optuna {OPTUNA_MAJOR}, but "
                f"{'none' if found is None else f'Optuna {found}'} is installed here: "
                f'pip install "optuna=={OPTUNA_MAJOR}.*"'
            )


def _installed_version(package: str) -> str | None:
    # The package itself is imported in the oracle's process only.
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass
class TpeConfig(OptunaConfig):
    """`search=tpe`."""

    num_initial_points: int = 10

    oracle_class: ClassVar[str] = "tuner.oracles.optuna.TpeOracle"
    is_sampler: ClassVar[bool] = True
    knows_several: ClassVar[bool] = True

    def check(self, space: Space) -> None:
        """See `SearchConfig.check`."""
        check_above("search.num_initial_points", self.num_initial_points, 0)
        super().check(space)

    def notices(self, space: Space, num_trials: int | None) -> Iterator[str]:
        """See `SearchConfig.notices`."""
        yield from super().notices(space, num_trials)
        yield from self._only_random(num_trials, self.num_initial_points)


@dataclass
class CmaEsConfig(OptunaConfig):
    """`search=cmaes`."""

    oracle_class: ClassVar[str] = "tuner.oracles.optuna.CmaEsOracle"

    def check(self, space: Space) -> None:
        """See `SearchConfig.check`."""
        super().check(space)
        if not any(isinstance(dimension, Range) for _, dimension in space.expanded()):
            searched = ", ".join(sorted(space.searched))
            raise ConfigError(
                f"`search=cmaes` needs a range in `space`, such as learning_rate={{min: 1e-4, "
                f"max: 1e-2, log: true}}, but got "
                f"{f'only choices ({searched})' if searched else 'nothing to search'}: use "
                f"search=tpe, or search=grid for every point."
            )


@dataclass
class NsgaConfig(OptunaConfig):
    """`search=nsga2`."""

    population_size: int = 20

    oracle_class: ClassVar[str] = "tuner.oracles.optuna_nsga.NsgaOracle"
    knows_several: ClassVar[bool] = True

    def check(self, space: Space) -> None:
        """See `SearchConfig.check`."""
        check_at_least("search.population_size", self.population_size, 2)
        super().check(space)

    def notices(self, space: Space, num_trials: int | None) -> Iterator[str]:
        """See `SearchConfig.notices`."""
        yield from super().notices(space, num_trials)
        if num_trials is not None and num_trials <= self.population_size:
            yield (
                f"All trials of this search ({num_trials:,}) are random: search=nsga2 crosses "
                f"none before {self.population_size:,} have completed. Give search.max_trials "
                f"above that, or a smaller search.population_size."
            )


@dataclass
class QmcConfig(OptunaConfig):
    """`search=qmc`."""

    oracle_class: ClassVar[str] = "tuner.oracles.optuna.QmcOracle"
    knows_several: ClassVar[bool] = True
    learns_from_results: ClassVar[bool] = False
    is_sampler: ClassVar[bool] = True


@dataclass
class AshaConfig(SearchConfig):
    """`search=asha`."""

    sampler: str = "tpe"
    min_epochs: int | None = None
    max_epochs: int | None = None
    reduction_factor: int = 3

    oracle_class: ClassVar[str] = "tuner.oracles.asha.AshaOracle"
    sets_epochs: ClassVar[bool] = True

    @property
    def epochs(self) -> list[int]:
        """The rungs: each at least `reduction_factor` times the one before it.

        `min_epochs=1`, `max_epochs=10` and `reduction_factor=3` give `[1, 3, 10]`.
        """
        rungs, rung = [], self.min_epochs or 1
        while rung * self.reduction_factor <= (self.max_epochs or 0):
            rungs.append(rung)
            rung *= self.reduction_factor
        return [*rungs, self.max_epochs or 1]

    @property
    def sampler_entry(self) -> "SearchConfig":
        """The entry of what proposes the points."""
        entry = SEARCHES[self.sampler]
        return entry(self.sampler, self.objective, self.direction, self.max_trials)

    def settle(self, space: Space) -> None:
        """Take the rungs that are not given from the epochs of the space, if it has any."""
        if (dimension := space.dimensions.get("epochs")) is None:
            return
        options = [whole(option) for option in dimension.options or ()]
        if self.max_epochs is None:
            self.max_epochs = max(options)
        if self.min_epochs is None:
            self.min_epochs = min(options) if len(options) > 1 else 1

    def check(self, space: Space) -> None:
        """See `SearchConfig.check`."""
        check_at_least("search.reduction_factor", self.reduction_factor, 2)
        if self.max_epochs is None:
            raise ConfigError(
                "`search.max_epochs` must be the most epochs that a trial trains, such as 27, "
                "or be left to `space.epochs`; neither is given."
            )
        least = 1 if self.min_epochs is None else self.min_epochs
        check_above("search.min_epochs", least, 0)
        if least * self.reduction_factor > self.max_epochs:
            raise ConfigError(
                f"`search=asha` needs at least two rungs, so `search.max_epochs` must be at "
                f"least min_epochs x reduction_factor ({least} x {self.reduction_factor}), but "
                f"got {self.max_epochs}: give more epochs, or use search={self.sampler}."
            )
        samplers = [name for name, entry in SEARCHES.items() if entry.is_sampler]
        check_one_of("search.sampler", self.sampler, samplers)
        super().check(space)
        self.sampler_entry.check(space)

    def notices(self, space: Space, num_trials: int | None) -> Iterator[str]:
        """See `SearchConfig.notices`."""
        rungs = ", ".join(map(str, self.epochs[:-1]))
        yield (
            f"Trials are compared after {rungs} epochs, where one in "
            f"{self.reduction_factor} is resumed, to {self.max_epochs} epochs at most."
        )
        yield from super().notices(space, num_trials)


SEARCHES: Mapping[str, type[SearchConfig]] = {
    "random": RandomConfig,
    "grid": GridConfig,
    "bayesian": BayesianConfig,
    "hyperband": HyperbandConfig,
    "tpe": TpeConfig,
    "cmaes": CmaEsConfig,
    "qmc": QmcConfig,
    "asha": AshaConfig,
    "nsga2": NsgaConfig,
}
"""Every oracle of Glassy's own, by its name in the configuration."""

REPLAYED = ("random", "tpe", "bayesian")
"""The oracles that can choose among the trials of a recorded study (`tuner.simulate`).

Missing are those that need trials of their own making: the generations of `cmaes`, the sequence
of `qmc`, and the rungs of `asha` and `hyperband`, which try more points than a study has. The
order of `grid` is that of the study.
"""
