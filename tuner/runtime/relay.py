"""What child processes and actors log, said by the driver: on the screen and in `tune.log`."""

import logging
import logging.handlers
from collections.abc import Callable

Send = Callable[[logging.LogRecord], None]


def log_to(send: Send, level: int = logging.INFO) -> None:
    """Send what Glassy logs in this process to the driver.

    Args:
        send: Called with each record, which is ready to cross by pickle.
        level: The least that is sent.
    """
    ours = logging.getLogger("tuner")
    ours.setLevel(level)
    ours.addHandler(_Sender(send))


class _Sender(logging.handlers.QueueHandler):
    """Makes records ready to cross, their arguments part of the text, and sends them."""

    def __init__(self, send: Send) -> None:
        # To QueueHandler a queue may be anything: what is done with it is in `enqueue`.
        super().__init__(None)  # type: ignore[arg-type]
        self._send = send

    def enqueue(self, record: logging.LogRecord) -> None:
        self._send(record)


class Relay:
    """The driver's end: says what several workers have logged, but the same thing once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, record: logging.LogRecord) -> None:
        """Log a worker's record, unless another worker's said the same."""
        if record.getMessage() not in self._said:
            self._said.add(record.getMessage())
            logging.getLogger(record.name).handle(record)
