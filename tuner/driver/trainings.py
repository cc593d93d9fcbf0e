"""The trials that the executor has: what is asked of it, and what it reports while they run."""

import math
from dataclasses import dataclass, field

from tuner.driver.parts import LoopParts
from tuner.driver.pruning import Pruning
from tuner.driver.repeats import Course, RepeatPlan, Training
from tuner.driver.stopwatch import Stopwatch
from tuner.outcomes import Outcome, TrialPause
from tuner.trial import (
    Metrics,
    Objective,
    Proposal,
    Stopped,
    TrialRequest,
    trial_seed,
    whole,
)


@dataclass(frozen=True)
class TrainingRules:
    """What holds for the trainings of all trials of a study.

    Attributes:
        objective: The metric to improve.
        seed: Seed of everything random in the trials.
        plan: How often each trial is trained.
        max_trial_minutes: Minutes after which a trial ends with its epoch, or None.
    """

    objective: Objective
    seed: int
    plan: RepeatPlan = field(default_factory=RepeatPlan)
    max_trial_minutes: float | None = None


class Trainings:
    """Hands trials to the executor, training by training, and records their epochs.

    Args:
        parts: The executor, and what keeps and shows epochs.
        rules: What holds for all trials.
        pruning: What ends trials earlier.
        kind: What they are in MLflow; see `names.KIND`.
        stopwatch: Counts the time spent on recording.

    Attributes:
        in_flight: The trials that have been submitted and have not ended.
        running: Those of them that workers have taken.
    """

    def __init__(
        self,
        parts: LoopParts,
        rules: TrainingRules,
        pruning: Pruning,
        kind: str,
        stopwatch: Stopwatch,
    ) -> None:
        self.in_flight: dict[str, Proposal] = {}
        self.running: set[str] = set()
        self._folder = parts.folder
        self._executor = parts.executor
        self._tracker = parts.tracker
        self._curves = parts.curves
        self._progress = parts.progress
        self._clock = parts.clock
        self._rehearsal = parts.rehearsal
        self._rules = rules
        self._pruning = pruning
        self._kind = kind
        self._stopwatch = stopwatch
        self._courses: dict[str, Course] = {}
        self._deadlines: dict[str, float] = {}

    def submit(self, proposal: Proposal, deadline: float, pauses: bool) -> None:
        """Hand a trial to the executor, up to its rung or its last epoch.

        Args:
            proposal: The trial.
            deadline: Time by the clock at which it ends with its epoch; infinite for none.
            pauses: Whether it is paused after that.
        """
        trial_id, values = proposal.trial_id, proposal.values
        self.in_flight[trial_id] = proposal
        self._deadlines[trial_id] = deadline
        if self._rules.plan.has_several:
            rules = self._rules
            course = Course(rules.plan, rules.seed, values, rules.objective)
            self._courses[trial_id] = course
            self._request(proposal, course.next(), deadline)
            return
        own = proposal.seed
        seed = trial_seed(self._rules.seed, values) if own is None else own
        self._request(proposal, Training(seed), deadline, pauses)

    def begin_running(self) -> None:
        """Open the runs of all trials that workers have taken."""
        with self._stopwatch.counting("recording"):
            for trial_id in self._executor.running:
                self.begin(trial_id)

    def begin(self, trial_id: str) -> None:
        """Open the run of a trial that a worker has taken, unless it is open."""
        if trial_id in self.running:
            return
        proposal = self.in_flight[trial_id]
        self.running.add(trial_id)
        self._tracker.open_trial(trial_id, proposal.values, proposal.tags, self._kind)
        self._progress.start_trial(trial_id, proposal.values, proposal.rung)

    def end_epoch(
        self, trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False
    ) -> Stopped | None:
        """Record an epoch, and say whether its trial ends with it; see `OnEpoch`."""
        with self._stopwatch.counting("recording"):
            self.begin(trial_id)
            repeat = 1
            if (course := self._courses.get(trial_id)) is not None:
                if course.repeat is None:
                    # A training that has been recorded is evaluated.
                    return None
                repeat = course.repeat
            why = None
            # The epochs of another training are recorded once it is whole.
            if repeat == 1:
                planned = whole(self.in_flight[trial_id].values["epochs"])
                # An epoch is recorded once it is decided what follows it.
                why = self._pruning.end_epoch(trial_id, epoch, metrics, planned)
                self._tracker.log_epoch(trial_id, epoch, metrics)
        self._progress.end_epoch(trial_id, epoch, metrics, is_reused)
        return why

    def follow(self, outcome: Outcome, is_stopped: bool) -> Outcome | None:
        """Submit what follows one of a trial's trainings, or return how the trial has ended.

        Args:
            outcome: How the training has ended.
            is_stopped: Whether somebody has asked the trial to end with what it has.
        """
        trial_id = outcome.trial_id
        course = self._courses.get(trial_id)
        if course is None or (ended := course.add(outcome)) is not None:
            return outcome if course is None else ended
        if isinstance(outcome, TrialPause):
            if self._pruning.end_repeat(trial_id, course.scores, len(outcome.epochs)):
                course.stop("pruned")
            self._tracker.log_repeat(trial_id, len(course.done), outcome.epochs)
        deadline = self._deadlines[trial_id]
        if is_stopped:
            course.stop("user")
        elif self._clock.now() >= deadline or self._seconds_left(trial_id) == 0.0:
            course.stop("time")
        training = course.next()
        self._progress.start_repeat(trial_id, course.repeat)
        # Whatever the time: what a trial has is evaluated.
        deadline = math.inf if training.is_last else deadline
        self._request(self.in_flight[trial_id], training, deadline)
        return None

    def end(self, trial_id: str) -> None:
        """Forget a trial that has ended."""
        self._courses.pop(trial_id, None)
        del self.in_flight[trial_id], self._deadlines[trial_id]
        self.running.discard(trial_id)
        self._curves.end(trial_id)
        self._folder.drop_trial_dir(trial_id)

    def _request(
        self, proposal: Proposal, training: Training, deadline: float, pauses: bool = False
    ) -> None:
        """Hand a training of a trial to the executor."""
        trial_id, values = proposal.trial_id, proposal.values
        if self._rehearsal is not None:
            self._rehearsal.offer(values, training.seed)
        curve = self._curves.begin(trial_id, values, proposal.seed, training.repeat)
        self._executor.submit(
            TrialRequest(
                trial_id=trial_id,
                values=values,
                seed=training.seed,
                output_dir=str(self._folder.trial_dir(trial_id)),
                deadline=None if math.isinf(deadline) else deadline,
                max_seconds=self._seconds_left(trial_id),
                curve_dir=str(curve),
                num_epochs=proposal.rung,
                pauses=pauses or not training.is_last,
                is_judged=training.repeat == 1 and self._pruning.judges(trial_id),
                fold=training.fold,
                repeat=training.repeat,
            )
        )

    def _seconds_left(self, trial_id: str) -> float | None:
        """Return the seconds that a trial may still take; None for any number."""
        if self._rules.max_trial_minutes is None:
            return None
        spent = self._tracker.seconds_before(trial_id)
        if (course := self._courses.get(trial_id)) is not None:
            spent += course.seconds
        return max(self._rules.max_trial_minutes * 60 - spent, 0.0)
