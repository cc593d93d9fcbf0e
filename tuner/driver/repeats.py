"""The trainings of a trial that is trained several times: with other seeds, on other folds.

They follow one another, each a request to the executor. Each ends with a checkpoint only, as a
trial does that is paused at a rung. At last the one whose score is nearest to the mean is
resumed, to be evaluated: its model is the trial's.
"""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass

from tuner.outcomes import Outcome, TrialPause, TrialResult
from tuner.trial import Objective, Stopped, Values, repeat_seed


@dataclass(frozen=True)
class Training:
    """One of a trial's trainings.

    Attributes:
        seed: Its seed.
        repeat: Its number, from 1.
        fold: The fold that validates, from 1; None for the data as they are.
        is_last: Whether the trial is evaluated after it.
    """

    seed: int
    repeat: int = 1
    fold: int | None = None
    is_last: bool = True


@dataclass(frozen=True)
class RepeatPlan:
    """How the trials of a study are repeated.

    Attributes:
        num_repeats: Trainings of each trial, on all folds together.
        num_folds: Folds of the data, which the trainings take in turn; None for none.
    """

    num_repeats: int = 1
    num_folds: int | None = None

    @property
    def has_several(self) -> bool:
        """Whether trials have more than one training."""
        return self.num_repeats > 1


class Course:
    """One trial's trainings: those done, at first none, and which one follows.

    Args:
        plan: How many there are.
        seed: The study's seed.
        values: The trial's values.
        objective: The metric to improve.

    Attributes:
        done: The trainings that have ended, in their order.
    """

    def __init__(
        self, plan: RepeatPlan, seed: int, values: Values, objective: Objective
    ) -> None:
        self.done: list[TrialPause] = []
        self._plan = plan
        self._seed = seed
        self._values = values
        self._objective = objective
        self._stopped: Stopped | None = None
        self._is_evaluated = False

    @property
    def scores(self) -> tuple[float, ...]:
        """The objective of each training that has ended."""
        return tuple(one.score(self._objective) for one in self.done)

    @property
    def seconds(self) -> float:
        """How long these have taken."""
        return sum(one.seconds for one in self.done)

    @property
    def repeat(self) -> int | None:
        """Number of the training under way; None while the trial is evaluated."""
        return None if self._is_evaluated else len(self.done) + 1

    def stop(self, why: Stopped) -> None:
        """Let no further training begin; nothing changes if all have ended."""
        if self._stopped is None and len(self.done) < self._plan.num_repeats:
            self._stopped = why

    def next(self) -> Training:
        """Return the training that follows."""
        repeat = len(self.done) + 1
        if self._stopped is not None or repeat > self._plan.num_repeats:
            self._is_evaluated = True
            repeat = self._nearest
        folds = self._plan.num_folds
        fold = None if folds is None else (repeat - 1) % folds + 1
        seed = repeat_seed(self._seed, self._values, repeat)
        return Training(seed, repeat, fold, self._is_evaluated)

    def add(self, outcome: Outcome) -> Outcome | None:
        """Take note of how a training ended; return how the trial ended, or None."""
        if isinstance(outcome, TrialPause):
            self.done.append(outcome)
            return None
        if self._is_evaluated:
            return self._whole(outcome) if isinstance(outcome, TrialResult) else outcome
        if not self.done:
            return outcome
        # A training that was ended from outside counts for nothing beside whole ones.
        if isinstance(outcome, TrialResult):
            self.stop(outcome.stopped or "user")
            return None
        if outcome.kind == "stopped":
            self.stop("user")
            return None
        return outcome

    @property
    def _nearest(self) -> int:
        """Number of the training whose score is nearest to the mean; the first in a tie."""
        scores = self.scores
        mean = statistics.fmean(scores)
        return 1 + min(range(len(scores)), key=lambda place: abs(scores[place] - mean))

    def _whole(self, evaluated: TrialResult) -> TrialResult:
        """Return the trial's result, given the training whose model was evaluated."""
        return dataclasses.replace(
            evaluated,
            epochs=self.done[0].epochs,
            train_seconds=sum(one.train_seconds for one in self.done),
            seconds=evaluated.seconds + self.seconds,
            compile_seconds=sum(one.compile_seconds for one in self.done),
            epochs_reused=sum(one.epochs_reused for one in self.done),
            stopped=self._stopped or evaluated.stopped,
            stopped_because="" if self._stopped else evaluated.stopped_because,
            best_epoch=None,
            repeats=tuple(self.done),
            model_repeat=self._nearest,
        )
