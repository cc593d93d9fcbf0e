"""A clock that shows what a test sets."""

from dataclasses import dataclass


@dataclass
class SetClock:
    """Stands for `tuner.driver.clock.Clock`; both of its times are the same one."""

    time: float = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time
