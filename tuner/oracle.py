"""A Keras Tuner oracle, asked and told directly, whose every word is kept in a journal.

Keras Tuner rewrites its whole state after every trial, not atomically. Here each answer is one
line appended to `oracle.jsonl`, and a study is resumed by putting the same questions to a fresh
oracle: with the same seed and the same scores it gives the same answers and ends in the same
state. A line torn by a kill is the last one, and is dropped: an unwritten question is asked
again, and an unwritten score is found in the tracking store.
"""

import json
import logging
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.src.engine.trial import TrialStatus
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from tuner.config import BayesianConfig, GridConfig, HyperbandConfig, SearchConfig
from tuner.errors import StudyError
from tuner.space import Space
from tuner.trial import Objective, Value, Values

logger = logging.getLogger(__name__)

# Every trial in flight has a name of its own here; Keras Tuner gives the same name its trial
# back.
_TUNER_ID = "driver-{}"


@dataclass(frozen=True)
class Proposal:
    """A trial that the oracle wants run.

    Attributes:
        trial_id: Its name, unique in the study.
        values: One point of the space, complete, `epochs` included.
        tags: What else there is to know about it, such as Hyperband's bracket and round.
    """

    trial_id: str
    values: Values
    tags: Mapping[str, str]


class _Unsaved:
    """Keeps a Keras Tuner oracle from writing files: the journal is its memory."""

    def save(self) -> None:
        """Write nothing."""

    def _save_trial(self, trial: Any) -> None:
        """Write nothing."""


class _Random(_Unsaved, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]
    pass


class _Grid(_Unsaved, keras_tuner.oracles.GridSearchOracle):  # type: ignore[misc]
    def populate_space(self, trial_id: str) -> Any:
        response = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING:
            # Keras Tuner waits for a trial to end before it makes the next point, since a trial
            # might declare new hyperparameters; here none can, and workers need not wait.
            self._populate_next.append(trial_id)
        return response


class _Hyperband(_Unsaved, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]
    pass


class _Bayesian(_Unsaved, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    # A proposal takes 0.8 s from 50 trials on, so a resumed study is told what was proposed
    # before instead of having it computed again.
    recorded: Mapping[str, Any] | None = None
    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]

    def populate_space(self, trial_id: str) -> Any:
        if self.recorded is not None:
            self._seed_state = self.recorded["seed_state"]
            return {"status": TrialStatus.RUNNING, "values": dict(self.recorded["proposed"])}
        # A proposal must depend on the trials before it, not on which of them this process has
        # proposed itself.
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        # More threads make it no faster, and take the cores from those who train.
        with warnings.catch_warnings(), threadpool_limits(1):
            # Few trials, or equal scores, leave the length scale at its bound; it does no harm.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._fit_to_completed()
            response = super().populate_space(trial_id)
        values = response["values"]
        if values is not None and self._duplicate(values):
            # The same values give the same result: nothing would be learnt.
            return self._random_populate_space()
        return response

    def _fit_to_completed(self) -> None:
        """Fit what Keras Tuner guesses the scores of the trials in flight by.

        It would take the fit of its last proposal, which a resumed process has not made.
        """
        self.gpr = self._make_gpr()
        if not self.ongoing_trials:
            return
        trials, ongoing = self.trials, self.ongoing_trials
        completed = {i: t for i, t in trials.items() if t.status == TrialStatus.COMPLETED}
        self.trials, self.ongoing_trials = completed, {}
        try:
            if completed:
                self.gpr.fit(*self._vectorize_trials())
        finally:
            self.trials, self.ongoing_trials = trials, ongoing


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
        self._oracle = _make_oracle(search, space, objective, seed)
        self._open: dict[str, Proposal] = {}
        self.values: dict[str, Values] = {}
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
            counts = [_grid_size(self._oracle.hyperparameters)]
        else:
            counts = [size] if (size := self._space.size()) else []
        if self._search.max_trials is not None:
            counts.append(self._search.max_trials)
        return min(counts, default=None)

    def mean_epochs(self) -> float | None:
        """Return the epochs of an average trial where the oracle sets them, else None."""
        if not isinstance(self._search, HyperbandConfig):
            return None
        rounds = self._schedule(self._search)
        return sum(size * epochs for size, epochs in rounds) / sum(size for size, _ in rounds)

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
        proposed = trial.hyperparameters.values
        proposal = self._proposal(trial)
        self._write(
            ask=trial.trial_id,
            proposed={name: _plain(value) for name, value in proposed.items()},
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
            values = {"epochs": int(proposed["tuner/epochs"])} | values
            tags = {
                f"tuner.{key}": str(proposed[f"tuner/{key}"]) for key in ("bracket", "round")
            }
            if "tuner/trial_id" in proposed:
                past = str(proposed["tuner/trial_id"])
                tags["tuner.continues"] = past
                # Keras Tuner writes the bracket it is filling now, not that of the trial.
                tags["tuner.bracket"] = self._brackets[past]
            self._brackets[trial.trial_id] = tags["tuner.bracket"]
        proposal = Proposal(trial.trial_id, values, tags)
        self._open[trial.trial_id] = proposal
        self.values[trial.trial_id] = values
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
            with self._journal.open("r+b") as file:
                file.truncate(len(kept))
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
        if isinstance(self._oracle, _Bayesian):
            self._oracle.recorded = event
        trial = self._create()
        if isinstance(self._oracle, _Bayesian):
            self._oracle.recorded = None
        proposed = trial.hyperparameters.values if trial else {}
        if {name: _plain(value) for name, value in proposed.items()} != event["proposed"]:
            raise StudyError(
                f"{self._journal} does not fit this version of Keras Tuner "
                f"({keras_tuner.__version__}): trial {event['ask']} would get other values. Go "
                f"on with the version that began the study, or start afresh with "
                f"overwrite=true."
            )
        self._proposal(trial)

    def _write(self, **event: Any) -> None:
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _make_oracle(search: SearchConfig, space: Space, objective: Objective, seed: int) -> Any:
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(objective.name, objective.direction),
        "hyperparameters": space.hyperparameters(),
        "allow_new_entries": False,
        "tune_new_entries": True,
        # Keras Tuner takes seed 0 for "none given".
        "seed": seed + 1,
        # When to give up is the study's to say: it must record the trial first.
        "max_consecutive_failed_trials": 2**31,
    }
    oracle: Any
    # Without a `max_trials` of its own, which `ask` counts instead, Keras Tuner names trials
    # by four digits whatever the budget.
    if isinstance(search, HyperbandConfig):
        oracle = _Hyperband(
            max_epochs=search.max_epochs,
            factor=search.factor,
            hyperband_iterations=search.iterations,
            **common,
        )
    elif isinstance(search, GridConfig):
        oracle = _Grid(max_trials=None, **common)
    elif isinstance(search, BayesianConfig):
        oracle = _Bayesian(
            max_trials=None,
            num_initial_points=search.num_initial_points,
            alpha=search.alpha,
            beta=search.beta,
            **common,
        )
    else:
        oracle = _Random(max_trials=None, **common)
    oracle.verbose = 0
    return oracle


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _grid_size(declared: Any) -> int:
    """Count the points of Keras Tuner's grid, which takes 10 of a continuous range."""
    counts = {hp.name: len(set(hp.values) | {hp.default}) for hp in declared.space}
    layers: Any = next((hp for hp in declared.space if hp.name == "layers"), None)
    conditional = {hp.name: hp.conditions[0].values for hp in declared.space if hp.conditions}
    if not conditional:
        return math.prod(counts.values())
    shared = math.prod(n for name, n in counts.items() if name not in {"layers", *conditional})
    return shared * sum(
        math.prod(counts[name] for name, allowed in conditional.items() if number in allowed)
        for number in layers.values
    )
