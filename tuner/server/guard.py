"""What stands between a page and its visitors: who may ask, and how much.

A page on this machine is within reach of every web site that its user visits: the site's
scripts can send requests to 127.0.0.1, and read the answers where a name of the site's own has
been pointed there (DNS rebinding). So a request must name this machine as its host, and must
not come from another site's page. How much it may send, and for how long, is bounded too.
"""

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

LINGER_SECONDS = 2
"""How long what a refused visitor still sends is read and dropped.

A connection that is closed over unread bytes is reset, and the visitor never reads the refusal.
"""

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
        "object-src 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Of every answer. No script, style or picture comes from elsewhere, or is written inline."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/?#\s]+)(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Limits:
    """How much visitors may ask for.

    Attributes:
        max_bytes: Size of a request's body.
        held_bytes: Size of all bodies together that have come, in part or whole, and are not
            answered yet.
        head_seconds: Time for a request's head, from the opening of the connection or the end
            of the answer before.
        body_seconds: Time for its body, and to go on reading an answer.
        connections: How many may be open.
    """

    max_bytes: int
    held_bytes: int
    head_seconds: float = 10
    body_seconds: float = 30
    connections: int = 100


class Refusal(Exception):
    """A request that is not answered.

    Args:
        status: Of HTTP.
        reason: One sentence for a person.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """Answers requests that come from this page's own visitors and stay within the limits.

    The application behind it gets a body whole. An answer may go on for as long as its visitor
    reads it.

    Args:
        application: What answers the requests.
        hosts: Names and addresses by which visitors may call this machine, in lower case, IPv6
            addresses in brackets; with any port, since one may be forwarded here.
        limits: How much they may send.
        token: What the path of every request must begin with, as in `/<token>/`; None for a
            page that needs none.
    """

    def __init__(
        self,
        application: ASGIApp,
        hosts: frozenset[str],
        limits: Limits,
        token: str | None = None,
    ) -> None:
        self.limits = limits
        self._application = application
        self._hosts = hosts
        self._token = token
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_begun = False

        async def answer(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        held: list[bytes] = []
        try:
            self._check_origin(Headers(scope=scope), scope["method"])
            inner = self._without_token(scope)
            if not await self._read_body(scope, receive, held):
                return
            await self._application(inner, _giving(b"".join(held), receive), answer)
        except Refusal as refusal:
            await _refuse(refusal, receive, answer)
        except Exception:
            logger.exception("A request could not be answered")
            if has_begun:
                # The connection is closed: whoever reads it knows that the rest is missing.
                raise
            await _refuse(Refusal(500, "This could not be answered."), receive, answer)
        finally:
            self._held_bytes -= sum(map(len, held))

    def _check_origin(self, headers: Headers, method: str) -> None:
        """Refuse what another site's page has sent, or what was sent to another name.

        Raises:
            Refusal: Without saying which names there are.
        """
        given = headers.get("host", "").lower()
        host = _HOST.fullmatch(given)
        if host is None or host[1].rstrip(".") not in self._hosts:
            raise Refusal(
                421, "This page is only shown under the address that was printed at its start."
            )
        # Links and bookmarks may lead here. What is embedded or fetched must be the page's own.
        is_visit = (
            method == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        origin = headers.get("origin")
        is_foreign = (
            origin is not None and origin.lower() not in (f"http://{given}", f"https://{given}")
        ) or (
            headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
            and not is_visit
        )
        if is_foreign:
            raise Refusal(403, "Pages of other sites may not ask for this.")

    def _without_token(self, scope: Scope) -> Scope:
        """Return the scope of a request as the application sees it.

        Raises:
            Refusal: If its path does not begin with the token.
        """
        if self._token is None:
            return scope
        prefix = f"/{self._token}/"
        path: str = scope["path"]
        if not secrets.compare_digest(path[: len(prefix)].encode(), prefix.encode()):
            raise Refusal(
                403,
                "The whole address that was printed is needed, with all that follows the /.",
            )
        return {**scope, "root_path": prefix.rstrip("/")}

    async def _read_body(self, scope: Scope, receive: Receive, held: list[bytes]) -> bool:
        """Read a request's body into `held`, and say whether all of it has come.

        Raises:
            Refusal: If it is too large or too slow, or others hold all the room.
        """
        limits = self.limits
        too_large = Refusal(413, f"A request may have {limits.max_bytes:,} bytes at most.")
        if int(Headers(scope=scope).get("content-length", 0)) > limits.max_bytes:
            raise too_large
        num_bytes = 0
        try:
            async with asyncio.timeout(limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return False
                    part: bytes = message.get("body", b"")
                    held.append(part)
                    num_bytes += len(part)
                    self._held_bytes += len(part)
                    # Of a body that comes in chunks nobody says beforehand how large it is.
                    if num_bytes > limits.max_bytes:
                        raise too_large
                    if self._held_bytes > limits.held_bytes:
                        raise Refusal(503, "Too much is being sent at once: try again.")
                    if not message.get("more_body", False):
                        return True
        except TimeoutError:
            raise Refusal(
                408, f"A request must have come whole within {limits.body_seconds:g} s."
            ) from None


def _giving(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Return what gives a body that was read already, and then waits for the visitor's end."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def give() -> Message:
        nonlocal message
        if message is None:
            return await receive()
        given, message = message, None
        return given

    return give


async def _refuse(refusal: Refusal, receive: Receive, answer: Send) -> None:
    """Answer a refusal, and close the connection once the visitor has had time to read it."""
    text = str(refusal).encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
        (b"connection", b"close"),
    ]
    await answer({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await answer({"type": "http.response.body", "body": text, "more_body": True})
    # Who was too slow has had time enough.
    seconds = 0 if refusal.status == 408 else LINGER_SECONDS
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (message := await receive())["type"] == "http.request":
                if not message.get("more_body", False):
                    break
    await answer({"type": "http.response.body", "body": b"", "more_body": False})
