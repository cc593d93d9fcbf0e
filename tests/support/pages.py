"""Pages served for tests: a real uvicorn on a free port, and requests that no browser sends."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tuner.server import addresses
from tuner.server.guard import Guard, Limits
from tuner.server.running import make_server

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
LIMITS = Limits(max_bytes=100_000, held_bytes=250_000)


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Served:
    """A page that is being served.

    Attributes:
        port: Of 127.0.0.1.
        token: What its addresses begin with.
    """

    port: int
    opened: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str = "GET",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Answer:
        """Send one request, and return the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            got = connection.getresponse()
            return Answer(got.status, dict(got.getheaders()), got.read())

    def open(self, *parts: bytes) -> socket.socket:
        """Open a connection, send this and leave it open."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.opened.append(connection)
        for part in parts:
            connection.sendall(part)
        return connection

    def status_of(self, *parts: bytes) -> int:
        """Send bytes as they are, and return the status of the answer."""
        answered = self.open(*parts).makefile("rb").readline()
        return int(answered.split()[1])


def is_cut_off(connection: socket.socket) -> bool:
    """Wait until the server has closed a connection, and say whether it did."""
    try:
        while connection.recv(2**16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


HEAD = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


@contextlib.contextmanager
def served(page: Guard) -> Iterator[Served]:
    """Serve a page in a thread."""
    listener = addresses.listen("127.0.0.1", 0)
    server = make_server(page)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    shown = Served(listener.getsockname()[1])
    try:
        yield shown
    finally:
        for connection in shown.opened:
            connection.close()
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the path and the size of the body."""
    request = Request(scope, receive)
    if request.url.path.endswith("/fault"):
        raise RuntimeError("a fault of ours")
    text = f"{scope['path']} {scope['root_path']} {len(await request.body())}"
    await PlainTextResponse(text)(scope, receive, send)
