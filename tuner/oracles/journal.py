"""An oracle with a memory: everything that it is asked and told is kept in a journal.

Every answer is one line appended to `oracle.jsonl`, and a study is resumed by putting the same
questions to a new oracle: with the same seed and the same scores it gives the same answers and
ends in the same state. Only the last line can be torn by a kill, and it is dropped: an
unwritten question is asked again, and an unwritten score is found in the tracking store.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.config.searches import SearchConfig
from tuner.config.space import Space
from tuner.errors import ConfigError, StudyError
from tuner.oracles.oracle import Oracle
from tuner.runtime import files
from tuner.runtime.user_code import find_function
from tuner.trial import Json, Objective, Proposal, Values

logger = logging.getLogger(__name__)


class JournaledOracle:
    """The oracle that the driver asks for trials, replayed to the end of its journal.

    Args:
        search: Entry of the oracle, with its options.
        space: The space that is searched; without `epochs` if the oracle sets them.
        objective: The metric to improve.
        seed: Seed of its proposals, in `[0, 2**31)`.
        journal: File of the study's questions and answers so far; made when missing.

    Attributes:
        values: The values of every trial proposed so far.
        tags: Tags that are recorded for each besides its values.

    Raises:
        ConfigError: If the search's `oracle_class` is not an `Oracle`.
        StudyError: If the journal was written by an oracle that answers differently.
    """

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int, journal: Path
    ) -> None:
        self._max_trials = search.max_trials
        self._journal = journal
        self._oracle = make_oracle(search, space, objective, seed)
        self._open: dict[str, Proposal] = {}
        self.values: dict[str, Values] = {}
        self.tags: dict[str, Mapping[str, str]] = {}
        self._unasked: list[Proposal] = []
        self._scores: dict[str, float] = {}
        self._num_failed = 0
        self._replay()

    @property
    def num_asked(self) -> int:
        """Number of trials that have been proposed, including those in flight."""
        return len(self.values) - len(self._unasked)

    @property
    def num_told(self) -> int:
        """Number of trials that have ended, successfully or not."""
        return len(self._scores) + self._num_failed

    @property
    def scores(self) -> Mapping[str, float]:
        """The objective of every completed trial, in the order they ended."""
        return self._scores

    @property
    def num_trials(self) -> int | None:
        """Trials of the whole search, or None if that cannot be known."""
        counts = [self._oracle.num_trials(), self._max_trials]
        return min((count for count in counts if count is not None), default=None)

    @property
    def rounds(self) -> list[tuple[int, int]] | None:
        """(Trials, epochs per trial) of every round if the oracle sets the epochs."""
        return self._oracle.rounds()

    def ask(self) -> Proposal | None:
        """Return the next trial to run, or None.

        None means that the search is over, or, while trials are in flight, that the oracle
        waits for one of them. Trials that were open when the study was interrupted come first.
        """
        if self._unasked:
            return self._unasked.pop(0)
        if self._max_trials is not None and len(self.values) >= self._max_trials:
            return None
        proposal = self._oracle.propose(self._next_id)
        if proposal is None:
            # Even so, the oracle may have changed its state, for example its bracket.
            self._write(ask=None)
            return None
        self._take(proposal)
        memo = self._oracle.memo(proposal.trial_id)
        self._write(
            ask=proposal.trial_id,
            values=dict(proposal.values),
            tags=dict(proposal.tags),
            **({} if memo is None else {"memo": memo}),
        )
        return proposal

    def tell(self, trial_id: str, score: float | None) -> None:
        """Say how a trial ended.

        Args:
            trial_id: A trial that `ask` returned.
            score: The objective after its last epoch, finite; None when it failed.
        """
        self._end(trial_id, score)
        self._write(tell=trial_id, score=score)

    @property
    def _next_id(self) -> str:
        return f"{len(self.values):04d}"

    def _take(self, proposal: Proposal) -> None:
        self._open[proposal.trial_id] = proposal
        self.values[proposal.trial_id] = proposal.values
        self.tags[proposal.trial_id] = proposal.tags

    def _end(self, trial_id: str, score: float | None) -> None:
        del self._open[trial_id]
        self._oracle.observe(trial_id, score)
        if score is None:
            self._num_failed += 1
        else:
            self._scores[trial_id] = score

    def _replay(self) -> None:
        """Bring the oracle to the end of its journal."""
        if not self._journal.exists():
            return
        text = self._journal.read_bytes()
        kept = text[: text.rfind(b"\n") + 1]
        if len(kept) < len(text):
            logger.warning("The last line of %s was cut off and is dropped.", self._journal)
            files.cut(self._journal, len(kept))
        for line in kept.splitlines():
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
            self._end(event["tell"], event["score"])
        elif event["ask"] is None:
            self._oracle.propose(self._next_id)
        else:
            self._replay_proposal(event["ask"], event)

    def _replay_proposal(self, trial_id: str, event: Mapping[str, Any]) -> None:
        proposal = self._oracle.propose_again(trial_id, event.get("memo"))
        recorded = Proposal(trial_id, event["values"], event["tags"])
        if proposal != recorded or trial_id != self._next_id:
            raise StudyError(
                f"{self._journal} does not fit {self._oracle.version}: trial {trial_id} would "
                f"get other values. Resume with the version that started the study, or start "
                f"over with overwrite=true."
            )
        self._take(proposal)

    def _write(self, **event: Json) -> None:
        files.append(self._journal, json.dumps(event) + "\n")


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
