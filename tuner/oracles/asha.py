"""Asynchronous successive halving on curves.

Each trial is trained for a few epochs and paused; a free worker resumes the best trial that is
among the first `1 / reduction_factor` of its rung, or begins a new one. Nobody waits for a rung
to be full. The rule is that of L. Li et al., "A System for Massively Parallel Hyperparameter
Tuning", MLSys 2020, algorithm 2; learning from the highest rung that has enough results is that
of S. Falkner et al., "BOHB: Robust and Efficient Hyperparameter Optimization at Scale", 2018.
"""

from collections.abc import Mapping
from typing import Any, cast

from tuner import names
from tuner.config.searches import AshaConfig, SearchConfig, TpeConfig
from tuner.config.space import Space
from tuner.oracles.journal import make_oracle
from tuner.oracles.oracle import Ended, Oracle
from tuner.trial import Json, Objective, Proposal, Values, without_epochs

ENOUGH = TpeConfig.num_initial_points
"""Results that a rung must have before proposals are learned from it."""


class AshaOracle(Oracle):
    """Points for few epochs; the best are resumed, as soon as a worker is free.

    A sampler proposes the points. One that learns has a copy for each rung, which knows of all
    points, and of the results at that rung alone: those that did not get there count as open
    while they run and as failed once they are paused below.

    Attributes:
        rungs: Numbers of epochs, in ascending order.
        results: The scores of the trials that have reached a rung, by rung.
        promoted: Those of them that were resumed, or may not be.
    """

    search: AshaConfig

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int
    ) -> None:
        super().__init__(search, space, objective, seed)
        self.rungs = self.search.epochs
        self.results: dict[int, dict[str, float]] = {rung: {} for rung in self.rungs}
        self.promoted: dict[int, set[str]] = {rung: set() for rung in self.rungs}
        self._values: dict[str, Values] = {}
        self._rung: dict[str, int] = {}
        self._memos: dict[str, Json] = {}
        entry = self.search.sampler_entry
        self._learns = entry.learns_from_results
        self._samplers = {
            rung: make_oracle(entry, space, objective, seed)
            for rung in (self.rungs if self._learns else self.rungs[:1])
        }

    def propose(self, trial_id: str) -> Proposal | None:
        """See `Oracle.propose`: a paused trial comes before a new one."""
        return self.resume() or self._begin(trial_id, self._rung_to_learn_from())

    def resume(self) -> Proposal | None:
        """See `Oracle.resume`."""
        found = self._promotable()
        return None if found is None else self._resume(*found)

    def _promotable(self) -> tuple[str, int] | None:
        """Return a paused trial to resume, and its rung; the highest rung comes first."""
        for rung in reversed(self.rungs[:-1]):
            results, promoted = self.results[rung], self.promoted[rung]
            best = sorted(results, key=lambda t: self.objective.rank(results[t], t))
            for trial_id in best[: len(results) // self.search.reduction_factor]:
                if trial_id not in promoted:
                    return trial_id, rung
        return None

    def _resume(self, trial_id: str, rung: int) -> Proposal:
        self.promoted[rung].add(trial_id)
        higher = self.rungs[self.rungs.index(rung) + 1]
        for sampler in self._above(higher):
            # Open again, where it had counted as failed.
            sampler.propose_again(trial_id, self._memos[trial_id])
        return self._proposal(trial_id, higher)

    def _begin(self, trial_id: str, learned_from: int) -> Proposal | None:
        """Propose a new trial, by the sampler that has the results of a rung."""
        sampler = self._samplers[learned_from]
        if (drawn := sampler.propose(trial_id)) is None:
            return None
        self._memos[trial_id] = sampler.memo(trial_id)
        for other in self._samplers.values():
            if other is not sampler:
                other.propose_again(trial_id, self._memos[trial_id])
        return self._start(drawn)

    def _start(self, drawn: Proposal) -> Proposal:
        most = self.rungs[-1]
        self._values[drawn.trial_id] = {"epochs": most, **drawn.values}
        return self._proposal(drawn.trial_id, self.rungs[0])

    def _proposal(self, trial_id: str, rung: int) -> Proposal:
        self._rung[trial_id] = rung
        tags = {names.BRACKET: "0", names.RUNG: str(rung)}
        pauses_at = rung if rung < self.rungs[-1] else None
        return Proposal(trial_id, self._values[trial_id], tags, pauses_at)

    def _rung_to_learn_from(self) -> int:
        """Return the highest rung that has enough results; the first one if none has."""
        full = [rung for rung in self._samplers if len(self.results[rung]) >= ENOUGH]
        return max(full, default=self.rungs[0])

    def _above(self, rung: int) -> list[Oracle]:
        """Return the samplers of a rung and of those above it."""
        if not self._learns:
            return []
        return [sampler for key, sampler in self._samplers.items() if key >= rung]

    def observe(self, trial_id: str, score: float | None) -> None:
        """See `Oracle.observe`."""
        rung = self._rung[trial_id]
        if score is not None:
            self.results[rung][trial_id] = score
        if not self._learns:
            if rung == self.rungs[0]:
                self._samplers[rung].observe(trial_id, score)
            return
        for sampler in self._above(rung):
            sampler.observe(trial_id, score if sampler is self._samplers[rung] else None)

    def retire(self, trial_id: str) -> None:
        """See `Oracle.retire`: its score is not that of its rung."""
        self.results[self._rung[trial_id]].pop(trial_id, None)

    def observe_known(self, trial_id: str, ended: Ended) -> None:
        """See `Oracle.observe_known`: it has climbed all rungs elsewhere."""
        if (score := ended.score) is None:
            self.observe(trial_id, None)
            return
        self._rung[trial_id] = self.rungs[-1]
        for rung, sampler in self._samplers.items():
            is_last = rung == self.rungs[-1] or not self._learns
            sampler.observe(trial_id, score if is_last else None)
        self.results[self.rungs[-1]][trial_id] = score

    def adopt(self, values: Values, score: float) -> None:
        """See `Oracle.adopt`: only what has trained for the most epochs can be compared."""
        if values["epochs"] == self.rungs[-1]:
            top = max(self._samplers)
            self._samplers[top].adopt_ended(without_epochs(values), Ended(score))

    def memo(self, trial_id: str) -> Json:
        """See `Oracle.memo`."""
        if self._rung[trial_id] > self.rungs[0]:
            return {"resumed": trial_id}
        return {"sampled": self._memos[trial_id]}

    def propose_again(self, trial_id: str, memo: Json) -> Proposal | None:
        """See `Oracle.propose_again`: what was decided is not decided again."""
        recorded = cast(Mapping[str, Any], memo or {})
        if (resumed := recorded.get("resumed")) is not None:
            rung = self._rung[resumed]
            return self._resume(resumed, rung) if rung < self.rungs[-1] else None
        if "sampled" not in recorded:
            return self.propose(trial_id)
        self._memos[trial_id] = recorded["sampled"]
        drawn = [
            s.propose_again(trial_id, recorded["sampled"]) for s in self._samplers.values()
        ]
        return None if drawn[0] is None else self._start(drawn[0])

    def rounds(self) -> list[tuple[int, int]]:
        """See `Oracle.rounds`: of so many trials that one gets to the last rung."""
        last = len(self.rungs) - 1
        factor = self.search.reduction_factor
        return [(factor ** (last - i), rung) for i, rung in enumerate(self.rungs)]

    @property
    def version(self) -> str:
        """See `Oracle.version`."""
        return next(iter(self._samplers.values())).version
