"""Passes log records of child processes and actors to the driver's screen and `tune.log`."""

import logging
import logging.handlers
from collections.abc import Callable

Send = Callable[[logging.LogRecord], None]


def log_to(send: Send, level: int = logging.INFO) -> None:
    """Send Glassy's log records in this process to the driver.

    Args:
        send: Called with each record, which is ready to be pickled.
        level: Lowest level that is sent.
    """
    ours = logging.getLogger("tuner")
    ours.setLevel(level)
    ours.addHandler(_Sender(send))


class _Sender(logging.handlers.QueueHandler):
    """Makes records ready to be pickled, with their arguments in the text, and sends them."""

    def __init__(self, send: Send) -> None:
        # QueueHandler accepts any queue, since only `enqueue` uses it.
        super().__init__(None)  # type: ignore[arg-type]
        self._send = send

    def enqueue(self, record: logging.LogRecord) -> None:
        self._send(record)


class Relay:
    """The driver's end: logs the records of all workers, but each message only once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, record: logging.LogRecord) -> None:
        """Log a worker's record, unless its message has been logged before."""
        if record.getMessage() not in self._said:
            self._said.add(record.getMessage())
            logging.getLogger(record.name).handle(record)
