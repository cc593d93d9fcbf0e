"""The one interface of all search algorithms."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tuner.config.searches import SearchConfig
from tuner.config.space import Space
from tuner.trial import Json, Objective, Proposal, Values


@dataclass(frozen=True)
class Ended:
    """How a trial ended, in all that a study looks at.

    Attributes:
        value: The first objective after its last epoch, finite; None if the trial has none.
        violations: How far its model is beyond the bound of each constraint, as a share of the
            bound, by the constraint's key; above 0 where it breaks the constraint, None where
            the metric was not measured.
        others: The study's other objectives, in their order; empty if the trial has none.
    """

    value: float | None
    violations: Mapping[str, float | None] = field(default_factory=dict)
    others: tuple[float, ...] = ()

    @property
    def is_feasible(self) -> bool:
        """Whether it is known to meet all constraints."""
        return all(v is not None and v <= 0 for v in self.violations.values())

    @property
    def is_infeasible(self) -> bool:
        """Whether it is known to break a constraint."""
        return any(v is not None and v > 0 for v in self.violations.values())

    @property
    def score(self) -> float | None:
        """The objective; None if the trial failed or is not known to meet the constraints."""
        return self.value if self.is_feasible else None


class Oracle(abc.ABC):
    """Proposes trials, and learns how they ended.

    To write one, derive from this class, and:

    1. Return a trial from `propose`, or None. Its values are a whole point of the space, as
       `Space.complete` and `Space.sample` return it, with `epochs` if the oracle sets them.
       It may pause the trial at a `rung`, and propose it again later, to resume it there.
    2. Take note of a trial's end, or of its rung's, in `observe`, and of a pruned one's in
       `observe_pruned` if it needs to know that it was pruned.
    3. Decide by nothing but the arguments of `__init__` and the calls so far. A study that is
       resumed puts the same calls to a new oracle, which must answer as this one did: no clock,
       no randomness but from `seed`, and nothing from `max_trials` or `max_minutes`, so that a
       study that is given more of them later is the study that had them at once.
    4. Learn from the trials of an earlier search in `adopt` and `adopt_pruned`, if it learns
       from results. If it knows constraints or several objectives, override `observe_ended` and
       `adopt_ended`, too.
    5. Where proposing is slow, return from `memo` what `propose_again` needs to propose the
       same at once.
    6. Override `num_trials`, `rounds` and `version` where what they say is not so.

    It runs in its own process, is called from one thread, and may import anything.

    Args:
        search: The oracle's entry, with its options.
        space: The space that is searched; without `epochs` if the oracle sets them.
        objective: The metric to improve.
        seed: Seed of all its randomness, in `[0, 2**31)`.
    """

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int
    ) -> None:
        self.search = search
        self.space = space
        self.objective = objective
        self.seed = seed

    @abc.abstractmethod
    def propose(self, trial_id: str) -> Proposal | None:
        """Propose the next trial.

        Args:
            trial_id: Name for the trial, if a new one is proposed: `0000`, `0001`, … in order.

        Returns:
            A new trial, or one that is paused, under its own name. None if the search is over
            or, while trials run, if it must wait for one of them.
        """

    def resume(self) -> Proposal | None:
        """Propose a paused trial, now that the budget allows no new one.

        Nothing may follow from an answer of None: it is not recorded.
        """
        return None

    @abc.abstractmethod
    def observe(self, trial_id: str, score: float | None) -> None:
        """Take note of how a trial ended, or stands at its rung.

        Args:
            trial_id: A trial that was proposed, and not observed since.
            score: The objective after its last epoch, finite; None when it failed.
        """

    def observe_pruned(self, trial_id: str, score: float, curve: Sequence[float]) -> None:
        """Take note of a trial that a pruner has ended, by default as of any other.

        Args:
            trial_id: A trial that was proposed, and not observed before.
            score: The objective of its model.
            curve: The objective after each of its epochs, of which there is at least one.
        """
        self.observe(trial_id, score)

    def retire(self, trial_id: str) -> None:  # noqa: B027
        """Take note that a trial which was observed is not to be resumed: somebody ended it."""

    def observe_known(self, trial_id: str, ended: Ended) -> None:
        """Take note of a proposal that was tried before, to its last epoch.

        Args:
            trial_id: A trial that was proposed, and not observed since.
            ended: What came of it.
        """
        self.observe_ended(trial_id, ended)

    def observe_ended(self, trial_id: str, ended: Ended) -> None:
        """Take note of how a trial ended, with its constraints and all objectives.

        An oracle that does not override this is told by `observe` of the first objective, and
        that a trial which breaks a constraint has failed.

        Args:
            trial_id: A trial that was proposed, and not observed before.
            ended: How it ended.
        """
        self.observe(trial_id, ended.score)

    def adopt_ended(self, values: Values, ended: Ended) -> None:
        """Learn from a trial that this oracle did not propose, with all that is known of it.

        Args:
            values: See `adopt`.
            ended: How it ended.
        """
        if ended.score is not None:
            self.adopt(values, ended.score)

    def adopt(self, values: Values, score: float) -> None:  # noqa: B027
        """Learn from a trial that this oracle did not propose.

        A study whose search is extended has such trials before the first proposal; one that is
        given starting points (`search.first`) has them at any time. What proposes by its own
        rules alone need not do anything: a point that has been tried is not trained again in
        any case.

        Args:
            values: A point of the space, as `propose` would return it.
            score: The objective after its last epoch.
        """

    def adopt_pruned(self, values: Values, score: float, curve: Sequence[float]) -> None:
        """Learn from a trial of others that a pruner has ended, by default as from any other.

        Args:
            values: A point of the space, as `propose` would return it.
            score: The objective of its model.
            curve: The objective after each of its epochs, of which there is at least one.
        """
        self.adopt(values, score)

    def memo(self, trial_id: str) -> Json:
        """Return what the journal keeps for a proposal besides its values and tags, as JSON."""
        return None

    def propose_again(self, trial_id: str, memo: Json) -> Proposal | None:
        """Repeat a proposal, given the `memo` of an earlier process."""
        return self.propose(trial_id)

    def num_trials(self) -> int | None:
        """Count the trials of the whole search without a budget; None if that cannot be known.

        For an oracle that draws its points, the size of the space is an upper bound.
        """
        return self.space.size()

    def rounds(self) -> list[tuple[int, int]] | None:
        """Return (trials, epochs they have then) of every rung if the oracle sets the epochs.

        A rung with more epochs than the one before it holds the best of that one's trials.
        """
        return None

    @property
    def version(self) -> str:
        """What its answers depend on besides its arguments, for a message that they differ."""
        return f"{type(self).__module__}.{type(self).__qualname__} as it is now"
