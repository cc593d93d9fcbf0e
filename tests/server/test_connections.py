"""Connections that send little, or never read, are cut off; others are answered meanwhile."""

import contextlib
import time

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from support.pages import HEAD, LOCAL, count, is_cut_off, served
from tuner.server.guard import Guard, Limits

SHORT = Limits(10_000, 50_000, head_seconds=0.3, body_seconds=0.3, connections=20)
LONG = Limits(10_000, 50_000, head_seconds=600, body_seconds=600, connections=20)
WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"P",
        b"POST / HTTP/1.1\r\nHost: loc",
        HEAD,
        WHOLE + b"G",
        WHOLE + WHOLE + HEAD,
        HEAD + b"Content-Length: 5\r\n\r\nab",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_connection_that_sends_no_whole_request_is_cut_off(sent: bytes) -> None:
    with served(Guard(count, LOCAL, SHORT)) as page:
        assert is_cut_off(page.open(sent))
        assert page.ask().status == 200


def test_connection_that_sends_a_byte_now_and_then_is_cut_off() -> None:
    with served(Guard(count, LOCAL, SHORT)) as page:
        connection = page.open(b"GET / HTTP/1.1\r\nX-Slow: ")
        connection.settimeout(0.05)
        with contextlib.suppress(ConnectionError):
            while True:
                connection.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(1):
                        break
        assert page.ask().status == 200


def test_connections_that_hold_all_the_room_give_way() -> None:
    with served(Guard(count, LOCAL, LONG)) as page:
        halves = (b"", b"GET / HT", HEAD + b"Content-Length: 5\r\n\r\nab")
        held = [page.open(halves[i % 3]) for i in range(300)]
        # The newest are kept, and every request is answered.
        assert page.ask().status == 200
        assert all(is_cut_off(connection) for connection in held[:270])
        held[-1].sendall(b"cde")
        assert b" 200 " in held[-1].makefile("rb").readline()


def test_connection_of_tiny_chunks_is_cut_off() -> None:
    with served(Guard(count, LOCAL, LONG)) as page:
        connection = page.open(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"1;" + 1000 * b"x" + b"\r\nx\r\n")
        assert is_cut_off(connection)


def test_connection_that_reads_a_long_answer_slowly_gets_all_of_it() -> None:
    async def long(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(20_000_000 * "x")(scope, receive, send)

    limits = Limits(1000, 1000, head_seconds=0.1, body_seconds=600)
    with served(Guard(long, LOCAL, limits)) as page:
        connection = page.open(WHOLE)
        assert connection.recv(1)
        # Longer than it may wait for the head of another request.
        time.sleep(0.5)
        num_bytes = 1
        while part := connection.recv(2**20):
            num_bytes += len(part)
        assert num_bytes > 20_000_000


def test_connection_that_reads_no_answer_is_cut_off() -> None:
    with served(Guard(count, LOCAL, SHORT)) as page:
        connection = page.open()
        connection.settimeout(30)
        # The server stops reading too, since its answers wait to be read.
        with pytest.raises(ConnectionError):
            connection.sendall(1_000_000 * WHOLE)
