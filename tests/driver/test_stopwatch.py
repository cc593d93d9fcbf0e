"""Which time is counted, and as what."""

import pytest

from support.clocks import SetClock
from tuner.driver.stopwatch import Stopwatch


def test_each_moment_is_counted_once() -> None:
    clock, seconds = SetClock(), {"waiting": 10.0}
    watch = Stopwatch(seconds, clock)
    clock.time = 1.0
    with watch.counting("waiting"):
        clock.time = 3.0
        with watch.counting("recording"):
            clock.time = 7.0
        clock.time = 8.0
    clock.time = 20.0
    assert seconds == {"waiting": 13.0, "recording": 4.0}


def test_time_is_counted_of_what_fails() -> None:
    clock = SetClock()
    seconds: dict[str, float] = {}

    def fail() -> None:
        with Stopwatch(seconds, clock).counting("waiting"):
            clock.time = 2.0
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert seconds == {"waiting": 2.0}
