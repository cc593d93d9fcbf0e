"""What the oracles of Optuna's samplers have in common.

An Optuna study in memory holds the trials. Each draw has a sampler of its own, seeded by the
study's seed and the draw's number, so nothing is remembered but these trials: a proposal
follows from its number, from the results told before it and from the points in flight. With
several workers these depend on timing; what each trial's metrics are never does.

A resumed study puts the recorded trials into a new Optuna study, in the journal's order, and
draws only what is not recorded.
"""

import abc
import hashlib
import json
import logging
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from tuner.config.conditions import depth, has
from tuner.config.hyperparameters import Choice, Fixed, Range
from tuner.config.searches import SearchConfig
from tuner.config.space import Space
from tuner.oracles.optuna_axes import Axis, Param
from tuner.oracles.oracle import Ended, Oracle
from tuner.trial import Json, Objective, Proposal, Values

# It would log every study that it makes, in colours of its own.
optuna.logging.disable_default_handler()
optuna.logging.set_verbosity(logging.ERROR)

_CONSTRAINT = "constraints"
"""Beginning of the attributes in which Optuna keeps what it calls a trial's constraints."""

_SAMPLES = 20
"""Points that are tried with a number of values drawn anew, before that number grows."""

Params = dict[str, Param]


class OptunaOracle(Oracle):
    """An oracle whose points a sampler of Optuna's draws, none twice.

    Attributes:
        tries: Draws in a row that were asked before, after which the next point is drawn at
            random near the last one.
        has_all: Whether Optuna's trials have every hyperparameter, needed or not.
        knows_constraints: Whether its sampler learns from trials that break a constraint.
        axes: The hyperparameters that are searched, those that others depend on first.
        study: Optuna's study, with the trials proposed so far.
        storage: Where it is kept.
        study_id: Its number there.
        asked: The scores of all points that were ever asked, None where they are unknown.
        points: The trials by our names, as Optuna's have them.
        numbers: Their numbers in Optuna's study.
    """

    tries: ClassVar[int] = 20
    has_all: ClassVar[bool] = True
    knows_constraints: ClassVar[bool] = False

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int
    ) -> None:
        super().__init__(search, space, objective, seed)
        self._dimensions: dict[str, Choice | Range] = {
            name: dimension
            for name, dimension in space.expanded()
            if not isinstance(dimension, Fixed)
        }
        self._conditions = space.conditions()
        self.axes = {
            name: Axis.of(self._dimensions[name])
            for name in sorted(self._dimensions, key=lambda name: depth(name, self._conditions))
        }
        self._size = space.size()
        self.storage = InMemoryStorage()
        self.study = empty_study(objective, self.storage)
        self.study_id = self.storage.get_study_id_from_name(self.study.study_name)
        self.asked: dict[str, float | None] = {}
        self.numbers: dict[str, int] = {}
        self.points: dict[str, Params] = {}

    @abc.abstractmethod
    def sampler(self, seed: int) -> BaseSampler:
        """Make the sampler of one draw, with a seed in `[0, 2**31)`."""

    def propose(self, trial_id: str) -> Proposal | None:
        """See `Oracle.propose`."""
        if self._size is not None and len(self.asked) >= self._size:
            return None
        for i in range(self.tries):
            trial = self._draw(self.seed_of_draw(trial_id, i))
            values = self._values(trial.params)
            if point_key(values) not in self.asked:
                return self._take(trial_id, trial.number, trial.params, values)
            self.pass_over(trial, self.asked[point_key(values)])
        return self._propose_near(trial_id, values)

    def _draw(self, seed: int) -> optuna.Trial:
        with warnings.catch_warnings():
            # That a sampler, or an option of it, is experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = self.sampler(seed)
        trial = self.study.ask()
        for name, axis in self.axes.items():
            if self.has_all or self.has(name, trial.params):
                axis.suggest(trial, name)
        return trial

    def has(self, name: str, params: Mapping[str, Param]) -> bool:
        """Say whether a trial has a hyperparameter.

        Args:
            name: The hyperparameter.
            params: The trial's others, at least those that it depends on.
        """
        return not self._conditions[name] or has(name, self._values(params), self._conditions)

    def pass_over(self, trial: optuna.Trial, score: float | None) -> None:
        """End a draw that was asked before.

        Args:
            trial: The draw.
            score: What came of it; None if that is not known.
        """
        self.study.tell(trial, state=TrialState.FAIL)

    def _propose_near(self, trial_id: str, values: Values) -> Proposal | None:
        """Propose a point that was not asked before, like a given one as far as there is one.

        More and more of its values are drawn anew, at last all of them.
        """
        drawn = random.Random(self.seed_of_draw(trial_id, self.tries))
        names = sorted(self._dimensions)
        for i in range(_SAMPLES * len(names)):
            anew = {name: self._dimensions[name].draw(drawn) for name in names}
            changed = drawn.sample(names, 1 + i // _SAMPLES)
            given = {n: v for n, v in self.space.declared(values).items() if n not in changed}
            near = self.space.complete(anew | given)
            if point_key(near) not in self.asked:
                return self._place(trial_id, self.params(near))
        if self._size is None:
            return None
        # Few points are left, and so there are not many.
        left = [point for point in self.space.points() if point_key(point) not in self.asked]
        return self._place(trial_id, self.params(drawn.choice(left)))

    def _place(self, trial_id: str, params: Params) -> Proposal:
        """Propose a point that no sampler has drawn."""
        return self._take(trial_id, self.enter(params), params, self._values(params))

    def enter(self, params: Params) -> int:
        """Put a trial into the study that no sampler has drawn, and return its number."""
        self.study.add_trial(self.made(params, state=TrialState.RUNNING))
        return int(self.study.get_trials(deepcopy=False)[-1].number)

    def _take(self, trial_id: str, number: int, params: Params, values: Values) -> Proposal:
        self.numbers[trial_id] = number
        self.points[trial_id] = dict(params)
        self.asked[point_key(values)] = None
        return Proposal(trial_id, values, {})

    def observe(self, trial_id: str, score: float | None) -> None:
        """See `Oracle.observe`."""
        self.observe_ended(trial_id, Ended(score))

    def observe_pruned(self, trial_id: str, score: float, curve: Sequence[float]) -> None:
        """See `Oracle.observe_pruned`.

        Its score after all epochs stays unknown, and each sampler treats it as Optuna made it
        to: TPE counts it among the others unless too few trials have completed, and CMA-ES
        passes it over.
        """
        number = self.numbers[trial_id]
        storage_id = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        for step, value in enumerate(curve):
            self.storage.set_trial_intermediate_value(storage_id, step, value)
        self.study.tell(number, state=TrialState.PRUNED)

    def observe_ended(self, trial_id: str, ended: Ended) -> None:
        """See `Oracle.observe_ended`."""
        self._end(self.numbers[trial_id], self._values(self.points[trial_id]), ended)

    def adopt_ended(self, values: Values, ended: Ended) -> None:
        """See `Oracle.adopt_ended`."""
        if self._told(ended) is not None:
            self._end(self.enter(self.params(values)), values, ended)

    def _end(self, number: int, values: Values, ended: Ended) -> None:
        """Tell Optuna how one of its trials ended."""
        told = self._told(ended)
        self.asked[point_key(values)] = None if told is None else told[0]
        if told is None:
            self.study.tell(number, state=TrialState.FAIL)
            return
        optuna_id = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        for key, violation in ended.violations.items():
            if violation is not None:
                # What `optuna.Trial.set_constraint` does; making such an object would sample.
                self.storage.set_trial_system_attr(optuna_id, f"{_CONSTRAINT}:{key}", violation)
        self.study.tell(number, told)

    def _told(self, ended: Ended) -> list[float] | None:
        """Return the values that Optuna is told of a trial; None if it counts as failed.

        Its samplers compare trials that break constraints by how far they do so, and need some
        value of those that were not trained.
        """
        if not (ended.is_feasible or (self.knows_constraints and ended.is_infeasible)):
            return None
        if ended.value is not None:
            return [ended.value, *ended.others]
        worst = [-math.inf if o.direction == "max" else math.inf for o in self.objective.all]
        return worst if ended.is_infeasible else None

    def adopt_pruned(self, values: Values, score: float, curve: Sequence[float]) -> None:
        """See `Oracle.adopt_pruned`."""
        self.asked[point_key(values)] = None
        self.study.add_trial(
            self.made(
                self.params(values),
                state=TrialState.PRUNED,
                value=curve[-1],
                intermediate_values=dict(enumerate(curve)),
            )
        )

    def memo(self, trial_id: str) -> dict[str, Json]:
        """See `Oracle.memo`."""
        return {"proposed": self.points[trial_id]}

    def propose_again(self, trial_id: str, memo: Json) -> Proposal | None:
        """See `Oracle.propose_again`: the point is taken as recorded."""
        params: Params = cast(Mapping[str, Any], memo)["proposed"]
        if not params.keys() <= self.axes.keys():
            return None
        try:
            values = self._values(params)
        except LookupError:
            return None
        return self._place(trial_id, params) if self.space.holds(values) else None

    @property
    def version(self) -> str:
        """See `Oracle.version`."""
        return f"this version of Optuna ({optuna.__version__})"

    def params(self, values: Values) -> Params:
        """Return a point of the space as Optuna's trials hold it."""
        return {n: axis.param(values[n]) for n, axis in self.axes.items() if n in values}

    def _values(self, params: Mapping[str, Param]) -> Values:
        """Return the point of the space that an Optuna trial stands for."""
        return self.space.complete(
            {
                name: self._dimensions[name].declare(self.axes[name].value(param))
                for name, param in params.items()
            }
        )

    def distributions(self) -> dict[str, Any]:
        """Return the distributions of all that is searched, in the order that Optuna uses."""
        return {name: self.axes[name].distribution for name in sorted(self.axes)}

    def made(self, params: Params, **how: object) -> optuna.trial.FrozenTrial:
        """Make a trial for Optuna's study.

        Args:
            params: Its point.
            how: Its `state`, `value` and so on.
        """
        distributions = {name: self.axes[name].distribution for name in params}
        return create_trial(params=params, distributions=distributions, **how)

    def seed_of_draw(self, trial_id: str, i: int) -> int:
        """Return the seed of the `i`-th draw for a trial, counted from 0."""
        text = json.dumps([self.seed, trial_id, i])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def empty_study(objective: Objective, storage: InMemoryStorage) -> optuna.Study:
    """Make a study of Optuna's without any trial.

    Args:
        objective: What it improves.
        storage: Where it is kept.
    """
    return optuna.create_study(
        storage=storage,
        # Each draw gets another one.
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
        directions=[
            "maximize" if one.direction == "max" else "minimize" for one in objective.all
        ],
    )


def point_key(values: Values) -> str:
    """Return a point as text that tells 1, 1.0 and true apart."""
    return json.dumps(values, sort_keys=True)
