"""Handles Ctrl-C, SIGTERM and a closed terminal (SIGHUP), so that none is lost.

Python raises `KeyboardInterrupt` wherever the main thread happens to be. Inside a destructor or
a callback from C++ it is printed and forgotten, and a search would continue; so the request is
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
"""Signals that end a command, with exit status 130 and the command to resume."""

_requested = False
_is_deferring = False
_is_due = False


def install() -> None:
    """Make SIGTERM and SIGHUP end a command as Ctrl-C does, and remember each of them."""
    for number in SIGNALS:
        # A shell starts background jobs with Ctrl-C ignored, and nohup ignores SIGHUP; both are
        # intended.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _request)
    sys.unraisablehook = _report_unless_requested


def check() -> None:
    """Raise KeyboardInterrupt if an interrupt has been requested."""
    if _requested:
        raise KeyboardInterrupt


def is_cause_of(error: BaseException) -> bool:
    """Whether an error is an interrupt in disguise.

    An interrupt that arrives during the import of a C module becomes an ImportError.
    """
    cause = error.__cause__
    return cause is not None and (isinstance(cause, KeyboardInterrupt) or is_cause_of(cause))


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let a call run to its end, and only then raise an interrupt that came meanwhile.

    Used for calls that must not stop midway: SQLite's lock for an interrupted statement would
    stay with this process for as long as the exception lives.
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
