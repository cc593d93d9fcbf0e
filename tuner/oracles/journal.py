"""An oracle with a memory: everything that it is asked and told is kept in a journal.

Starting points that the user gives are tried first, whatever the oracle, which learns from them
as from the trials of an earlier search.

A trial that the oracle pauses at a rung is told of at each rung, and may be resumed; the epochs
that it is to have then are written down before it is.

What a pruner decides is written down before it takes effect, and so is the objective after
each epoch of a trial that has ended: a resumed study prunes the same trials after the same
epochs, and decides on the others by the same curves.

A study whose search is extended has a journal for each search, one after another. The trials of
the earlier ones stay the study's, and the oracle of the last one learns from those that lie in
its space. A point that has been tried is not trained again: the oracle is told what came of it.

Every answer is one line appended to `oracle.jsonl`, and a study is resumed by putting the same
questions to a new oracle: with the same seed and the same scores it gives the same answers and
ends in the same state. Only the last line can be torn by a kill, and it is dropped: an
unwritten question is asked again, and an unwritten score is found in the tracking store.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner import names
from tuner.config.searches import SearchConfig
from tuner.config.space import Space
from tuner.constraints import Constraints
from tuner.errors import ConfigError, StudyError
from tuner.oracles.oracle import Ended, Oracle
from tuner.outcomes import Told
from tuner.runtime import files
from tuner.runtime.user_code import find_function
from tuner.trial import Json, Metrics, Objective, Proposal, Pruned, Values, without_epochs

logger = logging.getLogger(__name__)

MakeOracle = Callable[[SearchConfig, Space, Objective, int], Oracle]
"""Makes an oracle from a search's entry, its space, the objective and the seed."""

_MAX_KNOWN = 1000
"""Points in a row that an earlier search has tried, after which a search is over."""


class JournaledOracle:
    """The oracle that the driver asks for trials, replayed to the end of its journal.

    Args:
        search: Entry of the oracle, with its options.
        space: The space that is searched; without `epochs` if the oracle sets them.
        objective: The metric to improve.
        seed: Seed of its proposals, in `[0, 2**31)`.
        journal: File of the search's questions and answers so far, made when missing; None to
            keep none, for a search that nobody resumes.
        earlier: Those of the study's earlier searches, in their order.
        first: Points that are tried before the oracle proposes any, whole; a journal that has
            begun keeps those that it began with.
        make: Makes the oracle of the entry; None for `make_oracle`.

    Attributes:
        values: The values of every trial proposed so far.
        tags: Tags that are recorded for each besides its values.
        paused: The epochs of every trial that is paused at a rung, by trial id.
        standings: The scores of all trials that have reached a rung, by rung.
        curves: The objective after each epoch of every completed trial, where that is known.
        repeats: The objective of each training of the completed trials that have several.
        pruned: What a pruner has decided, by trial.

    Raises:
        ConfigError: If the search's `oracle_class` is not an `Oracle`.
        StudyError: If the journal was written by an oracle that answers differently.
    """

    def __init__(
        self,
        search: SearchConfig,
        space: Space,
        objective: Objective,
        seed: int,
        journal: Path | None,
        earlier: Sequence[Path] = (),
        first: Sequence[Values] = (),
        make: MakeOracle | None = None,
    ) -> None:
        self._sets_epochs = search.sets_epochs
        self._max_trials = search.max_trials
        self._journal = journal
        self._oracle = (make or make_oracle)(search, space, objective, seed)
        self._open: dict[str, Proposal] = {}
        self.values: dict[str, Values] = {}
        self.tags: dict[str, Mapping[str, str]] = {}
        self.curves: dict[str, Sequence[float]] = {}
        self.repeats: dict[str, Sequence[float]] = {}
        self.pruned: dict[str, Pruned] = {}
        self._unasked: list[Proposal] = []
        self.paused: dict[str, int] = {}
        self.standings: dict[int, dict[str, float]] = {}
        self.measured: dict[str, Metrics] = {}
        self._constraints = Constraints.parse(search.constraints)
        self._others = objective.others
        self._ended: dict[str, Ended] = {}
        self._scores: dict[str, float] = {}
        self._num_failed = 0
        self._names: dict[str, str] = {}
        self._trial_ids: dict[str, str] = {}
        self._partial: set[str] = set()
        for path in earlier:
            self._take_over(path)
        whole = [trial_id for trial_id in self._ended if trial_id not in self._partial]
        self._known = {_key(self.values[trial_id]): trial_id for trial_id in whole}
        held = {i for i in self.values if space.holds(_configured(self.values[i], search))}
        self._num_outside = len(self.values) - len(held)
        for trial_id in whole:
            if trial_id in held:
                self._adopt(trial_id)
        self._first: list[Values] = []
        self._replay()
        if first and (journal is None or not journal.exists()):
            self._write(first=[dict(values) for values in first])
            self._first = list(first)

    @property
    def num_asked(self) -> int:
        """Number of trials that have been proposed, including those in flight."""
        return len(self.values) - len(self._unasked)

    @property
    def num_told(self) -> int:
        """Number of trials that have ended or paused, successfully or not."""
        return len(self._scores) + self._num_failed

    @property
    def scores(self) -> Mapping[str, float]:
        """The objective of every trial that has completed or paused, in the order they did."""
        return self._scores

    @property
    def num_trials(self) -> int | None:
        """Trials of the whole search, or None where nobody can know."""
        own = self._oracle.num_trials()
        # Points that an earlier search has tried are not tried again.
        counts = [None if own is None else own + self._num_outside, self._max_trials]
        return min((count for count in counts if count is not None), default=None)

    @property
    def rounds(self) -> list[tuple[int, int]] | None:
        """The rungs if the oracle sets the epochs; see `Oracle.rounds`."""
        return self._oracle.rounds()

    def ask(self) -> Proposal | None:
        """Return the next trial to run, or None.

        None means that the search is over, or, while trials are in flight, that the oracle
        waits for one of them. Trials that were open when the study was interrupted come first.
        """
        if self._unasked and self._is_within_budget(int(self._unasked[0].trial_id)):
            return self._unasked.pop(0)
        if self._unasked:
            return None
        if not self._is_within_budget(len(self.values)):
            return self._resume()
        while self._first:
            values = self._first.pop(0)
            if _key(values) not in self._known:
                return self._start(values)
        for _ in range(_MAX_KNOWN):
            proposal = self._propose()
            if proposal is None:
                # Even so the oracle may have moved on, to its next bracket for one.
                self._write(ask=None)
                return None
            if proposal.trial_id in self.paused:
                return self._take_resumed(proposal)
            name = self._names[proposal.trial_id]
            memo = self._oracle.memo(name)
            kept = {} if memo is None else {"memo": memo}
            if proposal.trial_id in self._ended:
                self._write(known=proposal.trial_id, **kept)
                self._observe_known(proposal.trial_id)
                continue
            if proposal.trial_id in self._open:
                # A starting point that is being tried: the oracle hears of it when it ends.
                self._write(known=proposal.trial_id, **kept)
                continue
            self._take(proposal)
            self._write(
                ask=proposal.trial_id,
                values=dict(proposal.values),
                tags=dict(proposal.tags),
                **_rung(proposal),
                **kept,
            )
            return proposal
        return None

    def tell(self, trial_id: str, told: Told) -> None:
        """Say how a trial that `ask` returned has ended, or stands at its rung."""
        self._end(trial_id, told)
        self._write(tell=trial_id, **told.encode())

    def prune(self, trial_id: str, decision: Pruned) -> None:
        """Write down that a trial ends with an epoch; the oracle hears of it when it has ended.

        Args:
            trial_id: A trial that `ask` returned.
            decision: The epoch, and why.
        """
        self.pruned[trial_id] = decision
        at = {} if decision.repeat is None else {"repeat": decision.repeat}
        self._write(prune=trial_id, epoch=decision.epoch, because=decision.because, **at)

    def _resume(self) -> Proposal | None:
        """Return a paused trial, now that no new one may begin; None if none is to go on."""
        proposal = self._oracle.resume()
        return None if proposal is None else self._take_resumed(self._named(proposal))

    def _take_resumed(self, proposal: Proposal) -> Proposal:
        """Return a paused trial that is resumed, written down."""
        self._take(proposal)
        self._write(
            resume=proposal.trial_id,
            tags=dict(proposal.tags),
            **_rung(proposal),
            memo=self._oracle.memo(self._names[proposal.trial_id]),
        )
        return proposal

    def _named(self, proposal: Proposal) -> Proposal:
        """Return a trial that is resumed under the study's name for it."""
        return dataclasses.replace(proposal, trial_id=self._trial_ids[proposal.trial_id])

    def _is_within_budget(self, number: int) -> bool:
        """Say whether there may be a trial of that number: a budget may be made smaller."""
        return self._max_trials is None or number < self._max_trials

    def _propose(self, event: Mapping[str, Any] | None = None) -> Proposal | None:
        """Let the oracle propose, now or as the journal has it; find a point that is known.

        The oracle's names of its trials are those of the study, unless an earlier search has
        made some of these.
        """
        name = f"{len(self._trial_ids):04d}"
        proposal = (
            self._oracle.propose(name)
            if event is None
            else self._oracle.propose_again(name, event.get("memo"))
        )
        if proposal is None:
            return None
        if proposal.trial_id in self._trial_ids:
            return self._named(proposal)
        trial_id = self._known.get(_key(proposal.values), f"{len(self.values):04d}")
        self._names[trial_id] = name
        self._trial_ids[name] = trial_id
        return dataclasses.replace(proposal, trial_id=trial_id)

    def _start(self, values: Values) -> Proposal:
        """Return a starting point as a trial, written down."""
        trial_id = f"{len(self.values):04d}"
        proposal = Proposal(trial_id, values, {names.FIRST: "true"})
        self._begin(proposal)
        self._write(ask=trial_id, values=dict(values), tags=dict(proposal.tags))
        return proposal

    def _begin(self, proposal: Proposal) -> None:
        """Take a trial that the oracle has not proposed."""
        self._known[_key(proposal.values)] = proposal.trial_id
        # An oracle that sets the epochs counts its own trials only.
        self._num_outside += self._sets_epochs
        self._take(proposal)

    def _take(self, proposal: Proposal) -> None:
        self._open[proposal.trial_id] = proposal
        # Resumed, it has no result until it is told of again.
        self.paused.pop(proposal.trial_id, None)
        self._scores.pop(proposal.trial_id, None)
        self._ended.pop(proposal.trial_id, None)
        self.values[proposal.trial_id] = proposal.values
        self.tags[proposal.trial_id] = proposal.tags

    def _end(self, trial_id: str, told: Told) -> None:
        proposal = self._open.pop(trial_id)
        if told.curve:
            self.curves[trial_id] = told.curve
        ended = self._note_end(trial_id, told)
        if (name := self._names.get(trial_id)) is not None:
            if (result := self._result_of_pruned(trial_id, ended)) is not None:
                self._oracle.observe_pruned(name, *result)
            else:
                self._oracle.observe_ended(name, ended)
            if told.is_over:
                self._oracle.retire(name)
        else:
            self._adopt(trial_id, ended)
        if trial_id not in self._ended:
            # The oracle may propose it again, and it is tried again.
            self._known.pop(_key(proposal.values), None)
        if told.score is not None and proposal.rung is not None and not told.is_over:
            self.paused[trial_id] = proposal.rung
            self.standings.setdefault(proposal.rung, {})[trial_id] = told.score

    def _note_end(self, trial_id: str, told: Told) -> Ended:
        """Remember how a trial ended, unless another attempt may end otherwise."""
        score, measured = told.score, told.measured
        if told.repeats:
            self.repeats[trial_id] = told.repeats
        others = () if score is None else tuple(measured[o.name] for o in self._others)
        ended = Ended(score, self._constraints.violations(measured), others)
        self._ended.pop(trial_id, None)
        if score is None:
            self._num_failed += 1
        else:
            self._scores[trial_id], self.measured[trial_id] = score, measured
        if score is not None or ended.is_infeasible:
            self._ended[trial_id] = ended
        return ended

    def _observe_known(self, trial_id: str) -> None:
        """Let the oracle take note of a proposal that was tried before."""
        name, ended = self._names[trial_id], self._ended[trial_id]
        if (result := self._result_of_pruned(trial_id, ended)) is not None:
            self._oracle.observe_pruned(name, *result)
        else:
            self._oracle.observe_known(name, ended)

    def _adopt(self, trial_id: str, ended: Ended | None = None) -> None:
        """Let the oracle learn from a trial that it has not proposed."""
        values, ended = self.values[trial_id], ended or self._ended[trial_id]
        if (result := self._result_of_pruned(trial_id, ended)) is not None:
            self._oracle.adopt_pruned(values, *result)
        else:
            self._oracle.adopt_ended(values, ended)

    def _result_of_pruned(
        self, trial_id: str, ended: Ended
    ) -> tuple[float, Sequence[float]] | None:
        """Return the score and the curve of a trial, if it was pruned and meets constraints.

        A trial that ended before its last repeat is told like any other: the mean of fewer
        repeats is an estimate of the same score, as Optuna has it for its Wilcoxon pruner.
        """
        decision = self.pruned.get(trial_id)
        if decision is None or decision.repeat is not None or ended.score is None:
            return None
        return ended.score, self.curves[trial_id]

    def _take_over(self, journal: Path) -> None:
        """Take the trials of an earlier search; those that it left open stay so."""
        rungs: dict[str, int | None] = {}
        for event in map(json.loads, _whole_lines(journal)):
            if (trial_id := event.get("tell")) is not None:
                told = Told.decode(event)
                self._note_end(trial_id, told)
                if told.score is None:
                    continue
                self.curves[trial_id] = told.curve
                # With fewer epochs than its values say, it is no result of theirs.
                is_partial = told.is_over or rungs[trial_id] is not None
                (self._partial.add if is_partial else self._partial.discard)(trial_id)
            elif "prune" in event:
                self._note_pruned(event)
            elif (trial_id := event.get("ask", event.get("resume"))) is not None:
                rungs[trial_id] = event.get("rung")
                self._scores.pop(trial_id, None)
                self._ended.pop(trial_id, None)
                self.tags[trial_id] = event["tags"]
                if "values" in event:
                    self.values[trial_id] = event["values"]

    def _replay(self) -> None:
        """Bring the oracle to where the journal ends."""
        if self._journal is None:
            return
        kept = _whole_lines(self._journal)
        size = sum(map(len, kept))
        if self._journal.exists() and size < self._journal.stat().st_size:
            logger.warning("The last line of %s was cut off and is dropped.", self._journal)
            files.cut(self._journal, size)
        for line in kept:
            try:
                self._replay_event(json.loads(line))
            except (ValueError, KeyError) as error:
                raise StudyError(
                    f"{self._journal} has been altered: {line.decode(errors='replace')!r} "
                    f"is not valid. Restore the file, or start over with overwrite=true."
                ) from error
        self._unasked = list(self._open.values())

    def _replay_event(self, event: Mapping[str, Any]) -> None:
        if "tell" in event:
            self._end(event["tell"], Told.decode(event))
        elif "prune" in event:
            self._note_pruned(event)
        elif "resume" in event:
            trial_id = event["resume"]
            resumed = Proposal(
                trial_id, self.values[trial_id], event["tags"], event.get("rung")
            )
            if self._propose(event) != resumed:
                raise self._misfit(trial_id)
            self._take(resumed)
        elif "first" in event:
            self._first = event["first"]
        elif names.FIRST in event.get("tags", ()):
            while _key(self._first.pop(0)) in self._known:
                pass
            self._begin(Proposal(event["ask"], event["values"], event["tags"]))
        elif "known" in event:
            proposal = self._propose(event)
            if proposal is None or proposal.trial_id != event["known"]:
                raise self._misfit(event["known"])
            if proposal.trial_id in self._ended:
                self._observe_known(proposal.trial_id)
        elif event["ask"] is None:
            self._propose()
        else:
            recorded = Proposal(event["ask"], event["values"], event["tags"], event.get("rung"))
            if self._propose(event) != recorded:
                raise self._misfit(recorded.trial_id)
            self._take(recorded)

    def _note_pruned(self, event: Mapping[str, Any]) -> None:
        decision = Pruned(event["epoch"], event["because"], event.get("repeat"))
        self.pruned[event["prune"]] = decision

    def _misfit(self, trial_id: str) -> StudyError:
        return StudyError(
            f"{self._journal} does not fit {self._oracle.version}: trial {trial_id} would get "
            f"other values. Resume with the one that began the study, or start afresh with "
            f"overwrite=true."
        )

    def _write(self, **event: Json) -> None:
        if self._journal is not None:
            files.append(self._journal, json.dumps(event) + "\n")


def _whole_lines(journal: Path) -> list[bytes]:
    """Return the lines of a journal that are whole, without one that a kill has torn."""
    if not journal.exists():
        return []
    text = journal.read_bytes()
    return text[: text.rfind(b"\n") + 1].splitlines(keepends=True)


def _rung(proposal: Proposal) -> dict[str, Json]:
    """Return what the journal keeps of where a trial is paused, if it is."""
    return {} if proposal.rung is None else {"rung": proposal.rung}


def _key(values: Values) -> str:
    """Return values as text that is equal for equal values of equal types."""
    return json.dumps(values, sort_keys=True)


def _configured(values: Values, search: SearchConfig) -> Values:
    """Return what the space says of a trial's values: without what the oracle sets."""
    return without_epochs(values) if search.sets_epochs else values


def make_oracle(search: SearchConfig, space: Space, objective: Objective, seed: int) -> Oracle:
    """Make the oracle that a search's entry names.

    Args:
        search: The entry, with its options.
        space: The space that it searches.
        objective: The metric to improve.
        seed: Seed in `[0, 2**31)`.

    Raises:
        ConfigError: If the entry names no `Oracle`.
    """
    oracle_class: object = find_function("oracle_class", search.oracle_class)
    if not (isinstance(oracle_class, type) and issubclass(oracle_class, Oracle)):
        raise ConfigError(
            f"`oracle_class` of `search.oracle={search.oracle}` must name a class derived from "
            f"{Oracle.__module__}.Oracle, but {search.oracle_class} is not one."
        )
    return oracle_class(search, space, objective, seed)
