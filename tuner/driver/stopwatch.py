"""Measures where a process's time goes: every moment counts for at most one activity."""

import contextlib
from collections.abc import Iterator, MutableMapping

from tuner.driver.clock import Clock


class Stopwatch:
    """Counts wall time by activity.

    Args:
        seconds: Seconds counted before, by name of the activity; new time is added to them.
            Time outside every named block is not counted.
        clock: Measures the time.
    """

    def __init__(self, seconds: MutableMapping[str, float], clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._doing: str | None = None
        self._since = clock.monotonic()

    @contextlib.contextmanager
    def counting(self, name: str) -> Iterator[None]:
        """Count the time of a block under a name, and not under the name of an outer block."""
        before = self._doing
        self._turn_to(name)
        try:
            yield
        finally:
            self._turn_to(before)

    def _turn_to(self, name: str | None) -> None:
        now = self._clock.monotonic()
        if self._doing is not None:
            passed = now - self._since
            self._seconds[self._doing] = self._seconds.get(self._doing, 0.0) + passed
        self._doing, self._since = name, now
