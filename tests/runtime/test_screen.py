"""What a person sees while a study runs, wherever that is."""

import io
import queue
from typing import Any

import pytest
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.runtime.screen import ConsoleScreen, RelayedScreen, as_html


def test_pipe_gets_lines_as_they_are() -> None:
    written = io.StringIO()
    screen = ConsoleScreen(Console(file=written, soft_wrap=True, width=20))
    screen.show(lambda: "a view")
    screen.say("[bold]path[/bold] :smile: " + "x" * 30, "yellow")
    screen.show(None)
    assert written.getvalue() == "[bold]path[/bold] :smile: " + "x" * 30 + "\n"


def test_terminal_draws_the_view_below_the_lines() -> None:
    written = io.StringIO()
    screen = ConsoleScreen(Console(file=written, force_terminal=True, width=40))
    screen.show(lambda: "first view")
    screen.show(lambda: "second view")
    screen.say("a line")
    screen.show(None)
    text = written.getvalue()
    assert text.index("first view") < text.index("second view")
    # It is drawn again below the line.
    assert text.rindex("second view") > text.index("a line")


def test_relayed_screen_sends_lines_and_the_view_until_it_is_over() -> None:
    sent: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    screen = RelayedScreen(sent.put)
    screen.say("a line", "yellow")
    assert sent.get(timeout=10) == ("say", ("a line", "yellow"))
    screen.show(lambda: "a view")
    for _ in range(2):
        assert sent.get(timeout=10) == ("show", "a view")
    screen.show(None)
    news = [sent.get(timeout=10) for _ in range(sent.qsize())]
    assert news[-1] == ("show", None)


@pytest.mark.parametrize("drawn", [Text("a < b", style="bold"), "a < b"])
def test_view_becomes_html_for_light_and_dark_pages(drawn: Any) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_row(drawn, ProgressBar(total=4, completed=2, width=8))
    shown = as_html(table)
    assert "a &lt; b" in shown
    assert "━━━━" in shown
    assert "background" not in shown
    assert shown.startswith("<div style=")
