"""Closed descriptors, pipes that end, and terminals that disappear."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.runtime import streams

MEND = "from tuner.runtime import streams; streams.mend(); "


def run(shell: str, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "code.py").write_text(code)
    return subprocess.run(
        ["sh", "-c", shell.replace("PYTHON", f"{sys.executable} code.py")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_mend_opens_what_is_closed(closed: str, tmp_path: Path) -> None:
    code = f"""
import os, sys
{MEND}
with open("data", "wb") as file:
    taken = file.fileno()
    print("out"), print("err", file=sys.stderr), os.write(2, b"from C")
    sys.stdin.read(), sys.stdout.flush(), sys.stderr.flush()
with open("said", "w") as file:
    file.write(f"{{taken > 2}} {{os.path.getsize('data')}}")
"""
    run(f"PYTHON {closed}", code, tmp_path)
    # Nothing is printed into a file that got the number of a closed descriptor.
    assert (tmp_path / "said").read_text() == "True 0"


def test_mend_lets_a_pipe_end(tmp_path: Path) -> None:
    code = f"""
import sys
{MEND}
for i in range(100_000):
    print(i)
open("said", "w").write("whole")
"""
    done = run("PYTHON | head -1", code, tmp_path)
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert (tmp_path / "said").read_text() == "whole"


def test_outlet_outlives_its_terminal() -> None:
    ours, terminal = pty.openpty()
    stream = streams.outlet(terminal, None)
    os.close(ours)
    stream.write("nobody reads this\n")
    stream.flush()
    stream.close()
    os.close(terminal)


def test_outlet_hides_no_other_failure() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    stream = streams.outlet(descriptor, None)
    stream.write("x")
    with pytest.raises(OSError, match="No space left"):
        stream.flush()
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        stream.close()


class _Closed(io.StringIO):
    def fileno(self) -> int:
        raise ValueError("I/O operation on closed file")


class _Proxy:
    def fileno(self) -> None:
        return None


@pytest.mark.parametrize("stream", [None, object(), io.StringIO(), _Closed(), _Proxy()])
def test_descriptor_of_what_has_none(stream: object) -> None:
    assert streams.descriptor_of(stream) is None


def test_descriptor_of_a_file(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as file:
        assert streams.descriptor_of(file) == file.fileno()
