"""What the page of a study that runs says, from real records."""

import re
from typing import Any

import mlflow
import pytest

from support.live import VALUES, LiveStudy
from tuner import names
from tuner.reports import live_page
from tuner.reports.live_page import LivePage
from tuner.reports.page import Part
from tuner.tracking.following import Following

NASTY = "<script>alert(1)</script> & 'quotes\""


@pytest.fixture
def live(client: mlflow.MlflowClient) -> LiveStudy:
    return LiveStudy(client)


class Shown:
    """The page of a study, as it is when it is asked for."""

    def __init__(self, live: LiveStudy) -> None:
        self.followed = Following(live.client, live.run, live_page.NUM_CURVES)
        self.page = LivePage(self.followed)

    def parts(
        self, state: str = "running", quiet_since: float | None = None, command: str = ""
    ) -> dict[str, Part]:
        self.followed.read()
        made = self.page.parts(state, quiet_since, command)
        assert len({part.key for part in made}) == len(made)
        return {part.key: part for part in made}

    def text(self, **options: Any) -> str:
        """Return all that is said, in one line."""
        html = " ".join(part.html for part in self.parts(**options).values())
        return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_page_of_a_study_that_has_just_begun(live: LiveStudy) -> None:
    shown = Shown(live)
    assert list(shown.parts()) == ["head", "cards", "running", "What was searched"]
    said = shown.text()
    assert "Study first Started on " in said
    assert "running. Finish Stop now" in said
    assert "Trials 0 of 20 0 running" in said
    assert "val_accuracy so far none yet no trial has finished" in said
    assert "Time left unknown" in said
    assert "No trial runs: the driver begins one" in said


def test_page_of_a_study_under_way(live: LiveStudy) -> None:
    live.finish("0000", 0.5, 0.6)
    live.finish("0001", 0.7, 0.8)
    live.train("0002")
    live.fail("0002", "ValueError: units must be even")
    live.train("0003", 0.1, 0.25)
    live.tell(NUM_TRIALS="16", TIME_LEFT="about 3:05 min")
    shown = Shown(live)
    parts = shown.parts()
    assert list(parts) == [
        "head",
        "cards",
        "running",
        "Learning curves",
        "How the search went",
        "The best trials",
        "What failed",
        "What was searched",
    ]
    assert [name for part in parts.values() for name in part.figures] == [
        "curves",
        "history",
        "failures",
    ]
    said = shown.text()
    # The driver knows better than the configuration how many there will be.
    assert "Trials 3 of 16 1 running, 1 failed" in said
    # Wilson's interval of 4,000 of the 5,000 validation images.
    assert "0.8000 best: trial 0001, 0.7887 to 0.8109 (95 %, 5,000 images)" in said
    assert "Time left about 3:05 min" in said
    assert "0003 epochs=4 layers=1 units_1=16 learning_rate=0.01 optimizer=adam" in said
    assert "2 of 4 epochs, val_accuracy 0.2500" in said
    assert "ValueError: units must be even" in said


@pytest.mark.parametrize(
    ("tag", "expected"), [("1600", "0 of 1,600"), ("", "0")], ids=["known", "unknown"]
)
def test_page_says_of_how_many_trials_if_that_is_known(
    live: LiveStudy, tag: str, expected: str
) -> None:
    live.tell(NUM_TRIALS=tag)
    shown = Shown(live)
    shown.parts()
    assert shown.page.progress == expected


@pytest.mark.parametrize(
    ("scores", "stop", "phase", "has_button"),
    [
        ((), None, "compiling", True),
        ((0.5,), None, "1 of 4 epochs, val_accuracy 0.5000", True),
        ((0.5, 0.6, 0.7, 0.8), None, "evaluating, val_accuracy 0.8000", False),
        ((), "trial", "compiling, asked to stop", False),
        ((0.5,), "trial", "1 of 4 epochs, asked to stop, val_accuracy 0.5000", False),
        ((0.5,), "now", "1 of 4 epochs, asked to stop, val_accuracy 0.5000", False),
        ((0.5,), "true", "1 of 4 epochs, val_accuracy 0.5000", True),
    ],
)
def test_running_trial_says_what_it_does(
    live: LiveStudy, scores: tuple[float, ...], stop: str | None, phase: str, has_button: bool
) -> None:
    live.train("0000", *scores)
    run = live.tracker.run_of("0000") if stop == "trial" else live.tracker.run_id
    if stop is not None:
        live.client.set_tag(run, names.STOP, "true" if stop == "trial" else stop)
    html = Shown(live).parts()["running"].html
    assert f'<div class="phase">{phase}</div>' in html
    assert f'<progress max="4" value="{len(scores)}" aria-label="Trial 0000, epochs">' in html
    assert ('aria-label="Stop trial 0000"' in html) == has_button


def test_finalists_that_run_are_shown_and_are_no_trials(live: LiveStudy) -> None:
    live.finish("0000", 0.5, 0.6)
    live.tracker.open_trial("0000-seed1", VALUES, {names.SEED: "7"}, names.KIND_FINALIST)
    live.tell(PROGRESS="0 of 9 finalists; 0000-seed1 compiling")
    shown = Shown(live)
    said = shown.text()
    assert "Trials 1 of 20 0 running, 1 finalist running" in said
    assert 'aria-label="Stop trial 0000-seed1"' in shown.parts()["running"].html
    live.client.set_tag(live.tracker.run_of("0000-seed1"), names.STOP, "true")
    assert live.tracker.stop_requests().trials == {"0000-seed1"}
    live.client.set_terminated(live.tracker.run_of("0000-seed1"), "FINISHED")
    assert "Trials 1 of 20 0 running" in shown.text()
    assert list(shown.followed.ended) == ["0000"]


@pytest.mark.parametrize(
    ("stop", "says", "buttons"),
    [
        (None, "running.", ["finish", "stop-now"]),
        ("true", "ending: no more trials start", ["stop-now"]),
        ("now", "ending: trials end after the epoch under way.", []),
    ],
)
def test_head_says_what_the_study_was_asked_for(
    live: LiveStudy, stop: str | None, says: str, buttons: list[str]
) -> None:
    if stop is not None:
        live.client.set_tag(live.tracker.run_id, names.STOP, stop)
    html = Shown(live).parts()["head"].html
    assert says in html
    assert re.findall(r'<button type="button" id="([\w-]+)"', html) == buttons


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("interrupted", "interrupted."),
        ("failed", "ended by an error."),
        ("finished", "finished without a result."),
    ],
)
def test_study_that_nobody_runs_says_how_to_resume_it(
    live: LiveStudy, state: str, says: str
) -> None:
    live.train("0000", 0.5)
    shown = Shown(live)
    parts = shown.parts(state, command="python -m tuner.search study=first")
    assert list(parts)[:2] == ["head", "To resume it"]
    assert says in parts["head"].html
    assert "<pre>python -m tuner.search study=first</pre>" in parts["To resume it"].html
    assert "<button" not in " ".join(part.html for part in parts.values())
    assert "running" not in parts


def test_silence_is_said(live: LiveStudy) -> None:
    shown = Shown(live)
    assert "Nothing has come since" not in shown.text()
    said = shown.text(quiet_since=1e9)
    assert re.search(r"Nothing has come since \d\d:\d\d:\d\d: an epoch takes that long", said)


def test_only_what_has_changed_is_made_again(live: LiveStudy) -> None:
    live.finish("0000", 0.5, 0.6)
    live.finish("0001", 0.7)
    live.train("0002", 0.1)
    shown = Shown(live)
    before = shown.parts()
    again = shown.parts()
    live.train("0002", 0.1, 0.2)
    epoch = shown.parts()
    live.finish("0003", 0.3)
    end = shown.parts()
    kept = ("Learning curves", "How the search went", "The best trials", "What was searched")
    for now, same in ((again, kept), (epoch, kept[1:]), (end, ())):
        assert tuple(key for key in kept if now[key] is before[key]) == same


def test_curves_of_trials_that_run_are_drawn_to_where_they_are(live: LiveStudy) -> None:
    live.finish("0000", 0.5, 0.6)
    live.train("0001", 0.1, 0.2, 0.3)
    live.train("0002")
    traces = Shown(live).parts()["Learning curves"].figures["curves"]["data"]
    assert [(trace["name"], trace["y"]) for trace in traces] == [
        ("trial 0000", [0.5, 0.6]),
        ("unfinished", [0.1, 0.2, 0.3]),
    ]
    assert traces[1]["text"] == ["", "", "0001"]


def test_names_of_users_are_text_and_nothing_else(client: mlflow.MlflowClient) -> None:
    live = LiveStudy(client, NASTY)
    live.train("0000", 0.5, optimizer=NASTY)
    live.train("0001")
    live.fail("0001", NASTY)
    parts = Shown(live).parts("interrupted", command=NASTY) | Shown(live).parts()
    html = " ".join(part.html for part in parts.values())
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 4
