"""`python -m tuner.demo`: a local page to draw on, and to see what a model takes it for."""

import errno
import importlib.util
import os
import socket
import tempfile
from pathlib import Path

from omegaconf import DictConfig

from tuner import cli
from tuner.config import load_demo
from tuner.errors import ConfigError, UserError
from tuner.escapes import visible
from tuner.schema import DemoConfig


def main(composed: DictConfig) -> None:
    """Load a model and show its page until Ctrl-C."""
    config = load_demo(composed)
    if importlib.util.find_spec("gradio") is None:
        raise UserError(
            "The page needs Gradio, which is not installed: pip install 'glassy[demo]', or "
            "pip install '.[demo]' in the project's root."
        )
    from tuner.logs import native_noise_to

    # Taken before the long work.
    listener = _listen(config.host, config.port)
    # What is sent lies in this folder, and goes with it. Gradio reads both when imported.
    with listener, tempfile.TemporaryDirectory(prefix="glassy-demo-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        with native_noise_to(Path(os.devnull)):
            from tuner import demo_page, loading, references, serving, store

            uri = config.tracking.uri
            model = config.model or references.only_registered(store.connect(uri))
            classifier = loading.load(model, tracking_uri=uri)
            application = demo_page.application(classifier, config.max_upload_mb * 2**20)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        title = visible(classifier.source.title)
        print(
            f"{title} is waiting for drawings at http://{shown}:{port} (Ctrl-C ends it)",
            flush=True,
        )
        serving.serve(application, listener)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that holds an address.

    Raises:
        ConfigError: If it cannot be had.
    """
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"`port={port}` must be free, but another program listens there: end it, or "
                f"give another, such as port={port % 65535 + 1}."
            ) from error
        raise ConfigError(
            f"`host={host}` and `port={port}` must be an address of this machine that you may "
            f"listen at, but: {error.strerror}."
        ) from error


if __name__ == "__main__":
    cli.run(main, "commands/demo", DemoConfig)
