"""`python -m tuner.watch`, as a person uses it: a real search, a real page, a real Chromium."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from support.commands import runs, start
from support.configs import composed
from support.live import LiveStudy, soon
from support.visits import Visit
from tuner import watch
from tuner.config.compose import load_watch
from tuner.errors import ConfigError, StudyError
from tuner.study import stopping

COMMAND = "commands/watch"

LONG = (
    "study=first",
    "executor.workers=2",
    "search=random",
    "search.max_trials=6",
    "space.epochs=20000",
    "space.units=[8,16,24,32,40,48]",
    "space.layers=1",
    "space.batch_size=2",
)
"""A study whose trials would take many minutes."""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("port=70000", "`port` must lie between 0 and 65535, but got 70000."),
        ("study=a/b", "`study`"),
        ("+stdy=x", "Did you mean `study`?"),
        ("+host=0.0.0.0", "`host` is not a key of the configuration."),
    ],
)
def test_load_watch_says_what_is_wrong(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_watch(composed(override, name=COMMAND))
    assert message in str(caught.value)


def test_only_running_is_the_one_that_runs(client: mlflow.MlflowClient) -> None:
    with pytest.raises(ConfigError, match="There is no study in this tracking store"):
        stopping.only_running(client)
    first = LiveStudy(client)
    assert stopping.only_running(client).info.run_id == first.tracker.run_id
    second = LiveStudy(client, "second", "id-2")
    with pytest.raises(StudyError) as caught:
        stopping.only_running(client)
    assert "must say which of 2 running studies is meant" in str(caught.value)
    assert re.search(r"study=id-2  second, started .*\n  study=id-1  first", str(caught.value))
    first.tracker.close_study("FINISHED")
    assert stopping.only_running(client).info.run_id == second.tracker.run_id
    second.tracker.close_study("KILLED")
    with pytest.raises(StudyError, match=r"No study runs now: .* The latest: second\."):
        stopping.only_running(client)


class Watching:
    """The command, running."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuner.watch", *overrides],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(
            r"Study first is shown at (http://127\.0\.0\.1:(\d+)/[\w-]{20,}/) "
            r"\(press Ctrl-C to stop\)\n",
            line,
        )
        assert found, (line, self.process.communicate(timeout=60))
        self.url, self.port = found[1], int(found[2])

    def end(self) -> tuple[int, str]:
        """Press Ctrl-C, and return the exit status and what was said on standard error."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a long search has begun."""
    search = start(tmp_path, *LONG)
    soon(lambda: (tmp_path / "mlflow.db").exists() and runs(tmp_path, "trial"), 240)
    yield tmp_path
    if search.poll() is None:
        search.kill()
    search.communicate(timeout=60)


def epochs_drawn(page: Any) -> int:
    """Return the last epoch that is drawn of any trial."""
    return int(
        page.evaluate(
            "Math.max(...document.getElementById('curves').data.map(trace => trace.x.at(-1)))"
        )
    )


@pytest.fixture
def watching(project: Path) -> Iterator[tuple[Watching, Watching]]:
    """Two watchers of the same study."""
    both = Watching(project), Watching(project, "study=first")
    yield both
    for each in both:
        if each.process.poll() is None:
            each.end()


@pytest.mark.slow
def test_study_is_watched_from_a_trial_that_trains_to_its_report(
    project: Path, watching: tuple[Watching, Watching], browser: Any
) -> None:
    first, second = watching
    assert first.port != second.port
    seen = Visit(browser, first.url, "#running")
    seen.page.on("dialog", lambda dialog: dialog.accept())
    page = seen.page
    # The trials train, and their curves grow.
    page.locator("#curves .point").first.wait_for(timeout=120_000)
    before = epochs_drawn(page)
    soon(lambda: epochs_drawn(page) > before)
    # One is stopped while it trains.
    page.get_by_role("button", name="Stop trial 0000").click()
    page.get_by_text("1 of 6").wait_for(timeout=120_000)
    stopped, *others = runs(project, "trial")
    assert stopped.info.status == "FINISHED"
    assert stopped.data.tags["tuner.stopped"] == "user"
    assert 0 < stopped.data.metrics["epochs_trained"] < 20_000
    assert "test_accuracy" in stopped.data.metrics
    assert [run.info.status for run in others] == ["RUNNING"] * len(others)
    # The study is ended from the other page.
    other = Visit(browser, second.url, "#running")
    other.page.on("dialog", lambda dialog: dialog.accept())
    other.page.get_by_role("button", name="Stop now").click()
    for watched in (seen, other):
        heading = watched.page.get_by_role("heading", name="To reproduce it")
        heading.wait_for(timeout=120_000)
        assert watched.faults == []
        assert watched.hosts == {"127.0.0.1"}
    [study] = runs(project, "study")
    assert study.info.status == "FINISHED"
    # It is what the report says.
    report = Path(project, "experiments", "first", "report.html")
    made = browser.new_page()
    made.goto(report.as_uri())
    for selector in ("h1", ".lead", "h2", ".card .value", "tbody tr"):
        said = made.locator(selector).all_inner_texts()
        assert page.locator(selector).all_inner_texts() == said, selector
    assert first.end() == (130, "")
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    assert second.end() == (130, "")
    for each in (page, other.page, made):
        each.close()


def test_watch_at_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"`port={port}` must be free"):
            watch.main(composed(f"port={port}", name=COMMAND))
