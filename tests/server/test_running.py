"""Nothing that a visitor sends keeps a page from ending: processes that get real signals."""

import contextlib
import signal
import socket
import subprocess
import sys

import pytest

from support.pages import HEAD, LIMITS, LOCAL, Served, count, is_cut_off, served
from tuner.server.guard import Guard

PAGE = """
import signal, sys, threading
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from tuner.cli import application as cli
from tuner.runtime import interrupt
from tuner.server import addresses, running
from tuner.server.guard import Guard, Limits
from tuner.server.work import Work

work = Work(threads=1, seconds=600)

async def page(scope, receive, send):
    request = Request(scope, receive)
    body = await request.body()
    if request.method == "POST":
        # A prediction that never ends.
        print("begun", flush=True)
        await work.run(threading.Event().wait)
    if request.url.path == "/stream":
        async def endless():
            while True:
                yield bytes(2**20)
        await StreamingResponse(endless())(scope, receive, send)
    await PlainTextResponse("here")(scope, receive, send)

# Even if the shell that runs the tests ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupt.install()
listener = addresses.listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
hosts = addresses.hosts("127.0.0.1", listener)
try:
    running.serve(Guard(page, hosts, Limits(1000, 1000)), listener)
except KeyboardInterrupt:
    pass
finally:
    work.end(cli.INTERRUPTED, seconds=0.1)
sys.exit(cli.INTERRUPTED)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_whatever_visitors_do(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PAGE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    page = Served(int(process.stdout.readline()))
    # Some are refused for lack of room; each is a visitor who never sends the rest.
    for i in range(300):
        with contextlib.suppress(ConnectionError):
            page.open(b"", (b"GET / HT", HEAD + b"Content-Length: 9\r\n\r\nab", b"")[i % 3])
    # Visitors who ask for more than they read.
    page.open(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    page.open(HEAD + b"Content-Length: 1\r\n\r\nx")
    assert process.stdout.readline() == "begun\n"
    assert page.ask().body == b"here"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    for connection in page.opened:
        connection.close()


def test_server_answers_beside_connections_that_are_broken_off() -> None:
    with served(Guard(count, LOCAL, LIMITS)) as page:
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", HEAD):
            connection = page.open(sent)
            # Closed with a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        assert page.ask().status == 200


def test_server_closes_what_is_open_when_it_ends() -> None:
    with served(Guard(count, LOCAL, LIMITS)) as page:
        connection = page.open(b"GET / HT")
        page.opened.clear()
    assert is_cut_off(connection)
    connection.close()
