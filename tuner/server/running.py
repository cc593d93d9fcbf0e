"""Serves a guarded application until SIGINT or SIGTERM."""

import socket

import uvicorn

from tuner.server.connections import connection_class
from tuner.server.guard import Guard


def make_server(application: Guard) -> uvicorn.Server:
    """Return a server that keeps the application's limits, not yet running."""
    config = uvicorn.Config(
        application,
        # Given explicitly, since another one that is installed would not keep the limits.
        http=connection_class(application.limits),
        loop="asyncio",
        ws="none",
        interface="asgi3",
        lifespan="off",
        # Its logs of visitors' mistakes do not concern the person who runs the page.
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        # Do not trust headers in which a visitor could claim another address.
        proxy_headers=False,
        # A page left open keeps a connection; do not wait for it.
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def serve(application: Guard, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, whose usual effect then follows.

    Args:
        application: The application that answers the requests.
        listener: Socket bound to the address to serve at.
    """
    make_server(application).run([listener])
