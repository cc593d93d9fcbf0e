"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP), so that none is lost.

Python raises `KeyboardInterrupt` wherever the main thread happens to be. Inside a destructor or
a callback from C++ it is printed and forgotten, and a search would go on; so the request is
also remembered, and `check` raises it again at the next batch.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command, with exit status 130 and a word on how to resume."""

_requested = False
_is_deferring = False
_is_due = False


def install() -> None:
    """Make SIGTERM and SIGHUP end a command as Ctrl-C does, and remember each of them."""
    for number in SIGNALS:
        # A shell starts background jobs with Ctrl-C ignored, and nohup a command with SIGHUP
        # ignored; both mean it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _request)
    sys.unraisablehook = _report_unless_requested


def check() -> None:
    """Raise KeyboardInterrupt if one has been asked for."""
    if _requested:
        raise KeyboardInterrupt


def is_cause_of(error: BaseException) -> bool:
    """Whether an error is an interrupt in disguise.

    One that arrives while a module written in C is imported becomes an ImportError.
    """
    cause = error.__cause__
    return cause is not None and (isinstance(cause, KeyboardInterrupt) or is_cause_of(cause))


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let a call run to its end, and raise an interrupt that came meanwhile only then.

    For what must not be left in the middle: of a statement that is broken off, SQLite's lock
    would stay with this very process for as long as the exception lives.
    """
    global _is_deferring, _is_due
    if _is_deferring or threading.current_thread() is not threading.main_thread():
        yield
        return
    _is_deferring = True
    try:
        yield
    finally:
        _is_deferring = False
        if _is_due:
            _is_due = False
            raise KeyboardInterrupt


def _report_unless_requested(unraisable: Any) -> None:
    # What Python swallowed is raised again by `check`: no need to print a traceback.
    if not (_requested and isinstance(unraisable.exc_value, KeyboardInterrupt)):
        sys.__unraisablehook__(unraisable)


def _request(signum: int, frame: FrameType | None) -> None:
    global _requested, _is_due
    _requested = True
    if _is_deferring:
        _is_due = True
        return
    raise KeyboardInterrupt
