"""Where log messages go: to the study's `tune.log` with timestamps, and to the screen."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tuner import passwords
from tuner.escapes import message
from tuner.runtime import streams
from tuner.runtime.screen import Screen

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class _ScreenHandler(logging.Handler):
    """Prints log messages on the screen, which keeps them clear of its view."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        self._screen.say(passwords.hide(message(self.format(record))), style)


class _Formatter(logging.Formatter):
    """Writes time and level, and no password: tracebacks of libraries quote addresses."""

    def format(self, record: logging.LogRecord) -> str:
        return passwords.hide(super().format(record))


class _FileHandler(logging.FileHandler):
    """Writes log messages to a file, or nothing if there is no room.

    The screen already reports what else cannot be written; a traceback for every line missing
    here would hide that.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logging_to(screen: Screen, log_file: Path) -> Iterator[None]:
    """Send what Glassy logs to the screen and, with timestamps, to a file.

    MLflow's messages only go to the file: it prints whole tracebacks of errors that it also
    raises.

    Args:
        screen: Shows messages from INFO up.
        log_file: File to which all messages are appended.
    """
    to_file = _FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
    to_file.setFormatter(_Formatter(LOG_FORMAT))
    passwords.protect(log_file)
    ours = logging.getLogger("tuner")
    handlers = [to_file, _ScreenHandler(screen)]
    level = ours.level
    ours.setLevel(logging.DEBUG)
    for handler in handlers:
        ours.addHandler(handler)
    theirs = logging.getLogger("mlflow")
    their_handlers = theirs.handlers[:]
    theirs.handlers[:] = [to_file]
    try:
        yield
    finally:
        theirs.handlers[:] = their_handlers
        ours.setLevel(level)
        for handler in handlers:
            ours.removeHandler(handler)
        to_file.close()


@contextlib.contextmanager
def native_noise_to(log_file: Path) -> Iterator[None]:
    """Send what C++ libraries write to standard error to a file; Python's own stays.

    TensorFlow's first lines, written before its log level counts, cannot be turned off.

    Args:
        log_file: File to append to.
    """
    python_stderr = sys.stderr
    # A notebook's stream has no descriptor, and C++ bypasses it.
    is_descriptor = streams.descriptor_of(python_stderr) == 2
    with contextlib.suppress(AttributeError, OSError, ValueError):
        python_stderr.flush()
    screen = os.dup(2)
    with log_file.open("ab") as log:
        os.dup2(log.fileno(), 2)
    if is_descriptor:
        sys.stderr = streams.outlet(screen, python_stderr)
    try:
        yield
    finally:
        if is_descriptor:
            sys.stderr.close()
            sys.stderr = python_stderr
        os.dup2(screen, 2)
        os.close(screen)
