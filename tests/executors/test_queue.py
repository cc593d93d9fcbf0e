"""Which worker takes which trial, and what becomes of the trials of dead workers."""

import time

import pytest

from tuner.executors.queue import Slot, TrialQueue
from tuner.outcomes import TrialFailure
from tuner.trial import TrialRequest, Value


def request(
    trial_id: str,
    deadline: float | None = None,
    curve: str | None = None,
    **values: Value,
) -> TrialRequest:
    return TrialRequest(trial_id, {"epochs": 2, **values}, 0, ".", deadline, curve)


def assign(queue: TrialQueue, slots: list[Slot]) -> Slot | None:
    return queue.assign(slots, [slot for slot in slots if slot.request is None])


def assigned(queue: TrialQueue, slots: list[Slot]) -> list[str]:
    """Give trials to all free workers, and return which."""
    names = []
    while slot := assign(queue, slots):
        assert slot.request is not None
        names.append(slot.request.trial_id)
    return names


def test_assign_prefers_a_worker_that_has_the_program() -> None:
    queue, first, second = TrialQueue(0), Slot(2.0), Slot(2.0)
    queue.append(request("0", width=8))
    assert assign(queue, [first, second]) is first
    queue.append(request("1", width=16))
    assert assign(queue, [first, second]) is second
    first.request = second.request = None
    queue.append(request("2", epochs=9, learning_rate=0.1, width=16))
    assert assign(queue, [first, second]) is second
    assert second.request is not None
    assert second.request.trial_id == "2"


def test_assign_without_a_trial_or_a_worker_is_none() -> None:
    queue = TrialQueue(0)
    assert assign(queue, [Slot(2.0)]) is None
    queue.append(request("0"))
    assert assign(queue, []) is None


def test_assign_lets_a_trial_wait_for_the_worker_that_has_its_program() -> None:
    queue, first, second = TrialQueue(0), Slot(2.0), Slot(2.0)
    for trial_id, width in (("0", 8), ("1", 16)):
        queue.append(request(trial_id, width=width))
    assert assigned(queue, [first, second]) == ["0", "1"]
    second.request = None
    for trial_id, width in (("2", 8), ("3", 24), ("4", 16)):
        queue.append(request(trial_id, width=width))
    # The second has the program of the last, and the first that of the first.
    assert assigned(queue, [first, second]) == ["4"]
    second.request = None
    assert assigned(queue, [first, second]) == ["3"]
    second.request = None
    # Compiling twice is better than an idle worker.
    assert assigned(queue, [first, second]) == ["2"]


def test_assign_gives_a_curve_to_one_worker_at_a_time_and_the_shortest_trial_first() -> None:
    queue, slots = TrialQueue(0), [Slot(2.0), Slot(2.0)]
    for trial_id, curve, epochs in (("0", "a", 8), ("1", "a", 2), ("2", "a", 4), ("3", "b", 2)):
        queue.append(request(trial_id, curve=curve, epochs=epochs))
    assert assigned(queue, slots) == ["1", "3"]
    slots[1].request = None
    assert assigned(queue, slots) == []
    slots[0].request = None
    assert assigned(queue, slots) == ["2"]


@pytest.mark.parametrize(("looks_ahead", "expected"), [(False, 2), (True, 4)])
def test_has_room_while_a_worker_would_be_idle(looks_ahead: bool, expected: int) -> None:
    queue, slots = TrialQueue(0, looks_ahead), [Slot(2.0), Slot(2.0)]
    num_taken = 0
    while queue.has_room(slots):
        queue.append(request(str(num_taken), width=num_taken))
        num_taken += 1
        assign(queue, slots)
    assert num_taken == expected


def test_has_room_for_a_trial_that_need_not_wait_for_a_curve() -> None:
    queue, slots = TrialQueue(0), [Slot(2.0), Slot(2.0)]
    for number in range(40):
        assert queue.has_room(slots) == (number < 33)
        if number < 33:
            queue.append(request(str(number), curve="a"))
            assign(queue, slots)


def test_retry_puts_a_trial_first_until_it_was_tried_often_enough(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue, slot = TrialQueue(1), Slot(2.0)
    queue.append(request("1"))
    assert queue.retry(request("0"), "worker died because I say so", "all of it") == []
    assert "trial 0: its worker died because I say so; retry 1 of 1." in (caplog.text)
    assert assign(queue, [slot]) is slot
    assert slot.request == request("0")
    [failure] = queue.retry(request("0"), "worker died because I say so", "all of it")
    error = "The worker died because I say so (2 attempts; executor.retries=1)."
    assert failure == TrialFailure("0", error, "all of it", "infeasible")


def test_put_back_does_not_count_as_a_try() -> None:
    queue = TrialQueue(0)
    queue.put_back(request("0"))
    slot = Slot(2.0)
    assert assign(queue, [slot]) is slot


def test_a_trial_whose_time_is_up_does_not_begin() -> None:
    queue, slot = TrialQueue(0), Slot(2.0)
    for one in (request("0"), request("1", time.time() - 1), request("2", time.time() + 99)):
        queue.append(one)
    [stopped] = queue.dropped()
    assert isinstance(stopped, TrialFailure)
    assert (stopped.trial_id, stopped.kind) == ("1", "stopped")
    assert assigned(queue, [slot]) == ["0"]
    slot.request = None
    assert assigned(queue, [slot]) == ["2"]


def test_a_stopped_trial_does_not_begin_but_one_that_is_retried_does() -> None:
    queue, slot = TrialQueue(1), Slot(2.0)
    for name in ("0", "1", "2"):
        queue.append(request(name))
    assert assigned(queue, [slot]) == ["0"]
    assert slot.request is not None
    queue.stop("0", "user")
    queue.stop("1", "user")
    [stopped] = queue.dropped()
    assert (stopped.trial_id, queue.dropped()) == ("1", [])
    # Its worker dies before it heard: the trial is told when it is tried again.
    lost, slot.request = slot.request, None
    assert queue.retry(lost, "worker died") == []
    assert assigned(queue, [slot]) == ["0"]
    assert queue.why_stopped("0") == "user"
    assert queue.why_stopped("2") is None


def test_slot_has_grown_after_it_settled() -> None:
    slot = Slot(1.5)
    for resident in [900, *[100] * 8, 200, 300]:
        slot.end_trial(resident)
        assert not slot.has_grown
    slot.end_trial(301)
    assert slot.has_grown
