"""The faults that hit a running study, each once, at a random moment."""

import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from torture.study import Place, Process, Unclear, check_end

LIBFAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


class Fault:
    """One way to hit a study.

    Attributes:
        num_kills: Number of workers it stops in mid-epoch, each of which may lose an epoch.
    """

    num_kills = 2

    @classmethod
    def obstacle(cls) -> str | None:
        """Say what this machine lacks for the fault, or return None."""
        return None

    @contextlib.contextmanager
    def place(self, folder: Path, search: str) -> Iterator[Place]:
        """Prepare the place where the study runs."""
        yield Place(folder, search)

    def hit(self, process: Process, place: Place, drawn: random.Random) -> None:
        """Hit the study; its process may be ending."""
        raise NotImplementedError

    def after(self, place: Place, drawn: random.Random) -> None:
        """Act once the process has ended."""


class Signal(Fault):
    """Sends a signal to the driver, or to its whole group."""

    def __init__(self, number: signal.Signals, *, group: bool = False, times: int = 1) -> None:
        self._number = number
        self._group = group
        self._times = times

    def hit(self, process: Process, place: Place, drawn: random.Random) -> None:
        for i in range(self._times):
            if i:
                time.sleep(drawn.uniform(0.0, 0.3))
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if self._group else os.kill)(process.pid, self._number)


class KilledWorker(Fault):
    """Kills one of the processes that do the work."""

    num_kills = 1

    def hit(self, process: Process, place: Place, drawn: random.Random) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():
                # The children of the process that workers are forked from; the oracle is one.
                if workers := child.children():
                    drawn.choice(workers).kill()
                    return


class FullDisk(Fault):
    """Fills the file system, which is a small one in memory, until the study has ended."""

    SIZE = "80m"

    @classmethod
    def obstacle(cls) -> str | None:
        if os.geteuid() != 0 or shutil.which("mount") is None:
            return "needs root, to mount a small tmpfs"
        return None

    @contextlib.contextmanager
    def place(self, folder: Path, search: str) -> Iterator[Place]:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "tmpfs", str(folder)]
        subprocess.run(mount, check=True)
        try:
            yield Place(folder, search)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)

    def hit(self, process: Process, place: Place, drawn: random.Random) -> None:
        with contextlib.suppress(OSError), _filler(place).open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def after(self, place: Place, drawn: random.Random) -> None:
        if (place.study_dir / "study.json").exists() and _filler(place).exists():
            # The disk is still full: the study must say so again, and do no harm.
            check_end(place.start())
        _filler(place).unlink(missing_ok=True)


class LockedDatabase(Fault):
    """Holds SQLite's write lock for up to 20 s, in another process."""

    num_kills = 0

    def hit(self, process: Process, place: Place, drawn: random.Random) -> None:
        path = place.folder / "mlflow.db"
        if not path.exists():
            return
        connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(drawn.uniform(1, 20))
            connection.execute("ROLLBACK")


class LostServer(Fault):
    """Kills the tracking server, and restarts it up to 20 s later."""

    num_kills = 0

    @contextlib.contextmanager
    def place(self, folder: Path, search: str) -> Iterator[Place]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._folder = folder
        self._server = self._start()
        try:
            yield Place(folder, search, f"http://127.0.0.1:{self._port}")
        finally:
            self._stop()

    def hit(self, process: Process, place: Place, drawn: random.Random) -> None:
        self._stop()
        time.sleep(drawn.uniform(1, 20))
        self._server = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                *("--host", "127.0.0.1", "--port", str(self._port)),
                *("--backend-store-uri", "sqlite:///mlflow.db"),
                *("--artifacts-destination", "mlruns"),
            ],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(600):
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.connect(("127.0.0.1", self._port))
                return server
            time.sleep(0.1)
        raise Unclear("The MLflow server did not start within a minute.")

    def _stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()


class Damage(Signal):
    """Kills the driver, and alters a file that it has left behind."""

    # If the checkpoint of a curve was damaged, its epochs are trained again.
    num_kills = 5

    def __init__(self, pattern: str, alter: Callable[[Path, random.Random], None]) -> None:
        super().__init__(signal.SIGKILL)
        self._pattern = pattern
        self._alter = alter

    def after(self, place: Place, drawn: random.Random) -> None:
        files = sorted(place.study_dir.glob(self._pattern))
        if files:
            self._alter(drawn.choice(files), drawn)


class SetBackClock(Fault):
    """Sets the clock of the study's processes back by an hour, by libfaketime."""

    num_kills = 0

    @classmethod
    def obstacle(cls) -> str | None:
        return None if LIBFAKETIME.exists() else "needs Debian's package libfaketime"

    @contextlib.contextmanager
    def place(self, folder: Path, search: str) -> Iterator[Place]:
        self._file = folder.with_name(f"{folder.name}.clock")
        self._file.write_text("+0")
        environment = {
            "LD_PRELOAD": str(LIBFAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        yield Place(folder, search, environment=environment)

    def hit(self, process: Process, place: Place, drawn: random.Random) -> None:
        self._file.write_text("-3600")


def _filler(place: Place) -> Path:
    return place.folder / "filler"


def truncate(path: Path, drawn: random.Random) -> None:
    """Cut a file off at a random place."""
    os.truncate(path, drawn.randrange(path.stat().st_size))


def flip(path: Path, drawn: random.Random) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
    path.write_bytes(content)


def empty(path: Path, drawn: random.Random) -> None:
    """Empty a file."""
    os.truncate(path, 0)


_CHECKPOINTS = "curves/**/*.checkpoint"

FAULTS: dict[str, Callable[[], Fault]] = {
    "SIGKILL to the driver": lambda: Signal(signal.SIGKILL),
    "SIGKILL to a worker": KilledWorker,
    "SIGKILL to all": lambda: Signal(signal.SIGKILL, group=True),
    "SIGTERM": lambda: Signal(signal.SIGTERM),
    "Ctrl-C twice": lambda: Signal(signal.SIGINT, group=True, times=2),
    "full disk": FullDisk,
    "locked database": LockedDatabase,
    "lost MLflow server": LostServer,
    "truncated checkpoint": lambda: Damage(_CHECKPOINTS, truncate),
    "flipped bit in a checkpoint": lambda: Damage(_CHECKPOINTS, flip),
    "emptied oracle.jsonl": lambda: Damage("oracle.jsonl", empty),
    "clock set back an hour": SetBackClock,
}
"""All faults, by name."""
