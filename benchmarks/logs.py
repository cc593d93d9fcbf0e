"""Reads from a study's log when something happened."""

import datetime
import re
import time
from pathlib import Path

LIMIT_SECONDS = 300
"""Seconds after which something that must come is given up."""


def times_of(log: Path, pattern: str) -> list[float]:
    """Wait until lines of a study's log match, and return their times, since 1970.

    Args:
        log: Its `tune.log`, which need not exist yet.
        pattern: Regular expression for what follows the time in a line.

    Raises:
        TimeoutError: If none comes.
    """
    line = re.compile(rf"^(\S+ \S+),(\d+) .*{pattern}", re.M)
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        if found := line.findall(text):
            return [_seconds(second, thousandths) for second, thousandths in found]
        time.sleep(0.05)
    raise TimeoutError(f"{log} never said {pattern!r}.")


def _seconds(second: str, thousandths: str) -> float:
    read = datetime.datetime.strptime(second, "%Y-%m-%d %H:%M:%S")
    return read.timestamp() + int(thousandths) / 1000
