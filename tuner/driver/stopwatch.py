"""Where a process's time goes: every moment is counted for one thing it does."""

import contextlib
from collections.abc import Iterator, MutableMapping

from tuner.driver.clock import Clock


class Stopwatch:
    """Counts wall time by what is being done.

    Args:
        seconds: What has been counted before; what is counted now is added to it. What is
            measured under no name is not counted.
        clock: What measures it.
    """

    def __init__(self, seconds: MutableMapping[str, float], clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._doing: str | None = None
        self._since = clock.monotonic()

    @contextlib.contextmanager
    def counting(self, name: str) -> Iterator[None]:
        """Count the time meanwhile under a name, and not under that of a block around it."""
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
