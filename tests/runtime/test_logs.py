"""Where messages go."""

import io
import logging
import os
import sys
from pathlib import Path

import mlflow
import pytest
from rich.console import Console

from tuner.runtime.logs import logging_to, native_noise_to
from tuner.runtime.screen import ConsoleScreen


def test_mlflow_speaks_to_the_file_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert mlflow.__version__
    before = logging.getLogger("mlflow").handlers[:]
    printed = io.StringIO()
    with logging_to(ConsoleScreen(Console(file=printed)), tmp_path / "tune.log"):
        logging.getLogger("mlflow.store.db.utils").error("database or disk is full")
        logging.getLogger("tuner.driver.loop").warning("three trials left")
    assert logging.getLogger("mlflow").handlers == before
    logged = (tmp_path / "tune.log").read_text()
    assert "ERROR   database or disk is full" in logged
    assert "WARNING three trials left" in logged
    assert printed.getvalue() == "three trials left\n"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("stream", [io.StringIO(), None, object()])
def test_native_noise_goes_to_the_file_whatever_stderr_is(
    stream: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with native_noise_to(tmp_path / "noise"):
        os.write(2, b"from C")
        if isinstance(stream, io.StringIO):
            print("from Python", file=sys.stderr)
    assert (tmp_path / "noise").read_bytes() == b"from C"
    assert sys.stderr is stream
    if isinstance(stream, io.StringIO):
        assert stream.getvalue() == "from Python\n"
