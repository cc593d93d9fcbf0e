"""Locks: one holder at a time, none after a kill, no link followed, no file left."""

import errno
import fcntl
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tuner.errors import StudyError
from tuner.runtime import locks

HOLD = """
import errno, fcntl, sys
from pathlib import Path
from tuner.runtime import locks

def refuse(*_):
    raise OSError(int(sys.argv[3]), "refused")

if int(sys.argv[3]):
    fcntl.flock = refuse
holding = locks.hold(sys.argv[2], "x") if sys.argv[1] == "name" else locks.hold_file(
    Path(sys.argv[2]), "x")
with holding:
    print("held", flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSY_CACHE", str(tmp_path / "cache"))


def holder(kind: str, name: str, refusal: int = 0) -> subprocess.Popen[str]:
    """Start another process that holds a lock until it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, kind, name, str(refusal)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture(params=[0, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def refusal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The error with which the file system answers `flock`; 0 if it supports it."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, "refused")

    if request.param:
        monkeypatch.setattr(fcntl, "flock", refuse)
    return int(request.param)


def test_hold_file_excludes_and_a_killed_holder_does_not_block(
    tmp_path: Path, refusal: int
) -> None:
    path = tmp_path / "lock"
    with holder("file", str(path), refusal) as process:
        with pytest.raises(StudyError) as caught, locks.hold_file(path, "study=first"):
            pass
        for words in (f"pid {process.pid}", socket.gethostname(), "since", "study=first"):
            assert words in str(caught.value)
        process.kill()
        process.wait()
        with locks.hold_file(path, "study=first"):
            pass
    # Twice, since nothing that the first left may prevent the second.
    with locks.hold_file(path, "study=first"):
        assert [entry.name for entry in tmp_path.iterdir() if ".held." in entry.name] == []


def test_hold_waits_with_a_word_and_leaves_no_file(
    tmp_path: Path, refusal: int, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0)
    process = holder("name", "aliases", refusal)

    def end_it(message: logging.LogRecord) -> bool:
        assert process.stdin is not None
        if not process.stdin.closed:
            process.stdin.write("\n")
            process.stdin.close()
        return True

    with process:
        caplog.handler.addFilter(end_it)
        with caplog.at_level(logging.WARNING), locks.hold("aliases", "the aliases of x"):
            pass
    [record] = caplog.records
    assert "the aliases of x" in record.getMessage()
    assert f"pid {process.pid}" in record.getMessage()
    assert list((tmp_path / "cache" / "locks").iterdir()) == []


def test_hold_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "MAX_SECONDS", 0)
    with holder("name", "aliases") as process:
        with pytest.raises(StudyError) as caught, locks.hold("aliases", "the aliases of x"):
            pass
        assert f"pid {process.pid}" in str(caught.value)
        process.kill()


def test_hold_tells_names_apart_and_is_free_again() -> None:
    with locks.hold("one", "one"), locks.hold("another", "another"):
        pass
    with locks.hold("one", "one"):
        pass


def test_flock_that_a_signal_interrupts_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def interrupted_once(descriptor: int, operation: int) -> None:
        calls.append(operation)
        if len(calls) == 1:
            raise InterruptedError

    monkeypatch.setattr(fcntl, "flock", interrupted_once)
    with locks.hold_file(tmp_path / "lock", "x"):
        assert len(calls) == 2


@pytest.mark.parametrize(
    ("said", "is_free"),
    [
        ({"pid": 2**30, "started": 0.0}, True),
        # The number belongs to another process now.
        ({"pid": os.getpid(), "started": 0.0}, True),
        ({"pid": os.getpid(), "started": psutil.Process().create_time()}, False),
        ({"pid": 2**30, "started": 0.0, "host": "another"}, False),
    ],
    ids=["ended", "another of its number", "runs", "on another host"],
)
def test_dead_holder_is_recognised_without_flock(
    tmp_path: Path, said: dict[str, object], is_free: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "refused")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "lock.held"
    path.write_text(json.dumps({"host": socket.gethostname(), **said}))
    if is_free:
        with locks.hold_file(tmp_path / "lock", "x"):
            assert json.loads(path.read_text())["pid"] == os.getpid()
        assert not path.exists()
        return
    with (
        pytest.raises(StudyError, match=r"lock\.held"),
        locks.hold_file(tmp_path / "lock", "x"),
    ):
        pass


def test_file_system_without_any_lock_gets_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(os, "link", refuse)
    with (
        pytest.raises(StudyError, match="another file system"),
        locks.hold_file(tmp_path / "lock", "x"),
    ):
        pass


def make_link(path: Path) -> None:
    path.symlink_to(path.parent / "target")


@pytest.mark.parametrize("occupy", [make_link, Path.mkdir])
def test_what_lies_in_a_locks_place_is_not_followed(
    tmp_path: Path, occupy: Callable[[Path], None]
) -> None:
    path = tmp_path / "lock"
    occupy(path)
    with pytest.raises(StudyError, match="study=first"), locks.hold_file(path, "study=first"):
        pass
    assert not (tmp_path / "target").exists()


# The folder


def test_locks_lie_in_a_folder_of_the_users_alone(tmp_path: Path) -> None:
    with locks.hold("one", "one"):
        folder = tmp_path / "cache" / "locks"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("home", ["/dev/null", "/proc", "/dev/null/home"])
def test_home_that_cannot_be_written_to_has_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.delenv("GLASSY_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with locks.hold("one", "one"):
        folder = tmp_path / f"glassy-{os.geteuid()}"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(list(folder.iterdir())) == 1


def test_folder_that_is_not_ours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSY_CACHE", "/dev/null/cache")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"glassy-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StudyError, match="GLASSY_CACHE"), locks.hold("one", "one"):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder away needs root")
def test_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSY_CACHE", "/dev/null/cache")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"glassy-{os.geteuid()}").mkdir()
    os.chown(tmp_path / f"glassy-{os.geteuid()}", 65534, 65534)
    with pytest.raises(StudyError, match="GLASSY_CACHE"), locks.hold("one", "one"):
        pass
