"""Simulated workers: trials take virtual time, in the order that real ones would end in."""

import functools
from collections.abc import Callable

from tuner.executors import Beside
from tuner.executors.queue import QueuedExecutor, Slot, TrialQueue
from tuner.outcomes import Outcome
from tuner.simulation.clock import VirtualClock
from tuner.simulation.worker import Course
from tuner.trial import Metrics, OnEpoch, ReportEpoch, Stopped, TrialRequest

Begin = Callable[[TrialRequest, ReportEpoch], Course]
"""Begins a trial; see `tuner.simulation.worker.SimulatedWorker.run`."""


class SimulatedExecutor(QueuedExecutor["_SimulatedProcess"]):
    """Runs trials in virtual time, with the queue of real workers; see `Executor`.

    Args:
        begin: Begins a trial.
        clock: Passes only while this executor waits.
        workers: How many trials run at a time, at least 1.
        looks_ahead: See `Workplace`.
    """

    def __init__(
        self, begin: Begin, clock: VirtualClock, workers: int, looks_ahead: bool
    ) -> None:
        self._begin = begin
        self._clock = clock
        self._queue = TrialQueue(retries=0, looks_ahead=looks_ahead, now=clock.now)
        self._slots = [_SimulatedProcess() for _ in range(workers)]
        self._outcomes: list[Outcome] = []
        self._on_epoch: OnEpoch = _nobody_waits

    @property
    def capacity(self) -> int:
        """Number of workers."""
        return len(self._slots)

    @property
    def has_room(self) -> bool:
        """Whether another trial can be submitted; see `TrialQueue`."""
        return self._queue.has_room(self._slots)

    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        """Let time pass until a trial has ended, and return how."""
        self._on_epoch = on_epoch
        while not self._outcomes:
            self._clock.advance()
            if beside is not None and beside.attend():
                break
            self._outcomes += self._queue.dropped()
        # Only now: a worker is free as soon as its trial has ended, and not before.
        self._assign()
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def close(self) -> None:
        """Forget all trials."""
        self._queue.clear()

    def _send_stop(self, slot: "_SimulatedProcess") -> None:
        """Tell it nothing: the reports of its epochs are answered at once."""

    def _assign(self) -> None:
        """Give waiting trials to free workers, which begin them when time passes."""
        while worker := self._queue.assign(
            self._slots, [worker for worker in self._slots if worker.request is None]
        ):
            assert worker.request is not None
            worker.course = self._begin(worker.request, self._report)
            self._clock.schedule(0.0, functools.partial(self._continue, worker))

    def _continue(self, worker: "_SimulatedProcess") -> None:
        """Let a worker's trial continue to its next pause, or to its end."""
        try:
            seconds = next(worker.course)
        except StopIteration as end:
            worker.end_trial(resident=0)
            self._outcomes.append(end.value)
        else:
            self._clock.schedule(seconds, functools.partial(self._continue, worker))

    def _report(
        self, trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False
    ) -> Stopped | None:
        """Pass an epoch on to the driver, and say whether the trial ends with it."""
        said = self._on_epoch(trial_id, epoch, metrics, is_reused)
        return said or self._queue.why_stopped(trial_id)


class _SimulatedProcess(Slot):
    """One worker."""

    course: Course

    def __init__(self) -> None:
        super().__init__(max_growth=1.0)


def _nobody_waits(trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False) -> None:
    raise RuntimeError(f"Trial {trial_id} has an epoch although nobody waits.")
