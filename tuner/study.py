"""The driver's loop: ask, run, record, tell; and going on where an earlier run left off."""

import contextlib
import logging
import math
import time
from dataclasses import dataclass

from tuner import interrupt
from tuner.errors import ModelError, SearchFailed
from tuner.executors import Executor
from tuner.folder import StudyFolder
from tuner.oracle import Proposal, SearchOracle
from tuner.progress import Progress
from tuner.tracking import Tracker
from tuner.trial import (
    Metrics,
    Objective,
    Outcome,
    TrialFailure,
    TrialRequest,
    TrialResult,
    Values,
    trial_seed,
)

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Trials that may fail in a row before the first success; then no values seem to work."""


@dataclass(frozen=True)
class Best:
    """The best completed trial of a study.

    Attributes:
        trial_id: The oracle's name of it.
        values: One point of the space.
        score: The objective after its last epoch.
        metrics: All that was recorded of it.
        run_id: MLflow's.
    """

    trial_id: str
    values: Values
    score: float
    metrics: Metrics
    run_id: str


class Study:
    """One search, from its first trial to its last.

    Args:
        objective: What it improves.
        seed: Of everything random in it.
        folder: Its folder, held by this process.
        oracle: What proposes the trials.
        executor: What runs them.
        tracker: What records them; the study's run is open.
        progress: What shows them.
        deadline: Time (seconds since 1970) at which it stops, or None.
    """

    def __init__(
        self,
        objective: Objective,
        seed: int,
        folder: StudyFolder,
        oracle: SearchOracle,
        executor: Executor,
        tracker: Tracker,
        progress: Progress,
        deadline: float | None,
    ) -> None:
        self._objective = objective
        self._seed = seed
        self._folder = folder
        self._oracle = oracle
        self._executor = executor
        self._tracker = tracker
        self._progress = progress
        self._deadline = math.inf if deadline is None else deadline
        self._in_flight: set[str] = set()
        self._failures_in_a_row = 0
        self._clock = time.monotonic()

    def run(self) -> None:
        """Run trials until the oracle has no more or time is up.

        Raises:
            SearchFailed: If three trials in a row fail and none has succeeded.
            ModelError: If the model function does not return what it must.
            KeyboardInterrupt: As it came, once the open runs are marked KILLED.
        """
        try:
            self._fill()
            while self._in_flight:
                interrupt.check()
                for outcome in self._executor.wait(self._record_epoch):
                    self._record(outcome)
                self._fill()
        except BaseException:
            self._abandon()
            raise
        finally:
            self._count_time()

    def best(self) -> Best | None:
        """Return the best completed trial, the earlier of two that tie; None without any."""
        best: str | None = None
        by_id = sorted(self._oracle.scores.items(), key=lambda item: int(item[0]))
        for trial_id, score in by_id:
            if best is None or self._objective.is_better(score, self._oracle.scores[best]):
                best = trial_id
        if best is None:
            return None
        return Best(
            trial_id=best,
            values=self._oracle.values[best],
            score=self._oracle.scores[best],
            metrics=self._tracker.metrics(best),
            run_id=self._tracker.run_of(best),
        )

    def _fill(self) -> None:
        """Start trials until the executor is full, the oracle has none, or time is up."""
        while len(self._in_flight) < self._executor.capacity and time.time() < self._deadline:
            proposal = self._oracle.ask()
            if proposal is None:
                return
            self._start(proposal)

    def _start(self, proposal: Proposal) -> None:
        trial_id = proposal.trial_id
        run = self._tracker.open_trial(trial_id, proposal.values, proposal.tags)
        if run.finished is not None:
            # An earlier process recorded it and was killed before it could tell the oracle.
            self._oracle.tell(trial_id, run.finished[self._objective.name])
            return
        self._in_flight.add(trial_id)
        self._progress.start_trial(trial_id, proposal.values)
        self._executor.submit(
            TrialRequest(
                trial_id=trial_id,
                values=proposal.values,
                seed=trial_seed(self._seed, proposal.values),
                output_dir=str(self._folder.trial_dir(trial_id)),
                deadline=None if math.isinf(self._deadline) else self._deadline,
            )
        )

    def _record_epoch(self, trial_id: str, epoch: int, metrics: Metrics) -> None:
        self._tracker.log_epoch(trial_id, epoch, metrics)
        self._progress.end_epoch(trial_id, epoch, metrics)

    def _record(self, outcome: Outcome) -> None:
        """Record how a trial ended, and only then tell the oracle: either can be done again."""
        if isinstance(outcome, TrialResult):
            self._tracker.finish_trial(outcome)
            self._oracle.tell(outcome.trial_id, outcome.score(self._objective))
            self._failures_in_a_row = 0
        else:
            self._tracker.fail_trial(outcome)
        self._in_flight.discard(outcome.trial_id)
        self._folder.drop_trial_dir(outcome.trial_id)
        self._progress.end_trial(outcome)
        self._count_time()
        if isinstance(outcome, TrialFailure):
            self._judge_failure(outcome)
        elif (best := self.best()) is not None and best.trial_id == outcome.trial_id:
            self._tracker.log_best(
                {f"best_{self._objective.name}": best.score},
                {"tuner.best_trial": best.trial_id},
            )

    def _judge_failure(self, failure: TrialFailure) -> None:
        if failure.kind == "stopped":
            return
        if failure.kind == "fatal":
            # Not told to the oracle: the trial runs again once the cause is mended.
            raise ModelError(failure.error)
        self._oracle.tell(failure.trial_id, None)
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= MAX_FAILURES and not self._oracle.scores:
            raise SearchFailed(
                f"The first {self._failures_in_a_row} trials failed, so the search was "
                f"stopped. The last one: {failure.error} Its run in MLflow has the traceback "
                f"as error.txt; begin afresh with overwrite=true."
            )

    def _abandon(self) -> None:
        """Leave no run RUNNING, and do not hide what went wrong if that fails too."""
        for trial_id in sorted(self._in_flight):
            with contextlib.suppress(Exception):
                self._tracker.kill_trial(trial_id)

    def _count_time(self) -> None:
        now = time.monotonic()
        self._folder.state.seconds += now - self._clock
        self._clock = now
        self._folder.save_state()
