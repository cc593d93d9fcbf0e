"""A Keras Tuner oracle, asked and told directly, whose every word is kept in a journal.

Keras Tuner rewrites its whole state after every trial, not atomically. Here each answer is one
line appended to `oracle.jsonl`, and a study is resumed by putting the same questions to a fresh
oracle: with the same seed and the same scores it gives the same answers and ends in the same
state. A line torn by a kill is the last one, and is dropped: an unwritten question is asked
again, and an unwritten score is found in the tracking store.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.src.engine.trial import TrialStatus

from tuner import names
from tuner.config.schema import GridConfig, HyperbandConfig, SearchConfig
from tuner.config.space import Space
from tuner.errors import StudyError
from tuner.oracles.keras_tuner_oracles import BayesianOracle, grid_size, make_oracle
from tuner.runtime import files
from tuner.trial import Objective, Proposal, Value, Values, whole

logger = logging.getLogger(__name__)

# Every trial in flight has a name of its own here; Keras Tuner gives the same name its trial
# back.
_TUNER_ID = "driver-{}"


class SearchOracle:
    """What proposes the trials of a study, and is told how they went.

    Args:
        search: Which of Keras Tuner's oracles, and its options.
        space: What is searched, without what the oracle sets itself.
        objective: What it is to improve.
        seed: Of its proposals, in `[0, 2**31)`.
        journal: File of the study's questions and answers so far; made when missing.

    Raises:
        StudyError: If the journal was written by an oracle that answers differently.
    """

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int, journal: Path
    ) -> None:
        self._search = search
        self._space = space
        self._objective = objective
        self._journal = journal
        self._oracle = make_oracle(search, space, objective, seed)
        self._open: dict[str, Proposal] = {}
        self.values: dict[str, Values] = {}
        self.tags: dict[str, Mapping[str, str]] = {}
        self._brackets: dict[str, str] = {}
        self._unasked: list[Proposal] = []
        self._scores: dict[str, float] = {}
        self._num_failed = 0
        self._replay()

    @property
    def num_asked(self) -> int:
        """How many trials have been proposed, those in flight included."""
        return len(self._oracle.trials) - len(self._unasked)

    @property
    def num_told(self) -> int:
        """How many trials have ended, well or not."""
        return len(self._scores) + self._num_failed

    @property
    def scores(self) -> Mapping[str, float]:
        """The objective of every completed trial, in the order they ended."""
        return self._scores

    def num_trials(self) -> int | None:
        """Count the trials of the whole search, or return None where nobody can know.

        For the random and the Bayesian oracle a small space is an upper bound: Keras Tuner ends
        them after 20 proposals in a row that it has made before. How Hyperband ends on a space
        that cannot fill its brackets with different points depends on the scores.
        """
        if isinstance(self._search, HyperbandConfig):
            counts = self._hyperband_counts(self._search)
        elif isinstance(self._search, GridConfig):
            counts = [grid_size(self._oracle.hyperparameters)]
        else:
            counts = [size] if (size := self._space.size()) else []
        if self._search.max_trials is not None:
            counts.append(self._search.max_trials)
        return min(counts, default=None)

    def rounds(self) -> list[tuple[int, int]] | None:
        """Return (trials, epochs of each) of every round where the oracle sets the epochs."""
        if not isinstance(self._search, HyperbandConfig):
            return None
        return self._schedule(self._search)

    def _hyperband_counts(self, search: HyperbandConfig) -> list[int]:
        brackets = range(self._oracle._get_num_brackets())
        num_points = search.iterations * sum(self._oracle._get_size(b, 0) for b in brackets)
        size = self._space.size()
        if size is not None and size < num_points:
            return []
        return [sum(size for size, _ in self._schedule(search))]

    def _schedule(self, search: HyperbandConfig) -> list[tuple[int, int]]:
        """Return (trials, epochs of each) for every round of every bracket and iteration."""
        oracle = self._oracle
        rounds = [
            (int(oracle._get_size(bracket, i)), int(oracle._get_epochs(bracket, i)))
            for bracket in range(oracle._get_num_brackets())
            for i in range(oracle._get_num_rounds(bracket))
        ]
        return rounds * search.iterations

    def ask(self) -> Proposal | None:
        """Return the next trial to run, or None.

        None means that the search is over, or, while trials are in flight, that the oracle
        waits for one of them. Trials that were open when the study was interrupted come first.
        """
        if self._unasked:
            return self._unasked.pop(0)
        max_trials = self._search.max_trials
        if max_trials is not None and len(self._oracle.trials) >= max_trials:
            return None
        trial = self._create()
        if trial is None:
            # Even so the oracle may have moved on, to its next bracket for one.
            self._write(ask=None)
            return None
        proposal = self._proposal(trial)
        self._write(
            ask=trial.trial_id,
            proposed=_proposed(trial),
            seed_state=self._oracle._seed_state,
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

    def _create(self) -> Any:
        """Let the oracle make a trial; None when it has none, now or for good."""
        trial = self._oracle.create_trial(_TUNER_ID.format(len(self._oracle.trials)))
        return trial if trial.status == TrialStatus.RUNNING else None

    def _proposal(self, trial: Any) -> Proposal:
        proposed: dict[str, Value] = dict(trial.hyperparameters.values)
        values = self._space.complete(proposed)
        tags = {}
        if isinstance(self._search, HyperbandConfig):
            values = {"epochs": whole(proposed["tuner/epochs"])} | values
            tags = {
                names.BRACKET: str(proposed["tuner/bracket"]),
                names.ROUND: str(proposed["tuner/round"]),
            }
            if "tuner/trial_id" in proposed:
                past = str(proposed["tuner/trial_id"])
                tags[names.CONTINUES] = past
                # Keras Tuner writes the bracket it is filling now, not that of the trial.
                tags[names.BRACKET] = self._brackets[past]
            self._brackets[trial.trial_id] = tags[names.BRACKET]
        proposal = Proposal(trial.trial_id, values, tags)
        self._open[trial.trial_id] = proposal
        self.values[trial.trial_id] = values
        self.tags[trial.trial_id] = tags
        return proposal

    def _end(self, trial_id: str, score: float | None) -> None:
        trial = self._oracle.trials[trial_id]
        if score is None:
            trial.status = TrialStatus.FAILED
            self._num_failed += 1
        else:
            # Told once: of several reported steps Keras Tuner would take the best.
            self._oracle.update_trial(trial_id, {self._objective.name: score})
            trial.status = TrialStatus.COMPLETED
            self._scores[trial_id] = score
        self._oracle.end_trial(trial)
        del self._open[trial_id]

    def _replay(self) -> None:
        """Bring the oracle to where the journal ends."""
        if not self._journal.exists():
            return
        text = self._journal.read_bytes()
        kept = text[: text.rfind(b"\n") + 1]
        if len(kept) < len(text):
            logger.warning("The last line of %s was torn and is dropped.", self._journal)
            files.cut(self._journal, len(kept))
        for line in kept.splitlines():
            try:
                self._replay_event(json.loads(line))
            except (ValueError, KeyError) as error:
                raise StudyError(
                    f"{self._journal} has been altered: {line.decode(errors='replace')!r} "
                    f"cannot be. Put back what was there, or start afresh with overwrite=true."
                ) from error
        self._unasked = list(self._open.values())

    def _replay_event(self, event: Mapping[str, Any]) -> None:
        if "tell" in event:
            self._end(event["tell"], event["score"])
        elif event["ask"] is None:
            self._create()
        else:
            self._replay_ask(event)

    def _replay_ask(self, event: Mapping[str, Any]) -> None:
        if isinstance(self._oracle, BayesianOracle):
            self._oracle.recorded = event
        trial = self._create()
        if isinstance(self._oracle, BayesianOracle):
            self._oracle.recorded = None
        if trial is None or _proposed(trial) != event["proposed"]:
            raise StudyError(
                f"{self._journal} does not fit this version of Keras Tuner "
                f"({keras_tuner.__version__}): trial {event['ask']} would get other values. Go "
                f"on with the version that began the study, or start afresh with "
                f"overwrite=true."
            )
        self._proposal(trial)

    def _write(self, **event: Any) -> None:
        files.append(self._journal, json.dumps(event) + "\n")


def _proposed(trial: Any) -> dict[str, Any]:
    """Return what the oracle proposed as JSON can hold it, without NumPy's scalars."""
    values: Mapping[str, Any] = trial.hyperparameters.values
    return {n: v.item() if hasattr(v, "item") else v for n, v in values.items()}
