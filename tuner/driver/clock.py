"""The driver's source of time, so that a search can run in simulated time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time to every part of the driver that waits or measures."""

    def now(self) -> float:
        """Return the time (seconds since 1970)."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment; setting the system's clock does not change them."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.time()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()
