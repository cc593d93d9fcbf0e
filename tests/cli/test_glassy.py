"""`glassy <command>` is `python -m tuner.<command>`."""

import subprocess
import sys
from pathlib import Path

import pytest

import tuner
from tuner.cli.glassy import COMMANDS


def glassy(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from tuner.cli.glassy import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_every_command_is_listed() -> None:
    commands = {
        path.stem
        for path in Path(tuner.__file__).parent.glob("*.py")
        if "application.run(" in path.read_text(encoding="utf-8")
    }
    assert COMMANDS.keys() == commands
    shown = glassy("--help")
    assert shown.returncode == 0
    assert all(f"\n  {name} " in shown.stdout for name in COMMANDS)
    assert glassy().stdout == shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_command_answers_as_its_module_does(name: str) -> None:
    under_one_name = glassy(name, "--help")
    alone = subprocess.run(
        [sys.executable, "-m", f"tuner.{name}", "--help"], capture_output=True, text=True
    )
    assert under_one_name.returncode == alone.returncode == 0
    assert under_one_name.stdout == alone.stdout


def test_mistake_ends_with_its_status() -> None:
    done = glassy("search", "search.max_trials=none")
    assert done.returncode == 2
    assert "`search.max_trials`" in done.stderr


@pytest.mark.parametrize(("name", "hint"), [("serach", "glassy search"), ("x", "search, ")])
def test_unknown_command_is_refused(name: str, hint: str) -> None:
    done = glassy(name)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert repr(name) in done.stderr
    assert hint in done.stderr
