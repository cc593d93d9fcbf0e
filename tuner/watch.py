"""`python -m tuner.watch`: a page that shows a study while it runs, and can end it."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from omegaconf import DictConfig

from tuner.cli import application
from tuner.config.compose import load_watch
from tuner.config.schema import WatchConfig
from tuner.errors import ConfigError
from tuner.escapes import visible

HOST = "127.0.0.1"
PORT = 7861
"""The page's port, unless another page has it."""


def main(composed: DictConfig) -> None:
    """Show the page of a study until Ctrl-C."""
    config = load_watch(composed)
    from tuner.runtime.logs import native_noise_to
    from tuner.server import addresses

    # The port is taken before the slow imports, so that a busy one is reported at once.
    with _listen(config.port) as listener:
        with native_noise_to(Path(os.devnull)):
            from tuner.server import watch
            from tuner.server.guard import Guard, Limits
            from tuner.server.running import serve
            from tuner.server.watched import Watched
            from tuner.server.work import Work
            from tuner.study import records, stopping
            from tuner.tracking import tracking_store
        client = tracking_store.connect_to_existing(config.tracking.uri)
        if config.study is None:
            run = stopping.only_running(client)
        else:
            run = records.choose(client, None, config.study)
        work = Work(seconds=watch.WORK_SECONDS)
        watched = Watched(client, run, work)
        token = secrets.token_urlsafe(16)
        page = Guard(
            watch.application(watched),
            addresses.hosts(HOST, listener),
            Limits(watch.MAX_BYTES, 100 * watch.MAX_BYTES),
            token,
        )
        print(
            f"Study {visible(watched.name)} is shown at {addresses.url(listener, token)} "
            f"(press Ctrl-C to stop)",
            flush=True,
        )
        try:
            with tracking_store.giving_up_early():
                serve(page, listener)
        finally:
            work.end(application.INTERRUPTED)


def _listen(port: int | None) -> socket.socket:
    """Return a socket at this port, or at the usual one or any other if it is None."""
    from tuner.server import addresses

    if port is not None:
        return addresses.listen(HOST, port)
    try:
        return addresses.listen(HOST, PORT)
    except ConfigError:
        # Another study is probably shown there.
        return addresses.listen(HOST, 0)


if __name__ == "__main__":
    application.run(main, "commands/watch", WatchConfig)
