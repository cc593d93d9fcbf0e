"""MLflow's own servers as processes, started as a user starts them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def mlflow_serves(folder: Path, *arguments: str, ready: str, **env: str) -> Iterator[str]:
    """Run `mlflow <arguments>` in a folder, on a free port, and give its address.

    Args:
        folder: Where it is started.
        arguments: The command and its options, but for host and port.
        ready: What it answers once it is ready, such as `/ping`.
        env: Variables of its environment.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # As `. .venv/bin/activate` does: MLflow starts uvicorn by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        server = subprocess.Popen(
            ["mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, **env, "PATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
            # It has processes of its own, which end with it.
            start_new_session=True,
        )
        try:
            if not _answers(server, address + ready):
                log.seek(0)
                pytest.fail(f"{address}{ready} does not answer:\n{log.read()}")
            yield address
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _answers(server: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until a server answers, ends, or two minutes have passed."""
    for _ in range(1200):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10):
            return True
        if server.poll() is not None:
            return False
        time.sleep(0.1)
    return False
