"""Reports a trial's epochs, and decides after each whether the trial ends with it."""

import time
from collections.abc import Callable, Sequence

from tuner.trial import Metrics, ReportEpoch, Stopped, TrialRequest


class Ending:
    """Ends a trial early if somebody asks for it, or if its time is up.

    Args:
        request: The trial, which begins now.
        report: Reports an epoch to the driver.
        now: Tells the time (seconds since 1970).
        monotonic: Counts seconds.

    Attributes:
        why: Why it ends with the epoch reported last, before that of its values; None if it
            does not.
        last: The last epoch that it can have, as far as is known.
    """

    def __init__(
        self,
        request: TrialRequest,
        report: ReportEpoch,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.why: Stopped | None = None
        self.last = request.epochs
        self._request = request
        self._report = report
        self._now = now
        self._monotonic = monotonic
        self._begin = monotonic()

    def reaches(self, epochs: Sequence[Metrics]) -> bool:
        """Report epochs that have been trained before; say whether the trial has them all."""
        for number, metrics in enumerate(epochs, 1):
            said = self._report(self._request.trial_id, number, metrics, True)
            if said == "pruned":
                self.last = number
                if number < len(epochs):
                    return False
                self.why = said
        return True

    def note(self, epoch: int, metrics: Metrics) -> None:
        """Report an epoch that has been trained."""
        asked = self._report(self._request.trial_id, epoch, metrics, False)
        self.why = asked or ("time" if self._is_late else None)

    @property
    def _is_late(self) -> bool:
        deadline, most = self._request.deadline, self._request.max_seconds
        return (deadline is not None and self._now() > deadline) or (
            most is not None and self._monotonic() - self._begin > most
        )
