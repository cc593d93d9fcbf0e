"""Signals are neither lost nor raised where they would do harm."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, signal, sys
from tuner.runtime import interrupt

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


COMMAND = """
from tuner.cli import application as cli
from tuner.config.schema import StudyConfig

def import_something(composed):
    try:
        try:
            raise {cause}
        except BaseException as error:
            raise ImportError("initialization failed") from error
    except ImportError as error:
        raise RuntimeError("no plugin") from error

cli.run(import_something, "config", StudyConfig)
"""


def run(name: str) -> str:
    script = SCRIPT.replace("{name}", name)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_interrupt_waits_for_the_end_of_what_is_deferred() -> None:
    expected = ["inner", "outer", "raised", "cleaned up", "remembered", "at once"]
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        assert run(name) == str(expected)


def test_signal_that_is_ignored_at_the_start_stays_so() -> None:
    """As under nohup, or in the background of a shell."""
    script = """
import os, signal
from tuner.runtime import interrupt

numbers = (signal.SIGINT, signal.SIGHUP)
for number in numbers:
    signal.signal(number, signal.SIG_IGN)
interrupt.install()
for number in numbers:
    os.kill(os.getpid(), number)
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "alive\n"


def test_interrupt_in_the_middle_of_an_import_is_no_failure(tmp_path: Path) -> None:
    """Python turns it into an ImportError while a module written in C is initialised."""
    for cause, status in (("KeyboardInterrupt", 130), ("OSError", 1)):
        script = COMMAND.replace("{cause}", cause)
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == status
        assert ("RuntimeError: no plugin" in done.stderr) == (status == 1)
        assert "Traceback" not in done.stderr
