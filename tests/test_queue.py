"""Which worker takes which trial, and what becomes of the trials of dead workers."""

import time

import pytest

from tuner.executors.queue import Slot, TrialQueue
from tuner.trial import TrialFailure, TrialRequest, Value


def request(trial_id: str, deadline: float | None = None, **values: Value) -> TrialRequest:
    return TrialRequest(trial_id, {"epochs": 2, **values}, 0, ".", deadline)


def test_assign_prefers_a_worker_that_has_the_program() -> None:
    queue, first, second = TrialQueue(0), Slot(2.0), Slot(2.0)
    queue.append(request("0", width=8))
    assert queue.assign([first, second]) is first
    queue.append(request("1", width=16))
    assert queue.assign([second]) is second
    queue.append(TrialRequest("2", {"epochs": 9, "learning_rate": 0.1, "width": 16}, 0, "."))
    assert queue.assign([first, second]) is second
    assert second.request is not None
    assert second.request.trial_id == "2"


def test_assign_without_a_trial_or_a_worker_is_none() -> None:
    queue = TrialQueue(0)
    assert queue.assign([Slot(2.0)]) is None
    queue.append(request("0"))
    assert queue.assign([]) is None


def test_retry_puts_a_trial_first_until_it_was_tried_often_enough(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue, slot = TrialQueue(1), Slot(2.0)
    queue.append(request("1"))
    assert queue.retry(request("0"), "worker died because I say so", "all of it") == []
    assert "trial 0: its worker died because I say so; it is tried again (1 of 1)." in (
        caplog.text
    )
    assert queue.assign([slot]) is slot
    assert slot.request == request("0")
    [failure] = queue.retry(request("0"), "worker died because I say so", "all of it")
    error = "The worker died because I say so, 2 times in a row (executor.retries)."
    assert failure == TrialFailure("0", error, "all of it", "infeasible")


def test_put_back_does_not_count_as_a_try() -> None:
    queue = TrialQueue(0)
    queue.put_back(request("0"))
    slot = Slot(2.0)
    assert queue.assign([slot]) is slot


def test_expire_stops_trials_whose_time_is_up() -> None:
    queue, slot = TrialQueue(0), Slot(2.0)
    for one in (request("0"), request("1", time.time() - 1), request("2", time.time() + 99)):
        queue.append(one)
    [stopped] = queue.expire()
    assert isinstance(stopped, TrialFailure)
    assert (stopped.trial_id, stopped.kind) == ("1", "stopped")
    taken = [queue.assign([slot]) and slot.request for _ in range(3)]
    assert [one.trial_id for one in taken if one] == ["0", "2"]


def test_slot_has_grown_after_it_settled() -> None:
    slot = Slot(1.5)
    for resident in [900, *[100] * 8, 200, 300]:
        slot.end_trial(resident)
        assert not slot.has_grown
    slot.end_trial(301)
    assert slot.has_grown
