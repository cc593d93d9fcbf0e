"""What time is counted for."""

import pytest

from tuner.runtime import stopwatch
from tuner.runtime.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows what its only entry says."""
    now = [0.0]
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: now[0])
    return now


def test_each_moment_is_counted_once(clock: list[float]) -> None:
    seconds = {"waiting": 10.0}
    watch = Stopwatch(seconds)
    clock[0] = 1.0
    with watch.counting("waiting"):
        clock[0] = 3.0
        with watch.counting("recording"):
            clock[0] = 7.0
        clock[0] = 8.0
    clock[0] = 20.0
    assert seconds == {"waiting": 13.0, "recording": 4.0}


def test_time_is_counted_of_what_fails(clock: list[float]) -> None:
    seconds: dict[str, float] = {}

    def fail() -> None:
        with Stopwatch(seconds).counting("waiting"):
            clock[0] = 2.0
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert seconds == {"waiting": 2.0}
