"""Standard input, output and error as every process of ours can rely on them.

A service may start a command with one of them closed, and the next file that is opened takes
its number: the output of a library would be written into it. While a study runs, a terminal may
be closed or a pipe into `head` may end: further output is then lost, but not the study.
"""

import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO)
"""Errors of writing to a pipe whose reader has gone, and to a closed terminal."""


def mend() -> None:
    """Open closed streams, and make writing to the others never fail for lack of a reader."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        _open_if_closed(descriptor)
        stream = getattr(sys, name)
        if descriptor == 0:
            sys.stdin = stream or io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")
        elif stream is None or descriptor_of(stream) == descriptor:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
            setattr(sys, name, outlet(descriptor, stream))


def descriptor_of(stream: Any) -> int | None:
    """Return a stream's file descriptor; None if it has none, as in a notebook.

    Args:
        stream: Any object that may stand in place of `sys.stderr`, including None.
    """
    try:
        return int(stream.fileno())
    except (AttributeError, TypeError, ValueError, OSError):
        return None


def outlet(descriptor: int, like: Any) -> TextIO:
    """Return a text stream that drops output that nobody can read any more.

    Args:
        descriptor: File descriptor that it writes to; stays open when the stream is closed.
        like: A stream whose encoding it takes; may be None.
    """
    raw: Any = _Outlet(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors=getattr(like, "errors", None) or "backslashreplace",
        line_buffering=getattr(like, "line_buffering", True) or raw.isatty(),
    )


def _open_if_closed(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


class _Outlet(io.FileIO):
    """Drops output that nobody can read any more."""

    def write(self, data: Any, /) -> int:
        """Write bytes, and return how many were written."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return memoryview(data).nbytes
