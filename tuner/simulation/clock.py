"""Simulated time: a clock that stands still, and jumps from one event to the next."""

import heapq
import itertools
from collections.abc import Callable


class VirtualClock:
    """Tells simulated time, and lets what is to happen happen; see `tuner.driver.clock.Clock`.

    Time begins at 0 and passes only in `advance`. Events at one moment happen in the order in
    which they were scheduled, so that a simulation has one course.
    """

    def __init__(self) -> None:
        self._time = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        """See `Clock.now`."""
        return self._time

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._time

    def schedule(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen later.

        Args:
            seconds: How much later, at least 0; 0 is after all else that happens now.
            event: Called when its moment has come.
        """
        if not seconds >= 0:
            raise ValueError(f"An event cannot happen in the past, {seconds} seconds from now.")
        heapq.heappush(self._events, (self._time + seconds, next(self._numbers), event))

    def advance(self) -> None:
        """Go to the next event, and let it happen.

        Raises:
            IndexError: If nothing is to happen any more.
        """
        self._time, _, event = heapq.heappop(self._events)
        event()
