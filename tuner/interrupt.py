"""Ctrl-C and SIGTERM, so that neither is lost.

Python raises `KeyboardInterrupt` wherever the main thread happens to be. Inside a destructor or
a callback from C++ it is printed and forgotten, and a search would go on; so the request is
also remembered, and `check` raises it again at the next batch.
"""

import signal
from types import FrameType

_requested = False


def install() -> None:
    """Make SIGTERM end a command as Ctrl-C does, and remember either."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # A shell starts background jobs with Ctrl-C ignored, and means it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _request)


def check() -> None:
    """Raise KeyboardInterrupt if one has been asked for."""
    if _requested:
        raise KeyboardInterrupt


def _request(signum: int, frame: FrameType | None) -> None:
    global _requested
    _requested = True
    raise KeyboardInterrupt
