"""The oracles that Optuna's samplers compute, behind the interface of all oracles."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, QMCSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from tuner.config.searches import SearchConfig, TpeConfig
from tuner.config.space import Space
from tuner.oracles.optuna_study import OptunaOracle, point_key
from tuner.oracles.oracle import Ended
from tuner.trial import Json, Objective, Proposal, Values


class TpeOracle(OptunaOracle):
    """Points that are likely among the good trials and unlikely among the others.

    Optuna's sampler as it comes: multivariate, and with the trials in flight counted among the
    others, so that workers do not ask for the same.

    Attributes:
        groups: The hyperparameters that trials have together, parents before children.
    """

    # A draw takes 20 ms from 1,000 trials on.
    tries = 2
    has_all = False
    knows_constraints = True
    search: TpeConfig

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int
    ) -> None:
        super().__init__(search, space, objective, seed)
        self.groups = _groups(space, self.axes)

    def sampler(self, seed: int) -> BaseSampler:
        """See `OptunaOracle.sampler`."""
        return _GroupedTpeSampler(self, seed)


class _GroupedTpeSampler(TPESampler):  # type: ignore[misc]
    """Samples together what trials have together.

    Optuna's option `group` finds out by and by, from all trials anew in each draw; here the
    space says it, which halves the time of a draw and is so from the first.
    """

    def __init__(self, oracle: TpeOracle, seed: int) -> None:
        super().__init__(n_startup_trials=oracle.search.num_initial_points, seed=seed)
        self._oracle = oracle

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, Any]:
        # As Optuna does, each hyperparameter by itself where there are several objectives.
        return {} if self._oracle.objective.others else self._oracle.distributions()

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, Any],
    ) -> dict[str, Any]:
        params: dict[str, Any] = {}
        if not search_space:
            return params
        for group in self._oracle.groups:
            if self._oracle.has(group[0], params):
                own = {name: search_space[name] for name in group}
                params |= super().sample_relative(study, trial, own)
        return params


class CmaEsOracle(OptunaOracle):
    """Points of a normal distribution that moves and narrows towards the good trials.

    Choices that are not numbers are drawn at random. A point that was tried is answered from
    memory, so that a generation is complete also where few points are left.
    """

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int
    ) -> None:
        super().__init__(search, space, objective, seed)
        self.ranges = {
            name: distribution
            for name, distribution in self.distributions().items()
            if not isinstance(distribution, CategoricalDistribution)
        }
        self._past: list[FrozenTrial] = []

    def sampler(self, seed: int) -> BaseSampler:
        """See `OptunaOracle.sampler`."""
        # The best tenth of them says where to begin.
        past = self._past if len(self._past) >= 10 else None
        return _NumbersCmaEsSampler(self, seed, past)

    def pass_over(self, trial: optuna.Trial, score: float | None) -> None:
        """See `OptunaOracle.pass_over`."""
        if score is None:
            super().pass_over(trial, score)
        else:
            self.study.tell(trial, score)

    def adopt_ended(self, values: Values, ended: Ended) -> None:
        """See `Oracle.adopt_ended`: the distribution begins where the best of them are."""
        super().adopt_ended(values, ended)
        params = {n: p for n, p in self.params(values).items() if n in self.ranges}
        if ended.score is not None and params.keys() == self.ranges.keys():
            self._past.append(self.made(params, value=ended.score))

    def propose_again(self, trial_id: str, memo: Json) -> Proposal | None:
        """See `Oracle.propose_again`.

        Optuna keeps the distribution as a pickle among its trials, which has no place in a
        journal. It is brought forward by drawing again, which takes 1 ms.
        """
        drawn = self.propose(trial_id)
        if drawn is not None and self.memo(trial_id) == memo:
            return drawn
        if drawn is not None:
            # Another processor has rounded otherwise: what was trained counts.
            self.study.tell(self.numbers[trial_id], state=TrialState.FAIL)
            del self.asked[point_key(drawn.values)]
        return super().propose_again(trial_id, memo)


class _NumbersCmaEsSampler(CmaEsSampler):  # type: ignore[misc]
    """Takes the numbers from the space rather than from what all trials have in common."""

    def __init__(self, oracle: CmaEsOracle, seed: int, past: list[FrozenTrial] | None) -> None:
        super().__init__(seed=seed, warn_independent_sampling=False, source_trials=past)
        self._oracle = oracle

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, Any]:
        return self._oracle.ranges


class QmcOracle(OptunaOracle):
    """Points of a scrambled Sobol sequence, which fill the space evenly."""

    def sampler(self, seed: int) -> BaseSampler:
        """See `OptunaOracle.sampler`: the draws are one sequence, and have one seed."""
        return _WholeQmcSampler(self)

    def memo(self, trial_id: str) -> dict[str, Json]:
        """See `Oracle.memo`: with how far the sequence was drawn."""
        return {
            **super().memo(trial_id),
            "drawn": self.storage.get_study_system_attrs(self.study_id),
        }

    def propose_again(self, trial_id: str, memo: Json) -> Proposal | None:
        """See `Oracle.propose_again`."""
        for key, drawn in cast(Mapping[str, Any], memo)["drawn"].items():
            self.storage.set_study_system_attr(self.study_id, key, drawn)
        return super().propose_again(trial_id, memo)


class _WholeQmcSampler(QMCSampler):  # type: ignore[misc]
    """Draws the whole space from the first trial on."""

    def __init__(self, oracle: QmcOracle) -> None:
        super().__init__(scramble=True, seed=oracle.seed, warn_independent_sampling=False)
        self._oracle = oracle

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, Any]:
        return self._oracle.distributions()


def _groups(space: Space, names: Iterable[str]) -> list[list[str]]:
    """Return the names that trials have together, each after those that it depends on."""
    needed = {name: sorted(map(json.dumps, given)) for name, given in space.needed().items()}
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(names):
        groups.setdefault(tuple(needed[name]), []).append(name)
    return [groups[given] for given in sorted(groups, key=len)]
