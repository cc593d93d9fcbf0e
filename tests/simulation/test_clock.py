"""Simulated time."""

import math

import pytest

from tuner.simulation.clock import VirtualClock


def test_events_happen_in_the_order_of_their_moments_then_of_their_scheduling() -> None:
    clock, happened = VirtualClock(), []
    for name, seconds in (("late", 2.0), ("first", 1.0), ("second", 1.0), ("now", 0.0)):
        clock.schedule(seconds, lambda name=name: happened.append((name, clock.now())))
    for _ in range(4):
        clock.advance()
    assert happened == [("now", 0.0), ("first", 1.0), ("second", 1.0), ("late", 2.0)]
    assert clock.monotonic() == 2.0


def test_an_event_can_schedule_another_that_comes_after_all_else_of_its_moment() -> None:
    clock, happened = VirtualClock(), []
    clock.schedule(1.0, lambda: clock.schedule(0.0, lambda: happened.append("scheduled")))
    clock.schedule(1.0, lambda: happened.append("there before"))
    for _ in range(3):
        clock.advance()
    assert happened == ["there before", "scheduled"]


@pytest.mark.parametrize("seconds", [-1.0, math.nan])
def test_an_event_in_the_past_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="past"):
        VirtualClock().schedule(seconds, lambda: None)


def test_a_clock_without_events_does_not_advance() -> None:
    with pytest.raises(IndexError):
        VirtualClock().advance()
