"""Starts a program of the benchmark in its own folder, and leaves nothing of it running."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.rows import ROOT

OUTPUT = "output.log"

GRACE_SECONDS = 10
"""Seconds that a program has to clean up when it is asked to end."""

_ENVIRONMENT = {
    # The folder of the package `benchmarks`; Ray passes it on to its actors.
    "PYTHONPATH": str(ROOT),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}

# Variables that keep Python from writing bytecode, or send records or work elsewhere.
_REMOVED = ("PYTHONDONTWRITEBYTECODE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")


class RunFailed(Exception):
    """A run did not do everything that it should; the message says what is missing."""


@contextlib.contextmanager
def started(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, and end it with all that it has started when the block ends.

    Args:
        command: The program and its arguments.
        folder: Its current folder, where `OUTPUT` is written.

    Raises:
        RunFailed: If it cannot be started.
    """
    environment = {k: v for k, v in os.environ.items() if k not in _REMOVED} | _ENVIRONMENT
    with (folder / OUTPUT).open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise RunFailed(f"It could not be started: {error}.") from error
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            # Also processes that it has left running, which would disturb the next row.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def last_line(folder: Path) -> str:
    """Return the last line that a program has printed, which often says what went wrong."""
    text = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
