"""The queue of trials that wait for a worker, and what the executors that have one share."""

import abc
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from tuner.executors import Executor
from tuner.outcomes import Outcome, TrialFailure
from tuner.trial import Stopped, TrialRequest, Values
from tuner.wording import plural

logger = logging.getLogger(__name__)

MAX_LOST_STARTS = 3
"""Number of workers that may die in a row before they can run a trial."""

_SETTLED = 10
"""Number of trials after which a worker's memory has settled; any growth after it is a leak."""

_NOT_IN_PROGRAM = ("epochs", "learning_rate")

_MAX_AHEAD = 16
"""Trials per worker that may wait until their curves are free, so that no worker is idle."""


class Slot:
    """The driver's view of one worker, which runs one trial at a time.

    Args:
        max_growth: Limit of its process's memory, as a multiple of its settled size.

    Attributes:
        request: The trial that it runs, if any.
        programs: Keys of the programs it has compiled; see `_program`.
        has_grown: Whether its process has become too large and should be replaced.
    """

    def __init__(self, max_growth: float) -> None:
        self.request: TrialRequest | None = None
        self.programs: set[str] = set()
        self.has_grown = False
        self._max_growth = max_growth
        self._num_trials = 0
        self._settled = 0

    def end_trial(self, resident: int) -> None:
        """Take note of a trial's end, and of the process's size in bytes after it."""
        self.request = None
        self._num_trials += 1
        if self._num_trials == _SETTLED:
            self._settled = resident
        self.has_grown = bool(self._settled) and resident > self._max_growth * self._settled


SlotT = TypeVar("SlotT", bound=Slot)


class TrialQueue:
    """Trials that wait for a worker, retried ones first.

    Two workers never train one curve at the same time: the second trial waits, and then resumes
    where the first has ended. Among trials that wait for one curve, the shortest comes first.

    Args:
        retries: How many times to retry a trial whose worker died.
        looks_ahead: Whether to take one more trial per worker than can run, so that a worker
            can be given a trial whose program it has. An oracle that learns from every trial
            would know less when it proposes them.
        now: Tells the time (seconds since 1970) that deadlines are compared with.
    """

    def __init__(
        self,
        retries: int,
        looks_ahead: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._retries = retries
        self._looks_ahead = looks_ahead
        self._now = now
        self._requests: deque[TrialRequest] = deque()
        self._begun: set[str] = set()
        self._tries: dict[str, int] = {}
        self._stops: dict[str, Stopped] = {}
        self._dropped: list[TrialRequest] = []

    def __len__(self) -> int:
        """Count the trials that wait."""
        return len(self._requests)

    def append(self, request: TrialRequest) -> None:
        """Add a trial: one that a worker has had before comes before all that wait."""
        if request.trial_id in self._begun:
            self._requests.appendleft(request)
        else:
            self._requests.append(request)

    def has_room(self, slots: Sequence[Slot]) -> bool:
        """Say whether another trial is wanted, now or when the next worker is free."""
        num_free = sum(slot.request is None for slot in slots)
        num_wanted = num_free + (len(slots) if self._looks_ahead else 0)
        num_ready = len(self._ready(slots))
        return num_ready < num_wanted and len(self._requests) < _MAX_AHEAD * len(slots)

    def assign(self, slots: Sequence[SlotT], free: Sequence[SlotT]) -> SlotT | None:
        """Give a trial to a free worker, preferably one that has its program.

        Args:
            slots: All workers.
            free: Workers that can take a trial.

        Returns:
            The worker, which now has the trial as its `request`; None if no trial can start or
            no worker is free.
        """
        ready = self._ready(slots)
        if not ready or not free:
            return None
        request, slot = _match(ready, slots, free)
        self._requests.remove(request)
        self._begun.add(request.trial_id)
        slot.request = request
        slot.programs.add(_program(request.values))
        return slot

    def _ready(self, slots: Sequence[Slot]) -> list[TrialRequest]:
        """Return the trials that can start now, one per curve, in order."""
        busy = {slot.request.curve_dir for slot in slots if slot.request is not None}
        by_curve: dict[str, TrialRequest] = {}
        for request in self._requests:
            if request.curve_dir is not None and request.curve_dir in busy:
                continue
            curve = request.curve_dir or request.trial_id
            first = by_curve.setdefault(curve, request)
            if request.epochs < first.epochs:
                by_curve[curve] = request
        return list(by_curve.values())

    def stop(self, trial_id: str, why: Stopped) -> None:
        """Note that a trial ends early; one that has never begun is dropped; see `dropped`."""
        self._stops[trial_id] = why
        for request in list(self._requests):
            if request.trial_id == trial_id and trial_id not in self._tries:
                self._drop(request)

    def why_stopped(self, trial_id: str) -> Stopped | None:
        """Return why a trial ends early, if it does: a worker may have died before it heard."""
        return self._stops.get(trial_id)

    def put_back(self, request: TrialRequest) -> None:
        """Take back a trial whose worker was lost before it began; no retry is counted."""
        self._requests.appendleft(request)

    def retry(
        self, request: TrialRequest, how: str, details: str | None = None
    ) -> list[Outcome]:
        """Retry a trial whose worker died while running it, or give it up.

        Args:
            request: The trial.
            how: How its worker ended, such as `worker process was killed by SIGKILL`.
            details: The full account, for the record; None if there is no more.

        Returns:
            The trial's failure, if there are no retries left.
        """
        tries = self._tries.get(request.trial_id, 0) + 1
        self._tries[request.trial_id] = tries
        if tries > self._retries:
            error = f"The {how} ({plural(tries, 'attempt')}; executor.retries={self._retries})."
            return [TrialFailure(request.trial_id, error, details or error, "infeasible")]
        logger.warning(
            "trial %s: its %s; retry %d of %d.",
            request.trial_id,
            how,
            tries,
            self._retries,
        )
        self._requests.appendleft(request)
        return []

    def dropped(self) -> list[Outcome]:
        """Return the failures of trials that will not begin: stopped, or their time is up."""
        for request in list(self._requests):
            if request.deadline is not None and self._now() > request.deadline:
                self._drop(request)
        dropped, self._dropped = self._dropped, []
        return [TrialFailure.not_begun(r.trial_id) for r in dropped]

    def clear(self) -> None:
        """Forget all trials."""
        self._requests.clear()

    def _drop(self, request: TrialRequest) -> None:
        self._requests.remove(request)
        self._dropped.append(request)


class QueuedExecutor(Executor, Generic[SlotT]):
    """An executor whose trials wait in a queue for its workers; the base of Glassy's own.

    Derive from it, set `_queue` and `_slots`, and define the rest of `Executor`, and how trials
    are assigned to workers and how one of these is told that its trial ends early.
    """

    _queue: TrialQueue
    _slots: list[SlotT]

    @property
    def running(self) -> Collection[str]:
        """The trials that workers have."""
        return [slot.request.trial_id for slot in self._slots if slot.request is not None]

    def submit(self, request: TrialRequest) -> None:
        """Take a trial, and give it to a worker that is free."""
        self._queue.append(request)
        self._assign()

    def stop(self, trial_id: str, why: Stopped) -> None:
        """End a trial early; see `Executor`."""
        self._queue.stop(trial_id, why)
        for slot in self._slots:
            if slot.request is not None and slot.request.trial_id == trial_id:
                self._send_stop(slot)

    @abc.abstractmethod
    def _assign(self) -> None:
        """Give trials that wait to workers that are free."""

    @abc.abstractmethod
    def _send_stop(self, slot: SlotT) -> None:
        """Tell a worker why its trial ends early, if it does."""


def _match(
    ready: Sequence[TrialRequest], slots: Sequence[SlotT], free: Sequence[SlotT]
) -> tuple[TrialRequest, SlotT]:
    """Choose the trial to start, and its worker: compiling may take longer than the trial."""
    for request in ready:
        program = _program(request.values)
        for slot in free:
            if program in slot.programs:
                return request, slot
    compiled = set().union(*(slot.programs for slot in slots))
    # A trial whose program a busy worker has can wait for it, unless there is no other trial.
    new = next((r for r in ready if _program(r.values) not in compiled), ready[0])
    return new, free[0]


def _program(values: Values) -> str:
    """Return the values that a compiled program depends on, as text."""
    return repr(sorted(item for item in values.items() if item[0] not in _NOT_IN_PROGRAM))
