"""Trials that wait for a worker, and which worker takes them: what executors share."""

import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from tuner.trial import TIME_IS_UP, Outcome, TrialFailure, TrialRequest, Values

logger = logging.getLogger(__name__)

MAX_LOST_STARTS = 3
"""Workers that may die in a row before they can run a trial; then none seems able to start."""

_SETTLED = 10
"""Trials after which a worker has all that it keeps; what comes on top has leaked."""

_NOT_IN_PROGRAM = ("epochs", "learning_rate")


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

    Args:
        retries: How often a trial is tried again whose worker died.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._requests: deque[TrialRequest] = deque()
        self._tries: dict[str, int] = {}

    def append(self, request: TrialRequest) -> None:
        """Take a trial that has not been tried."""
        self._requests.append(request)

    def assign(self, free: Sequence[SlotT]) -> SlotT | None:
        """Give the trial that is next to a free worker, to one that has the program if any.

        Returns:
            The worker, which now has the trial as its `request`; None if there is no trial, or
            nobody to take it.
        """
        if not self._requests or not free:
            return None
        request = self._requests.popleft()
        form = _form(request.values)
        slot = next((slot for slot in free if form in slot.forms), free[0])
        slot.request = request
        slot.forms.add(form)
        return slot

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


def _form(values: Values) -> str:
    """Name what a compiled program depends on: all values but those it is given."""
    return repr(sorted(item for item in values.items() if item[0] not in _NOT_IN_PROGRAM))
