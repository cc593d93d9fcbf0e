"""A clock that shows what a test sets."""

from dataclasses import dataclass


@dataclass
class SetClock:
    """Replaces `tuner.driver.clock.Clock`; both of its times are the same."""

    time: float = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time
