"""The driver's loop: ask, run, record, tell; and resume where an earlier process left off."""

import contextlib
import dataclasses
import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from tuner import names
from tuner.config.schema import Kept
from tuner.constraints import NO_CONSTRAINTS, Constraints
from tuner.curves.store import NUM_BEST
from tuner.driver.parts import Best, LoopParts
from tuner.driver.pruning import Pruning
from tuner.driver.ranking import Ranking
from tuner.driver.rungs import Rungs
from tuner.driver.steering import Steering
from tuner.driver.stopping import Stopping
from tuner.driver.stopwatch import Stopwatch
from tuner.driver.trainings import TrainingRules, Trainings
from tuner.errors import ModelError, NoRoom, SearchFailed
from tuner.outcomes import Outcome, Told, TrialFailure, TrialPause, TrialResult, is_cut
from tuner.runtime import interrupt
from tuner.trial import Metrics, Proposal, Values
from tuner.wording import plural

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Failures in a row, without any success before, after which no values seem to work."""

SAVE_SECONDS = 5.0
"""Seconds of a study's counted time that a kill may lose."""


class TrialLoop:
    """One search, from its first trial to its last; also the base of the loop over finalists.

    Args:
        parts: The parts that it drives.
        rules: What holds for all its trainings.
        log_models: The trials whose models are logged.
        stopping: What ends it earlier.
        pruning: What ends trials earlier.
        constraints: Limits that its best trial must keep within.

    Attributes:
        kind: What its trainings are in MLflow; see `names.KIND`.
        ranking: Its completed trials.
    """

    kind: ClassVar[str] = names.KIND_TRIAL

    def __init__(
        self,
        parts: LoopParts,
        rules: TrainingRules,
        log_models: Kept,
        stopping: Stopping,
        pruning: Pruning,
        constraints: Constraints = NO_CONSTRAINTS,
    ) -> None:
        objective = rules.objective
        self._rehearsal = parts.rehearsal
        self._folder = parts.folder
        self._oracle = parts.oracle
        self._executor = parts.executor
        self._tracker = parts.tracker
        self._progress = parts.progress
        self._curves = parts.curves
        self._clock = parts.clock
        self._objective = objective
        self._log_models = log_models
        self._deadline = math.inf if parts.deadline is None else parts.deadline
        self._stopping = stopping
        self._pruning = pruning
        self._num_cut = 0
        self._said_why: str | None = None
        self._stopwatch = Stopwatch(parts.folder.state.spent, parts.clock)
        self._trainings = Trainings(parts, rules, pruning, self.kind, self._stopwatch)
        self._steering = Steering(
            parts.tracker,
            parts.executor,
            parts.progress,
            parts.clock,
            self._trainings.in_flight.keys(),
            self._trainings.running,
            parts.rehearsal,
        )
        self._repairs: deque[Proposal] = deque()
        self._failures_in_a_row = 0
        self.ranking = Ranking(objective, constraints)
        self._measured = [*constraints.metrics, *(one.name for one in objective.others)]
        self._rungs = Rungs(objective, parts.oracle.paused, parts.oracle.standings)
        self._repairing: set[str] = set()
        self._evaluating: set[str] = set()
        self._counted = self._saved = parts.clock.monotonic()

    def run(self) -> None:
        """Run trials until the oracle has no more or time is up.

        Raises:
            SearchFailed: If three trials in a row fail and none has succeeded.
            DataError: If the loader returns different data each time.
            ModelError: If the model function does not return what it must, or its model
                could not be loaded again.
            NoRoom: If a worker cannot write its files.
            KeyboardInterrupt: Raised again once the open runs are marked KILLED.
        """
        with self._progress:
            self._resume()
            self._run()

    def _run(self) -> None:
        try:
            self._fill()
            while self._trainings.in_flight:
                self._wait()
                self._fill()
            self._end_paused()
            if self._rehearsal is not None:
                self._rehearsal.finish()
            self._note_cut()
            self._steering.finish()
        except BaseException:
            self._abandon()
            raise
        finally:
            self._count_time(is_last=True)

    def _wait(self) -> None:
        """Wait until trials end, or the executor's capacity changes, and record it."""
        interrupt.check()
        with self._stopwatch.counting("waiting"):
            outcomes = self._executor.wait(self._trainings.end_epoch, self._steering)
        if self._rehearsal is not None:
            self._rehearsal.finish_model() if outcomes else self._rehearsal.check()
        for outcome in outcomes:
            with self._stopwatch.counting("recording"):
                self._record(outcome)

    @property
    def num_ended(self) -> int:
        """Number of trials that have ended, successfully or not, wholly or cut short."""
        return self._oracle.num_told + self._num_cut

    @property
    def was_stopped(self) -> bool:
        """Whether somebody asked the study to end before its budget was used."""
        return self._steering.is_ending

    def best(self, within: Constraints = NO_CONSTRAINTS) -> Best | None:
        """Return the best completed trial that meets the constraints; None if there is none.

        Args:
            within: Further limits that it must keep within. If only the models of the best are
                logged, it must be one of these.
        """
        ranked = self.ranking.ranked()
        if within and (self._log_models == "best" or self._rungs.paused):
            ranked = ranked[:NUM_BEST]
        ranked = [trial for trial in ranked if within.are_met(trial.metrics)]
        if not ranked:
            return None
        best = ranked[0]
        return Best(
            trial_id=best.trial_id,
            values=best.values,
            score=best.score,
            metrics=self._tracker.metrics(best.trial_id),
            run_id=self._tracker.run_of(best.trial_id),
        )

    def finish(self) -> None:
        """Remove what need not be kept once the search is over."""
        # A killed process may have told the oracle of the best trial without recording it.
        self._log_state()
        self._curves.finish()
        if self._log_models == "best":
            self._tracker.drop_models(self._ranked()[NUM_BEST:])

    def _ranked(self) -> list[str]:
        """Return all trials that have a score and meet the constraints, best first."""
        return [trial.trial_id for trial in self.ranking.ranked()]

    def _resume(self) -> None:
        """Resume from what earlier processes have recorded of the study."""
        oracle = self._oracle
        recorded = self._tracker.finished_trials()
        for trial_id, score in oracle.scores.items():
            if trial_id in recorded or self._tracker.is_paused(trial_id):
                known = {self._objective.name: score, **oracle.measured.get(trial_id, {})}
                values, metrics = oracle.values[trial_id], recorded.get(trial_id, known)
                self._note_completed(trial_id, values, metrics)
        self._repairs = self._find_lost()
        repaired = {proposal.trial_id for proposal in self._repairs}
        self._progress.pass_over(
            {i: oracle.values[i] for i in oracle.scores if i not in repaired},
            oracle.num_told - len(oracle.scores),
            oracle.paused,
        )

    def _note_cut(self) -> None:
        """Count trials that an earlier process cut short when the study ended."""
        for trial_id, metrics in self._tracker.finished_trials().items():
            if trial_id not in self.ranking and trial_id in self._oracle.values:
                self._note_completed(trial_id, self._oracle.values[trial_id], metrics)
                self._num_cut += 1

    def _find_lost(self) -> deque[Proposal]:
        """Return the trials that have ended but no longer have a complete record in MLflow.

        They are trained again, from their checkpoints where these are left. Runs that somebody
        has deleted in MLflow are left alone.
        """
        lost = self._oracle.scores.keys() - self._tracker.finished_trials().keys()
        lost -= {i for i in self._rungs.paused if self._tracker.is_paused(i)}
        deleted = sorted(self._tracker.presence(lost).deleted) if lost else []
        if deleted:
            logger.warning(
                "The runs of these finished trials were deleted in MLflow, so none of them can "
                "be the best: %s. To bring one back: mlflow runs restore --run-id <id>.",
                ", ".join(deleted),
            )
        if lost := lost - set(deleted):
            logger.info(
                "MLflow has no complete record of %s that the study had finished: training "
                "again.",
                plural(len(lost), "trial"),
            )
        oracle = self._oracle
        return deque(
            Proposal(i, oracle.values[i], oracle.tags[i], oracle.paused.get(i))
            for i in sorted(lost)
        )

    def _keeps_model(self, metrics: Metrics) -> bool:
        """Say whether to log the model of a trial with these metrics."""
        if self._log_models != "best":
            return self._log_models == "all"
        num_better = self.ranking.num_better(metrics[self._objective.name])
        return num_better < NUM_BEST and self.ranking.meets(metrics)

    def _note_completed(self, trial_id: str, values: Values, metrics: Metrics) -> bool:
        """Remember a trial's score, and say whether the best trial has changed by it."""
        before = self.ranking.best
        trial = self.ranking.note(trial_id, values, metrics)
        if self.ranking.meets(metrics):
            self._curves.note_score(trial_id, values, trial.score)
            self._stopping.note(trial_id, trial.score)
        else:
            self._stopping.note(trial_id, None)
        best = self.ranking.best
        if best is None or best is before:
            return False
        self._progress.show_best(best.trial_id, best.score)
        return True

    def _log_state(self) -> None:
        """Record the best trial so far, if there is one, and where the time went."""
        state = self._folder.state
        metrics = {
            names.SECONDS: state.seconds,
            names.WORKER_SECONDS: state.worker_seconds,
        }
        metrics |= {names.seconds_spent(name): seconds for name, seconds in state.spent.items()}
        tags = {}
        if (best := self.ranking.best) is not None:
            metrics[names.best_metric(self._objective.name)] = best.score
            tags[names.BEST_TRIAL] = best.trial_id
        self._tracker.log_study(metrics, tags)

    def _fill(self) -> None:
        """Submit trials until the executor is full, the oracle has none, or time is up."""
        self._progress.capacity = self._executor.capacity
        while self._executor.has_room:
            # Repairs ignore the deadline: a study whose time is up must be complete too.
            if self._repairs:
                lost = self._repairs.popleft()
                self._repairing.add(lost.trial_id)
                self._submit(lost, math.inf)
                continue
            if self._is_over or self._has_enough():
                break
            with self._stopwatch.counting("proposing"):
                proposal = self._oracle.ask()
            if proposal is None:
                break
            self._repairing.discard(proposal.trial_id)
            self._submit(proposal, self._deadline)
        self._trainings.begin_running()

    @property
    def _is_over(self) -> bool:
        """Whether time is up, or somebody asked the study to end."""
        return self._steering.is_ending or self._clock.now() >= self._deadline

    def _has_enough(self) -> bool:
        """Say whether the scores so far end the search; the reason is logged once."""
        reason = self._stopping.reason
        if reason is not None and reason != self._said_why:
            self._said_why = reason
            logger.info("No more trials start: %s.", reason)
        return reason is not None

    def _submit(self, proposal: Proposal, deadline: float) -> None:
        trial_id = proposal.trial_id
        finished = self._tracker.finished(trial_id, proposal.values)
        if finished is not None and not self._tracker.was_cut(trial_id):
            # An earlier process recorded it and was killed before it could tell the oracle.
            curve = self._tracker.curve(trial_id, proposal.values, self._objective.name)
            repeats = self._tracker.repeats(trial_id, self._objective.name)
            self._tell(trial_id, finished, curve=curve, repeats=repeats)
            self._note_completed(trial_id, proposal.values, finished)
            self._progress.pass_over({trial_id: proposal.values})
            return
        self._rungs.leave(trial_id)
        self._trainings.submit(proposal, deadline, pauses=proposal.rung is not None)

    def _end_paused(self) -> None:
        """Evaluate the best of the trials that are paused, and end the runs of all of them."""
        paused = {i for i in self._rungs.paused if self._tracker.is_paused(i)}
        wanted = [trial_id for trial_id in self._ranked()[:NUM_BEST] if trial_id in paused]
        while wanted or self._trainings.in_flight:
            while wanted and self._executor.has_room:
                trial_id = wanted.pop(0)
                self._evaluating.add(trial_id)
                rung = self._rungs.paused[trial_id]
                proposal = Proposal(trial_id, self.ranking.values(trial_id), {}, rung)
                # Whatever the time: a study whose time is up must have its best model too.
                self._trainings.submit(proposal, math.inf, pauses=False)
            self._trainings.begin_running()
            self._wait()
        with self._stopwatch.counting("recording"):
            for trial_id in sorted(self._rungs.paused):
                if self._tracker.is_paused(trial_id):
                    self._tracker.end_paused(trial_id, self._rungs.why_paused(trial_id))

    def _record(self, outcome: Outcome) -> None:
        """Record how a trial ended, and only then tell the oracle: both can be repeated."""
        self._folder.check_held()
        trial_id = outcome.trial_id
        is_stopped = isinstance(outcome, TrialFailure) and outcome.kind == "stopped"
        if is_stopped and trial_id not in self._trainings.running:
            # The study ended before a worker took it: there is nothing to record.
            self._trainings.end(trial_id)
            return
        self._trainings.begin(trial_id)
        ended = self._trainings.follow(outcome, self._is_stopped(trial_id))
        if ended is None:
            return
        outcome = ended
        if isinstance(outcome, TrialResult):
            outcome = self._pruning.end_trial(outcome)
            self._record_result(outcome)
        elif isinstance(outcome, TrialPause):
            self._record_pause(outcome)
        elif outcome.kind == "storage":
            # Nothing is wrong with the trial: it is resumed once there is room.
            raise NoRoom(outcome.error)
        else:
            self._tracker.fail_trial(outcome)
        self._trainings.end(trial_id)
        self._progress.end_trial(outcome)
        self._count_time()
        if isinstance(outcome, TrialFailure):
            self._judge_failure(outcome)

    def _is_stopped(self, trial_id: str) -> bool:
        """Say whether somebody has asked a trial to end, alone or with its study."""
        return self._steering.is_cutting or trial_id in self._steering.stopped

    def _record_pause(self, pause: TrialPause) -> None:
        trial_id, metrics = pause.trial_id, pause.of_model
        proposal = self._trainings.in_flight[trial_id]
        self._tracker.pause_trial(pause)
        self._keep_epochs(trial_id, pause.epochs)
        self._tell(trial_id, metrics)
        score = pause.score(self._objective)
        self._rungs.pause(trial_id, proposal.rung or len(pause.epochs), score)
        self._failures_in_a_row = 0
        if self._note_completed(trial_id, proposal.values, metrics):
            self._log_state()

    def _record_result(self, result: TrialResult) -> None:
        metrics = result.of_model
        proposal = self._trainings.in_flight[result.trial_id]
        if result.trial_id in self._evaluating:
            why = self._rungs.why_paused(result.trial_id)
            result = dataclasses.replace(result, stopped="rung", stopped_because=why)
        # Everything is on disk before the oracle's journal says that the trial has ended.
        self._tracker.finish_trial(result, self._keeps_model(metrics))
        self._keep_epochs(result.trial_id, result.epochs)
        if self._was_cut(result):
            self._num_cut += 1
        else:
            curve = [epoch[self._objective.name] for epoch in result.epochs]
            repeats = [one.score(self._objective) for one in result.repeats]
            self._tell(result.trial_id, metrics, proposal.rung is not None, curve, repeats)
        self._failures_in_a_row = 0
        if self._note_completed(result.trial_id, proposal.values, metrics):
            self._log_state()

    def _keep_epochs(self, trial_id: str, epochs: Sequence[Metrics]) -> None:
        self._folder.keep_epochs(self._tracker.run_of(trial_id), epochs)

    def _was_cut(self, result: TrialResult) -> bool:
        """Say whether a trial has ended early only because the study ends.

        The oracle is not told of it: if the study is given more time, the trial is resumed, as
        if it had never been cut.
        """
        spared = self._steering.stopped | self._evaluating
        if not is_cut(result.stopped) or result.trial_id in spared:
            return False
        return self._steering.is_cutting or self._clock.now() >= self._deadline

    def _tell(
        self,
        trial_id: str,
        metrics: Metrics,
        is_over: bool = False,
        curve: Sequence[float] = (),
        repeats: Sequence[float] = (),
    ) -> None:
        """Tell the oracle, unless it was told of the trial before.

        Args:
            trial_id: A trial that has ended, or is paused.
            metrics: Those of its model; the objective is missing if the trial failed.
            is_over: See `Told`.
            curve: See `Told`.
            repeats: See `Told`.
        """
        if trial_id in self._repairing | self._evaluating:
            return
        measured = {name: metrics[name] for name in self._measured if name in metrics}
        score = metrics.get(self._objective.name)
        told = Told(score, is_over, curve, measured, repeats)
        self._oracle.tell(trial_id, told)
        if score is not None:
            self._pruning.note(trial_id, told)

    def _judge_failure(self, failure: TrialFailure) -> None:
        if failure.kind == "stopped":
            return
        if failure.kind == "fatal":
            # The oracle is not told: the trial runs again once the cause is fixed.
            raise ModelError(failure.error)
        self._tell(failure.trial_id, failure.of_model)
        if failure.kind == "constraint":
            self.ranking.note_untrained(failure)
            return
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= MAX_FAILURES and self.ranking.best is None:
            raise SearchFailed(
                f"The first {self._failures_in_a_row} trials failed, so the search was "
                f"stopped. The last one: {failure.error} Its run in MLflow has the traceback "
                f"as error.txt. Fix the cause and start over with overwrite=true."
            )

    def _abandon(self) -> None:
        """Leave no run RUNNING; if that fails too, do not hide the original error."""
        for trial_id in sorted(self._trainings.running):
            with contextlib.suppress(Exception):
                self._tracker.kill_trial(trial_id)
        self._count_time()
        with contextlib.suppress(Exception):
            self._log_state()

    def _count_time(self, is_last: bool = False) -> None:
        now = self._clock.monotonic()
        passed, self._counted = now - self._counted, now
        self._folder.state.seconds += passed
        self._folder.state.worker_seconds += passed * self._executor.capacity
        if is_last or now - self._saved >= SAVE_SECONDS:
            self._folder.save_state()
            self._saved = now
