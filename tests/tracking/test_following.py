"""A study that is read again and again: what is found, and what is asked for."""

import math
import os
from collections.abc import Callable
from typing import Any

import mlflow
import pytest

from support.live import LiveStudy
from tuner import names
from tuner.errors import UnavailableError
from tuner.tracking import following
from tuner.tracking.following import Following


@pytest.fixture
def live(client: mlflow.MlflowClient) -> LiveStudy:
    """A study with two finished trials, one that failed and one that runs."""
    made = LiveStudy(client)
    made.finish("0000", 0.5, 0.6)
    made.finish("0001", 0.7, 0.8)
    made.train("0002")
    made.fail("0002", "ValueError: no")
    made.train("0003", 0.1)
    return made


@pytest.fixture
def followed(live: LiveStudy) -> Following:
    made = Following(live.client, live.run, num_curves=1)
    made.read()
    return made


def state(followed: Following) -> tuple[dict[str, str], list[str], dict[str, list[float]]]:
    ended = {trial.trial_id: trial.status for trial in followed.ended.values()}
    return ended, list(followed.running), followed.curves


ENDED = {"0000": "FINISHED", "0001": "FINISHED", "0002": "FAILED"}
BEST = {"0001": [0.7, 0.8]}


def test_first_reading_finds_all_and_the_best_curves(followed: Following) -> None:
    assert state(followed) == (ENDED, ["0003"], {**BEST, "0003": [0.1]})
    assert followed.facts.status == "RUNNING"
    assert followed.experiment == "digits"


def delete(live: LiveStudy, trial_id: str) -> None:
    live.client.delete_run(live.tracker.run_of(trial_id))


@pytest.mark.parametrize(
    ("happens", "ended", "running", "curves"),
    [
        pytest.param(
            lambda live: live.train("0003", 0.1, 0.2),
            ENDED, ["0003"], {**BEST, "0003": [0.1, 0.2]}, id="epoch",
        ),
        pytest.param(
            lambda live: live.finish("0003", 0.1, 0.2),
            {**ENDED, "0003": "FINISHED"}, [], BEST, id="end",
        ),
        pytest.param(
            lambda live: live.finish("0003", 0.1, 0.9),
            {**ENDED, "0003": "FINISHED"}, [], {"0003": [0.1, 0.9]}, id="new best",
        ),
        pytest.param(
            # Too short to be seen running.
            lambda live: live.finish("0004", 0.9),
            {**ENDED, "0004": "FINISHED"}, ["0003"], {"0003": [0.1], "0004": [0.9]}, id="short",
        ),
        pytest.param(
            lambda live: live.train("0004"),
            ENDED, ["0003", "0004"], {**BEST, "0003": [0.1], "0004": []}, id="begin",
        ),
        pytest.param(
            # As one that was stopped, in a study that is given more time.
            lambda live: live.train("0000", 0.5, 0.6, 0.7),
            {i: s for i, s in ENDED.items() if i != "0000"}, ["0000", "0003"],
            {**BEST, "0000": [0.5, 0.6, 0.7], "0003": [0.1]}, id="resume",
        ),
        pytest.param(lambda live: delete(live, "0003"), ENDED, [], BEST, id="delete"),
    ],
)  # fmt: skip
def test_later_readings_find_what_has_changed(
    live: LiveStudy,
    followed: Following,
    happens: Callable[[LiveStudy], None],
    ended: dict[str, str],
    running: list[str],
    curves: dict[str, list[float]],
) -> None:
    before = followed.ended_version, followed.curves_version
    changes = ended != ENDED, curves != followed.curves
    happens(live)
    for _ in range(2):
        followed.read()
        assert state(followed) == (ended, running, curves)
    after = followed.ended_version, followed.curves_version
    assert tuple(a != b for a, b in zip(after, before, strict=True)) == changes


def count_calls(monkeypatch: pytest.MonkeyPatch, client: mlflow.MlflowClient) -> list[str]:
    """Note the name of every request from now on."""
    made: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        method = getattr(client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            return method(*args, **kwargs)

        return call

    for name in ("get_run", "search_runs", "get_metric_history", "search_experiments"):
        monkeypatch.setattr(client, name, counted(name))
    return made


def test_reading_costs_three_requests_whatever_has_ended(
    live: LiveStudy, followed: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "CURVE_SECONDS", math.inf)
    calls = count_calls(monkeypatch, live.client)
    followed.read()
    assert calls == ["get_run", "search_runs", "search_runs"]
    live.train("0003", 0.1, 0.2)
    calls.clear()
    followed.read()
    assert calls == ["get_run", "search_runs", "search_runs", "get_metric_history"]


def test_study_that_has_ended_is_asked_for_once(
    live: LiveStudy, followed: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.finish("0003", 0.1)
    live.tracker.close_study("FINISHED")
    followed.read()
    assert state(followed) == ({**ENDED, "0003": "FINISHED"}, [], BEST)
    calls = count_calls(monkeypatch, live.client)
    followed.read()
    assert calls == ["get_run"]
    # It is resumed with a larger budget.
    live.open()
    live.train("0004")
    followed.read()
    assert followed.facts.status == "RUNNING"
    assert list(followed.running) == ["0004"]


def test_metrics_that_are_no_numbers_are_no_change(
    live: LiveStudy, followed: Following
) -> None:
    live.finish("0003", math.nan)
    followed.read()
    before = followed.ended_version, followed.curves_version
    followed.read()
    assert (followed.ended_version, followed.curves_version) == before


def test_requests_to_stop_are_read(live: LiveStudy, followed: Following) -> None:
    assert followed.facts.stop is None
    assert not followed.running["0003"].stop
    # As people write by hand.
    live.client.set_tag(live.tracker.run_id, names.STOP, " Now")
    live.client.set_tag(live.tracker.run_of("0003"), names.STOP, "TRUE")
    followed.read()
    assert followed.facts.stop == "now"
    assert followed.running["0003"].stop


def test_study_that_is_deleted_is_said_and_found_again(
    live: LiveStudy, followed: Following
) -> None:
    before = state(followed)
    live.client.delete_run(live.tracker.run_id)
    followed.read()
    assert followed.is_deleted
    assert state(followed) == before
    live.open()
    followed.read()
    assert not followed.is_deleted
    assert followed.facts.run_id == live.tracker.run_id


def test_store_that_is_removed_is_said(followed: Following) -> None:
    os.remove("mlflow.db")
    with pytest.raises(UnavailableError, match=r"tracking store .*mlflow\.db was removed"):
        followed.read()
