"""An application of the web, served on a socket, to which nobody can send too much."""

import socket

import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio's pages run code that they make, and keep pictures in addresses; but whatever they or
# what is shown on them ask for, they get it from here or not at all.
_POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'"


class Guard:
    """Refuses requests above a size, and keeps pages from asking anybody else for anything.

    Args:
        application: What answers the requests.
        max_bytes: Size of a request's body above which it is refused, with status 413.
    """

    def __init__(self, application: ASGIApp, max_bytes: int) -> None:
        self._application = application
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        refusal = f"A request may have {self._max_bytes:,} bytes at most."
        if int(Headers(scope=scope).get("content-length", 0)) > self._max_bytes:
            await PlainTextResponse(refusal, 413)(scope, receive, send)
            return
        num_bytes = 0

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            # Of a body that comes in chunks nobody says beforehand how large it is.
            if num_bytes > self._max_bytes:
                raise HTTPException(413, refusal)
            return message

        async def restricted(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = _POLICY
            await send(message)

        await self._application(scope, counted, restricted)


def serve(application: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, which then does what it would have done without this.

    Args:
        application: What answers the requests.
        listener: Bound to the address to serve at.
    """
    config = uvicorn.Config(
        application,
        log_level="error",
        # A page that is left open keeps a connection, for which nobody wants to wait.
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run([listener])
