"""Where the driver has its time from, so that a search can run in simulated time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time to everything in the driver that waits for it or measures it."""

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
