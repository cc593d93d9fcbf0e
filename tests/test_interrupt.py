"""Signals are neither lost nor raised where they would do harm."""

import subprocess
import sys

SCRIPT = """
import os, signal, sys
from tuner import interrupt

interrupt.install()
seen = []
try:
    with interrupt.deferred():
        with interrupt.deferred():
            os.kill(os.getpid(), signal.{name})
            seen.append("inner")
        seen.append("outer")
except KeyboardInterrupt:
    seen.append("raised")
with interrupt.deferred():
    seen.append("cleaned up")
try:
    interrupt.check()
except KeyboardInterrupt:
    seen.append("remembered")
try:
    os.kill(os.getpid(), signal.{name})
except KeyboardInterrupt:
    seen.append("at once")
print(seen)
"""


def run(name: str) -> str:
    script = SCRIPT.replace("{name}", name)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_interrupt_waits_for_the_end_of_what_is_deferred() -> None:
    expected = ["inner", "outer", "raised", "cleaned up", "remembered", "at once"]
    for name in ("SIGINT", "SIGTERM"):
        assert run(name) == str(expected)
