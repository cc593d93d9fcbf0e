"""What a person sees while a study runs: lines, and below them a view that changes.

The same study is shown on a terminal, in a pipe, in a notebook, or by another process that has
started it: each is a `Screen`.
"""

import abc
import io
import threading
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from tuner.runtime import terminal

View = Callable[[], RenderableType]
"""Returns what is drawn at this moment; it may be called in another thread."""

REFRESHES = 4
"""How many times per second a terminal is drawn again."""

_RELAY_SECONDS = 0.5
_WIDTH = 110
_STYLE = "white-space:pre;line-height:1.3;font-family:monospace;margin:0;overflow-x:auto"


class Screen(abc.ABC):
    """Shows lines, and a view below them. To write one, implement both methods."""

    @abc.abstractmethod
    def say(self, line: str, style: str | None = None) -> None:
        """Print a line as it is, above the view.

        Args:
            line: The text; it may hold line breaks.
            style: A style of rich, such as `yellow`; None for none.
        """

    @abc.abstractmethod
    def show(self, view: View | None) -> None:
        """Show a view in place of the one before, until the next call; None shows none."""


class ConsoleScreen(Screen):
    """A terminal, or a file or a pipe, which gets the lines alone.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._view: View | None = None
        self._live: Live | None = None

    def say(self, line: str, style: str | None = None) -> None:
        """See `Screen.say`."""
        self._console.print(line, style=style, markup=False, highlight=False, emoji=False)

    def show(self, view: View | None) -> None:
        """See `Screen.show`."""
        if not self._console.is_terminal:
            return
        self._view = view
        if view is None:
            if self._live is not None:
                self._live.stop()
                self._live = None
        elif self._live is None:
            self._live = Live(
                console=self._console,
                get_renderable=self._drawn,
                refresh_per_second=REFRESHES,
                transient=True,
            )
            self._live.start(refresh=True)
        else:
            self._live.refresh()

    def _drawn(self) -> RenderableType:
        return "" if self._view is None else self._view()


class NotebookScreen(Screen):
    """The output of a notebook's cell: rich alone would need a package of widgets for it."""

    def __init__(self) -> None:
        self._handle: Any = None

    def say(self, line: str, style: str | None = None) -> None:
        """See `Screen.say`."""
        print(line)

    def show(self, view: View | None) -> None:
        """See `Screen.show`; the view is drawn once, and again at the next call."""
        from IPython.display import HTML, display

        if view is None and self._handle is None:
            return
        drawn = HTML("" if view is None else as_html(view()))  # type: ignore[no-untyped-call]
        if self._handle is None:
            self._handle = display(drawn, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(drawn)


class RelayedScreen(Screen):
    """A screen in another process, which is sent the lines and what is drawn.

    Args:
        send: Sends a pair, `("say", (line, style))` or `("show", what is drawn or None)`; it is
            called from several threads.
    """

    def __init__(self, send: Callable[[tuple[str, Any]], None]) -> None:
        self._send = send
        self._view: View | None = None
        self._changed = threading.Event()
        # So that nothing is sent of a view that is shown no more.
        self._lock = threading.Lock()
        threading.Thread(target=self._repeat, daemon=True, name="glassy-screen").start()

    def say(self, line: str, style: str | None = None) -> None:
        """See `Screen.say`."""
        self._send(("say", (line, style)))

    def show(self, view: View | None) -> None:
        """See `Screen.show`."""
        with self._lock:
            self._view = view
            if view is None:
                self._send(("show", None))
        self._changed.set()

    def _repeat(self) -> None:
        while True:
            self._changed.wait(None if self._view is None else _RELAY_SECONDS)
            self._changed.clear()
            with self._lock:
                if self._view is not None:
                    self._send(("show", self._view()))


def own_screen() -> Screen:
    """Return the screen of this process: the notebook's cell, or standard output."""
    console = terminal.console(soft_wrap=True)
    return NotebookScreen() if console.is_jupyter else ConsoleScreen(console)


def as_html(drawn: RenderableType) -> str:
    """Return what rich would draw as HTML without a background, for light and dark pages."""
    console = Console(
        record=True, file=io.StringIO(), width=_WIDTH, force_terminal=True, force_jupyter=False,
        color_system="truecolor", highlight=False,
    )  # fmt: skip
    console.print(drawn)
    form = f'<div style="{_STYLE}">{{code}}</div>'
    return console.export_html(inline_styles=True, code_format=form).rstrip()
