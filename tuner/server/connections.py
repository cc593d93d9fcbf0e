"""Limits how long connections stay open, and how many.

uvicorn waits without limit for the head of a request, and its limit of connections only counts
those that have sent one. Until then no application is called, so the limits must be here.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from tuner.server.guard import Limits

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def connection_class(limits: Limits) -> type[H11Protocol]:
    """Return the class of connections that keep these limits, for uvicorn."""
    return type("LimitedConnection", (_Connection,), {"limits": limits})


class _Connection(H11Protocol):
    """One visitor's connection."""

    limits: ClassVar[Limits]
    _deadline: asyncio.TimerHandle | None = None
    _reading_deadline: asyncio.TimerHandle | None = None
    _idle_since: float = 0
    _num_bytes: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; if there are too many, drop the one that is idle longest."""
        if len(self.connections) >= self.limits.connections and not self._make_room():
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take received data; once a request's head is complete, the guard takes over."""
        if self not in self.connections:
            return
        self._num_bytes += len(data)
        # A body of tiny chunks is many times longer than its content, and costs as much work.
        # Data sent in spite of a refusal is read by the guard for a moment.
        is_refused = self._is_answering and self.cycle.response_started
        if self._num_bytes > 2 * self.limits.max_bytes + 2**16 and not is_refused:
            self._abort()
            return
        super().data_received(data)
        if self._is_answering:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._wait()
        # The next request may already have been received.
        super().on_response_complete()
        if self._is_answering:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        if self._reading_deadline is not None:
            self._reading_deadline.cancel()
        # It is None if there was no room.
        if self.transport is not None:
            super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Limit the time for a visitor who does not read an answer, which uses memory."""
        super().pause_writing()
        self._reading_deadline = self.loop.call_later(self.limits.body_seconds, self._abort)

    def resume_writing(self) -> None:
        """Continue an answer that is being read again."""
        super().resume_writing()
        if self._reading_deadline is not None:
            self._reading_deadline.cancel()
            self._reading_deadline = None
        if not self._is_answering:
            self._wait()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _is_in_arrears(self) -> bool:
        """Whether the visitor still has something to send."""
        return not self._is_answering or self.cycle.more_body

    def _wait(self) -> None:
        self._stop_waiting()
        self._num_bytes = 0
        self._idle_since = self.loop.time()
        self._deadline = self.loop.call_later(self.limits.head_seconds, self._miss_head)

    def _miss_head(self) -> None:
        # A visitor who is still reading the previous answer has more time.
        if self._reading_deadline is None:
            self._abort()

    def _abort(self) -> None:
        # Not `close`, which would wait until the visitor has read the answer.
        self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _make_room(self) -> bool:
        in_arrears = [
            connection
            for connection in self.connections
            if isinstance(connection, _Connection) and connection._is_in_arrears
        ]
        if not in_arrears:
            return False
        oldest = min(in_arrears, key=lambda connection: connection._idle_since)
        oldest._abort()
        # The transport reports only later that the connection is lost.
        self.connections.discard(oldest)
        return True
