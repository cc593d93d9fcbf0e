"""Trials that wait for a worker, and which worker takes them: what executors share."""

import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from tuner.trial import TIME_IS_UP, Outcome, TrialFailure, TrialRequest, Values, whole

logger = logging.getLogger(__name__)

MAX_LOST_STARTS = 3
"""Workers that may die in a row before they can run a trial; then none seems able to start."""

_SETTLED = 10
"""Trials after which a worker has all that it keeps; what comes on top has leaked."""

_NOT_IN_PROGRAM = ("epochs", "learning_rate")

_MAX_AHEAD = 16
"""Trials for each worker that may wait until their curves are free, lest it be idle."""


class Slot:
    """The driver's view of one worker, which runs one trial at a time.

    Args:
        max_growth: How many times its settled size its process may reach.

    Attributes:
        request: The trial that it runs, if any.
        forms: What it has run before, by what a compiled program depends on.
        has_grown: Whether its process is too large by now, and another should take its place.
    """

    def __init__(self, max_growth: float) -> None:
        self.request: TrialRequest | None = None
        self.forms: set[str] = set()
        self.has_grown = False
        self._max_growth = max_growth
        self._num_trials = 0
        self._settled = 0

    def end_trial(self, resident: int) -> None:
        """Take note of a trial's end, and of the process's size (bytes) after it."""
        self.request = None
        self._num_trials += 1
        if self._num_trials == _SETTLED:
            self._settled = resident
        self.has_grown = bool(self._settled) and resident > self._max_growth * self._settled


SlotT = TypeVar("SlotT", bound=Slot)


class TrialQueue:
    """Trials that wait for a worker, those that are tried again first.

    No two workers train one curve at a time: the second trial waits, and then goes on where the
    first has ended. Of those that wait for one curve the shortest comes first.

    Args:
        retries: How often a trial is tried again whose worker died.
        looks_ahead: Whether to take a trial for each worker more than can run, so that each can
            be given one whose program it has. An oracle that learns from every trial would
            know less when it proposes them.
    """

    def __init__(self, retries: int, looks_ahead: bool = False) -> None:
        self._retries = retries
        self._looks_ahead = looks_ahead
        self._requests: deque[TrialRequest] = deque()
        self._tries: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the trials that wait."""
        return len(self._requests)

    def append(self, request: TrialRequest) -> None:
        """Take a trial that has not been tried."""
        self._requests.append(request)

    def has_room(self, slots: Sequence[Slot]) -> bool:
        """Say whether one trial more would be of use, now or when the next worker is free."""
        num_free = sum(slot.request is None for slot in slots)
        num_wanted = num_free + (len(slots) if self._looks_ahead else 0)
        num_ready = len(self._ready(slots))
        return num_ready < num_wanted and len(self._requests) < _MAX_AHEAD * len(slots)

    def assign(self, slots: Sequence[SlotT], free: Sequence[SlotT]) -> SlotT | None:
        """Give a trial to a free worker, to one that has the program if any.

        Args:
            slots: All workers.
            free: Those that can take a trial.

        Returns:
            The worker, which now has the trial as its `request`; None if there is no trial that
            can start, or nobody to take it.
        """
        ready = self._ready(slots)
        if not ready or not free:
            return None
        request, slot = _match(ready, slots, free)
        self._requests.remove(request)
        slot.request = request
        slot.forms.add(_form(request.values))
        return slot

    def _ready(self, slots: Sequence[Slot]) -> list[TrialRequest]:
        """Return the trials that can start now, one for each curve, in their order."""
        busy = {slot.request.curve_dir for slot in slots if slot.request is not None}
        by_curve: dict[str, TrialRequest] = {}
        for request in self._requests:
            if request.curve_dir is not None and request.curve_dir in busy:
                continue
            curve = request.curve_dir or request.trial_id
            first = by_curve.setdefault(curve, request)
            if whole(request.values["epochs"]) < whole(first.values["epochs"]):
                by_curve[curve] = request
        return list(by_curve.values())

    def put_back(self, request: TrialRequest) -> None:
        """Take a trial back whose worker was gone before the trial began: that is no try."""
        self._requests.appendleft(request)

    def retry(
        self, request: TrialRequest, how: str, details: str | None = None
    ) -> list[Outcome]:
        """Take a trial back whose worker died of it, or give it up.

        Args:
            request: The trial.
            how: What became of its worker, as in `worker process was killed by SIGKILL`.
            details: All that is known of it, for the record; None if that is all.

        Returns:
            The trial's failure, if it has been tried often enough.
        """
        tries = self._tries.get(request.trial_id, 0) + 1
        self._tries[request.trial_id] = tries
        if tries > self._retries:
            error = f"The {how}, {tries} times in a row (executor.retries)."
            return [TrialFailure(request.trial_id, error, details or error, "infeasible")]
        logger.warning(
            "trial %s: its %s; it is tried again (%d of %d).",
            request.trial_id,
            how,
            tries,
            self._retries,
        )
        self._requests.appendleft(request)
        return []

    def expire(self) -> list[Outcome]:
        """Drop the trials whose time is up, and return their failures."""
        expired = [
            request
            for request in self._requests
            if request.deadline is not None and time.time() > request.deadline
        ]
        for request in expired:
            self._requests.remove(request)
        return [
            TrialFailure(request.trial_id, TIME_IS_UP, TIME_IS_UP, "stopped")
            for request in expired
        ]

    def clear(self) -> None:
        """Forget all trials."""
        self._requests.clear()


def _match(
    ready: Sequence[TrialRequest], slots: Sequence[SlotT], free: Sequence[SlotT]
) -> tuple[TrialRequest, SlotT]:
    """Choose the trial to start, and its worker: compiling may take longer than the trial."""
    for request in ready:
        form = _form(request.values)
        for slot in free:
            if form in slot.forms:
                return request, slot
    compiled = set().union(*(slot.forms for slot in slots))
    # One whose program a busy worker has can wait for that, unless there is nothing else.
    new = next((r for r in ready if _form(r.values) not in compiled), ready[0])
    return new, free[0]


def _form(values: Values) -> str:
    """Name what a compiled program depends on: all values but those it is given."""
    return repr(sorted(item for item in values.items() if item[0] not in _NOT_IN_PROGRAM))
