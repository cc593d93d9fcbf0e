"""Guards a page against its visitors: who may send requests, and how much.

A page on this machine is within reach of every web site that its user visits: the site's
scripts can send requests to 127.0.0.1, and can read the answers if one of the site's own names
has been pointed there (DNS rebinding). So a request must name this machine as its host, and
must not come from another site's page. Its size and duration are limited too.
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
"""How long to read and drop what a refused visitor still sends.

A connection that is closed with unread bytes is reset, and the visitor never reads the refusal.
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
"""Headers of every answer that does not have its own. No script, style or picture comes from
elsewhere or is inline."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/?#\s]+)(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Limits:
    """Limits for visitors.

    Attributes:
        max_bytes: Largest size of a request's body.
        held_bytes: Largest total size of all bodies received, in part or whole, and not yet
            answered.
        head_seconds: Time for a request's head, from the opening of the connection or the end
            of the previous answer.
        body_seconds: Time for its body, and for continuing to read an answer.
        connections: Largest number of open connections.
    """

    max_bytes: int
    held_bytes: int
    head_seconds: float = 10
    body_seconds: float = 30
    connections: int = 100


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: HTTP status.
        reason: One sentence for a person.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """Answers requests that come from this page's own visitors and stay within the limits.

    The application behind it gets complete bodies. An answer may take as long as its visitor
    keeps reading it.

    Args:
        application: The application that answers the requests.
        hosts: Names and addresses by which visitors may call this machine, in lower case, IPv6
            addresses in brackets; with any port, since one may be forwarded here.
        limits: How much they may send.
        token: Token with which the path of every request must begin, as in `/<token>/`; None
            if the page needs none.
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
                    headers.setdefault(name, value)
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
                # This closes the connection, so the reader knows that the rest is missing.
                raise
            await _refuse(Refusal(500, "This could not be answered."), receive, answer)
        finally:
            self._held_bytes -= sum(map(len, held))

    def _check_origin(self, headers: Headers, method: str) -> None:
        """Refuse a request from another site's page, or to another host name.

        Raises:
            Refusal: It does not say which names are allowed.
        """
        given = headers.get("host", "").lower()
        host = _HOST.fullmatch(given)
        if host is None or host[1].rstrip(".") not in self._hosts:
            raise Refusal(
                421, "This page is only shown at the address that was printed at its start."
            )
        # Links and bookmarks may lead here, but only the page itself may embed or fetch.
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
            raise Refusal(403, "Pages of other sites may not request this.")

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
                "Use the whole printed address, including everything after the /. Each start "
                "of the command prints a new one.",
            )
        return {**scope, "root_path": prefix.rstrip("/")}

    async def _read_body(self, scope: Scope, receive: Receive, held: list[bytes]) -> bool:
        """Read a request's body into `held`, and say whether it is complete.

        Raises:
            Refusal: If it is too large or too slow, or others use all the memory.
        """
        limits = self.limits
        too_large = Refusal(413, f"A request may have at most {limits.max_bytes:,} bytes.")
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
                    # The size of a body sent in chunks is not known beforehand.
                    if num_bytes > limits.max_bytes:
                        raise too_large
                    if self._held_bytes > limits.held_bytes:
                        raise Refusal(503, "Too much is being sent at once: retry in a moment.")
                    if not message.get("more_body", False):
                        return True
        except TimeoutError:
            raise Refusal(
                408, f"A request must be complete within {limits.body_seconds:g} s."
            ) from None


def _giving(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Return a receiver that gives a body already read, and then waits for the disconnect."""
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
    # A visitor who was too slow has had enough time.
    seconds = 0 if refusal.status == 408 else LINGER_SECONDS
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (message := await receive())["type"] == "http.request":
                if not message.get("more_body", False):
                    break
    await answer({"type": "http.response.body", "body": b"", "more_body": False})
