"""The page that shows a study while it runs: its answers, and its looks in a real Chromium."""

import contextlib
import http.client
import json
import os
from collections.abc import Iterator
from typing import Any

import mlflow
import pytest

from support.live import LiveStudy, soon
from support.pages import LOCAL, Served, served
from support.visits import Visit
from tuner.reports.page import Part
from tuner.server import watch, watched
from tuner.server.guard import Guard, Limits
from tuner.server.watched import View, Watched
from tuner.server.work import Work
from tuner.tracking import history

slow = pytest.mark.slow

TOKEN = "secret"


# What a visitor is told


@pytest.mark.parametrize(
    ("shown", "view", "news"),
    [
        (View("a"), View("a"), None),
        (None, View("a"), {"title": "a", "notice": "", "parts": [], "figures": {}}),
        (
            View("a", parts=[Part("k", "x", {"f": {"v": 1}})]),
            View("b", "n", [Part("k", "x", {"f": {"v": 1}})]),
            {"title": "b", "notice": "n", "parts": [["k", None]], "figures": {}},
        ),
        (
            View("a", parts=[Part("k", "x", {"f": {"v": 1}, "g": {"v": 1}})]),
            View("a", parts=[Part("k", "x", {"f": {"v": 2}, "g": {"v": 1}})]),
            {"title": "a", "notice": "", "parts": [["k", None]], "figures": {"f": {"v": 2}}},
        ),
        (
            # New HTML takes the place of what its charts were drawn in.
            View("a", parts=[Part("k", "x", {"f": {"v": 1}}), Part("gone", "y")]),
            View("a", parts=[Part("new", "z"), Part("k", "w", {"f": {"v": 1}})]),
            {
                "title": "a",
                "notice": "",
                "parts": [["new", "z"], ["k", "w"]],
                "figures": {"f": {"v": 1}},
            },
        ),
    ],
)
def test_changes_are_what_a_visitor_does_not_have(
    shown: View | None, view: View, news: dict[str, Any] | None
) -> None:
    assert watched.changes(shown, view) == news


@pytest.fixture
def live(client: mlflow.MlflowClient) -> LiveStudy:
    """A study with two finished trials and two that run."""
    made = LiveStudy(client)
    made.finish("0000", 0.5, 0.6, units_1=8)
    made.finish("0001", 0.7, 0.8)
    made.train("0002", 0.1)
    made.train("0003")
    return made


@pytest.fixture
def page(live: LiveStudy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    for name in ("PAUSE", "REST"):
        monkeypatch.setattr(watched, name, 0.05)
    work = Work()
    application = watch.application(Watched(live.client, live.run, work))
    with served(Guard(application, LOCAL, Limits(1000, 10_000), TOKEN)) as shown:
        yield shown
    work.end(1)


class Listener:
    """A visitor who puts together what the server tells."""

    def __init__(self, page: Served) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
        self.connection.request("GET", f"/{TOKEN}/events")
        self.answer = self.connection.getresponse()
        assert self.answer.getheader("content-type") == "text/event-stream; charset=utf-8"
        self.title = self.notice = ""
        self.parts: dict[str, str] = {}
        self.figures: dict[str, Any] = {}

    def hear(self) -> None:
        """Wait for the next message."""
        line = self.answer.readline()
        assert self.answer.readline() == b"\n"
        news = json.loads(line.removeprefix(b"data: "))
        self.title, self.notice = news["title"], news["notice"]
        self.parts = {
            key: self.parts[key] if html is None else html for key, html in news["parts"]
        }
        self.figures |= news["figures"]

    def hear_until(self, text: str) -> None:
        """Wait until the page says something."""
        while text not in " ".join([self.notice, self.title, *self.parts.values()]):
            self.hear()


@pytest.fixture
def listener(page: Served) -> Iterator[Listener]:
    made = Listener(page)
    with contextlib.closing(made.connection):
        yield made


def test_visitor_is_told_what_changes(live: LiveStudy, listener: Listener) -> None:
    listener.hear_until("2 of 20: study first")
    listener.hear_until("1 of 4 epochs, val_accuracy 0.1000")
    assert "history" in listener.figures
    live.train("0003", 0.2)
    listener.hear_until("1 of 4 epochs, val_accuracy 0.2000")
    growing = [trace["text"][-1] for trace in listener.figures["curves"]["data"][-2:]]
    assert growing == ["0002", "0003"]
    live.finish("0003", 0.2, 0.9)
    listener.hear_until("3 of 20: study first")
    assert "0.9000" in listener.parts["cards"]
    assert "0003" not in listener.parts["running"]


def test_every_visitor_is_told_everything(page: Served, listener: Listener) -> None:
    listener.hear_until("2 of 20")
    other = Listener(page)
    with contextlib.closing(other.connection):
        other.hear_until("2 of 20")
        assert other.parts == listener.parts
        assert other.figures == listener.figures


def test_page_becomes_the_report_and_lives_again(live: LiveStudy, listener: Listener) -> None:
    listener.hear_until("2 of 20")
    live.finish("0002", 0.1)
    live.finish("0003", 0.2)
    live.tracker.close_study("FINISHED")
    listener.hear_until("Its report is being made")
    listener.hear_until("To reproduce it")
    assert listener.title == "Study first"
    assert listener.notice == ""
    assert "finished." in listener.parts["head"]
    assert "<button" not in " ".join(listener.parts.values())
    assert {"history", "curves", "coordinates", "slice-0"} <= listener.figures.keys()
    # The same command with a larger budget.
    live.open()
    live.train("0004")
    listener.hear_until("4 of 20: study first")
    assert "Stop trial 0004" in listener.parts["running"]


@pytest.mark.parametrize(
    ("status", "says"), [("KILLED", "interrupted."), ("FAILED", "ended by an error.")]
)
def test_page_says_how_to_resume(
    live: LiveStudy, listener: Listener, status: str, says: str
) -> None:
    listener.hear_until("2 of 20")
    live.tracker.close_study(status)
    listener.hear_until(says)
    assert "-m tuner.search study=first" in listener.parts["To resume it"]
    live.open()
    listener.hear_until("running.")
    assert "To resume it" not in listener.parts


def test_page_says_that_the_study_was_deleted(live: LiveStudy, listener: Listener) -> None:
    listener.hear_until("2 of 20")
    live.client.delete_run(live.tracker.run_id)
    listener.hear_until("The run of study first was deleted in MLflow")
    assert history.restore(live.tracker.run_id) in listener.notice
    # What was read is still there.
    assert "history" in listener.figures
    live.open()
    listener.hear_until("2 of 20")
    while listener.notice:
        listener.hear()


def test_page_says_that_the_store_does_not_answer(listener: Listener) -> None:
    listener.hear_until("2 of 20")
    os.rename("mlflow.db", "away.db")
    listener.hear_until("The study cannot be read at present: The tracking store")
    os.rename("away.db", "mlflow.db")
    while listener.notice:
        listener.hear()


# What a visitor may ask


def ask(page: Served, asked: Any, kind: str = "application/json") -> tuple[int, str]:
    answer = page.ask("POST", f"/{TOKEN}/stop", {"Content-Type": kind}, json.dumps(asked))
    [(_, said)] = json.loads(answer.body).items()
    return answer.status, said


@pytest.mark.parametrize(
    ("asked", "trial", "tag", "says"),
    [
        ({"trial": "0002"}, "0002", "true", "Trial 0002 of study first was asked to end after"),
        ({"study": "true"}, None, "true", "Trials 0002, 0003 will end after their last epoch"),
        ({"study": "now"}, None, "now", "will end after the epoch under way"),
    ],
)
def test_request_to_stop_becomes_a_tag(
    live: LiveStudy, page: Served, asked: dict[str, str], trial: str | None, tag: str, says: str
) -> None:
    status, said = ask(page, asked)
    assert status == 200
    assert says in said
    assert live.stop_tag(trial) == tag
    others = {None, "0000", "0002", "0003"} - {trial}
    assert [live.stop_tag(other) for other in others] == [None] * len(others)


def test_request_that_cannot_be_met_is_refused(live: LiveStudy, page: Served) -> None:
    for asked, kind, status, says in (
        ({"trial": "0000"}, "application/json", 409, "Trial 0000 of study first has ended"),
        ({"trial": "0009"}, "application/json", 409, "Study first has begun no trial 0009"),
        ({"trial": "x"}, "application/json", 422, 'Send {"trial": "0007"}'),
        ({"trial": 2}, "application/json", 422, 'Send {"trial": "0007"}'),
        ({"study": "maybe"}, "application/json", 422, 'Send {"trial": "0007"}'),
        ({"study": "now", "trial": "0002"}, "application/json", 422, "Send"),
        ([], "application/json", 422, "Send"),
        ({"study": "now"}, "text/plain", 415, "Content-Type: application/json"),
    ):
        answered, said = ask(page, asked, kind)
        assert (answered, says in said) == (status, True), said
    assert [live.stop_tag(trial) for trial in (None, "0000", "0002")] == [None] * 3


@pytest.mark.parametrize(
    ("status", "says"),
    [("FINISHED", "Study first is finished"), ("KILLED", "Nobody runs study first now")],
)
def test_study_that_does_not_run_cannot_be_stopped(
    live: LiveStudy, page: Served, status: str, says: str
) -> None:
    live.tracker.close_study(status)
    answered, said = ask(page, {"study": "now"})
    assert (answered, says in said) == (409, True), said


def test_run_that_was_deleted_cannot_be_stopped(live: LiveStudy, page: Served) -> None:
    live.client.delete_run(live.tracker.run_id)
    answered, said = ask(page, {"study": "now"})
    assert (answered, "The tracking store refused" in said) == (502, True), said


def test_page_is_for_this_machine_and_this_token(page: Served) -> None:
    for path, headers, status in (
        ("/", {}, 403),
        ("/events", {}, 403),
        ("/wrong/", {}, 403),
        ("/wrong/events", {}, 403),
        (f"/{TOKEN}/events", {"Host": "evil.example"}, 421),
        (f"/{TOKEN}/events", {"Origin": "http://evil.example"}, 403),
        (f"/{TOKEN}/", {}, 200),
        (f"/{TOKEN}/plotly.js", {}, 200),
        (f"/{TOKEN}/charts.js", {}, 200),
        (f"/{TOKEN}/unknown", {}, 404),
    ):
        assert page.ask(path=path, headers=headers).status == status, path
    assert b"Use the whole printed address" in page.ask(path="/wrong/").body


def test_other_sites_cannot_stop_anything(live: LiveStudy, page: Served) -> None:
    for header in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        headers = {"Content-Type": "application/json", **header}
        answer = page.ask("POST", f"/{TOKEN}/stop", headers, '{"study": "now"}')
        assert answer.status == 403
    assert live.stop_tag() is None


# In a browser


def visit(browser: Any, page: Served, **options: Any) -> Visit:
    made = Visit(browser, f"{page.url}/{TOKEN}/", "#running", **options)
    made.page.wait_for_function("document.documentElement.dataset.drawn")
    return made


def num_points(visit: Visit) -> int:
    """Return how many points of learning curves are drawn."""
    return int(visit.page.locator("#curves .point").count())


@slow
def test_curves_grow_while_one_looks(live: LiveStudy, page: Served, browser: Any) -> None:
    seen = visit(browser, page)
    assert seen.page.title() == "2 of 20: study first | Glassy"
    assert num_points(seen) == 5
    # Only what has changed is replaced: charts stay, and what a reader has zoomed to.
    seen.page.evaluate("document.getElementById('curves').mine = true")
    seen.page.evaluate("Plotly.relayout('curves', {'xaxis.range': [0, 3]})")
    live.train("0002", 0.1, 0.2, 0.3)
    soon(lambda: num_points(seen) == 7)
    live.finish("0003", 0.4)
    seen.page.get_by_text("3 of 20").wait_for()
    assert seen.page.evaluate("document.getElementById('curves').mine")
    assert seen.page.evaluate("document.getElementById('curves').layout.xaxis.range") == [0, 3]
    assert seen.hosts == {"127.0.0.1"}
    assert seen.faults == []
    seen.page.close()


@slow
@pytest.mark.parametrize("accepts", [True, False])
def test_button_stops_a_trial_once_that_is_confirmed(
    live: LiveStudy, page: Served, browser: Any, accepts: bool
) -> None:
    seen = visit(browser, page)
    asked: list[str] = []

    def answer(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.accept() if accepts else dialog.dismiss()

    seen.page.on("dialog", answer)
    # With the keyboard alone.
    seen.page.get_by_role("button", name="Stop trial 0002").focus()
    seen.page.keyboard.press("Enter")
    if accepts:
        seen.page.get_by_text("1 of 4 epochs, asked to stop").wait_for()
        assert live.stop_tag("0002") == "true"
        # The button is gone; the keyboard is where it was.
        assert seen.page.evaluate("document.activeElement.id") == "running"
        assert seen.page.get_by_role("button", name="Stop trial 0002").count() == 0
    assert [question.partition("?")[0] for question in asked] == ["Stop trial 0002"]
    assert live.stop_tag("0002") == ("true" if accepts else None)
    assert live.stop_tag("0003") is None
    assert seen.faults == []
    seen.page.close()


@slow
def test_buttons_end_the_study(live: LiveStudy, page: Served, browser: Any) -> None:
    seen = visit(browser, page)
    seen.page.on("dialog", lambda dialog: dialog.accept())
    seen.page.get_by_role("button", name="Finish").click()
    seen.page.get_by_text("no more trials start").wait_for()
    assert live.stop_tag() == "true"
    seen.page.get_by_role("button", name="Stop now").click()
    seen.page.get_by_text("trials end after the epoch under way").wait_for()
    assert live.stop_tag() == "now"
    assert seen.page.get_by_role("button").count() == 0
    live.finish("0002", 0.1)
    live.finish("0003", 0.2)
    live.tracker.close_study("FINISHED")
    seen.page.get_by_role("heading", name="To reproduce it").wait_for()
    seen.page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length >= 4")
    assert seen.page.title() == "Study first | Glassy"
    assert seen.faults == []
    seen.page.close()


@slow
def test_request_that_comes_too_late_is_said(
    live: LiveStudy, page: Served, browser: Any
) -> None:
    seen = visit(browser, page)

    def end(dialog: Any) -> None:
        live.finish("0002", 0.1)
        dialog.accept()

    seen.page.on("dialog", end)
    seen.page.get_by_role("button", name="Stop trial 0002").click()
    alert = seen.page.get_by_role("alert")
    alert.get_by_text("Trial 0002 of study first has ended").wait_for()
    seen.page.close()


@slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_on_a_phone_by_day_and_by_night(
    page: Served, browser: Any, scheme: str
) -> None:
    phone = {"width": 390, "height": 844}
    seen = visit(browser, page, viewport=phone, color_scheme=scheme)
    assert seen.page.evaluate("document.documentElement.scrollWidth") == 390
    assert seen.page.evaluate("document.documentElement.dataset.drawn") == scheme
    background = seen.page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert background == {"light": "rgb(246, 247, 249)", "dark": "rgb(20, 23, 28)"}[scheme]
    for button in seen.page.get_by_role("button").all():
        box = button.bounding_box()
        assert box["height"] >= 40
        assert box["x"] + box["width"] <= 390
    # All that is shown as a picture is said, too.
    for role, name in (
        ("img", "Learning curves, epoch"),
        ("progressbar", "Trial 0002, epochs"),
    ):
        assert seen.page.get_by_role(role, name=name).count() == 1
    assert seen.faults == []
    seen.page.close()


@slow
def test_page_says_that_its_program_has_ended(live: LiveStudy, browser: Any) -> None:
    work = Work()
    application = watch.application(Watched(live.client, live.run, work))
    with served(Guard(application, LOCAL, Limits(1000, 10_000), TOKEN)) as page:
        seen = visit(browser, page)
    seen.page.get_by_role("alert").get_by_text("does not answer: it has ended").wait_for()
    # What was shown stays.
    assert num_points(seen) == 5
    seen.page.close()
    work.end(1)
