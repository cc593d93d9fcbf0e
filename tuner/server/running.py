"""A guarded application, served until SIGINT or SIGTERM."""

import socket

import uvicorn

from tuner.server.connections import connection_class
from tuner.server.guard import Guard


def make_server(application: Guard) -> uvicorn.Server:
    """Return a server that keeps the application's limits, not yet running."""
    config = uvicorn.Config(
        application,
        # Named, since another that happens to be installed would not keep the limits.
        http=connection_class(application.limits),
        loop="asyncio",
        ws="none",
        interface="asgi3",
        lifespan="off",
        # What it logs of visitors' faults is nothing to whoever runs the page.
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        # Headers in which a visitor could claim another address.
        proxy_headers=False,
        # A page that is left open keeps a connection, for which nobody wants to wait.
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def serve(application: Guard, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, which then does what it would have done without this.

    Args:
        application: What answers the requests.
        listener: Bound to the address to serve at.
    """
    make_server(application).run([listener])
