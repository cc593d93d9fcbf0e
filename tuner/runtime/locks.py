"""Locks between processes, which a killed process does not leave behind.

A lock is `flock` on a file, which the system releases when the process ends, however it ends.
On file systems without it, a file that names its holder is the lock, and it counts for as long
as that process lives.
"""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import json
import logging
import os
import socket
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from tuner.errors import StudyError
from tuner.runtime import interrupt

logger = logging.getLogger(__name__)

MARK = ".held"
"""Ending of the file that names a lock's holder, where there is no `flock`."""

PATIENCE_SECONDS = 3.0
"""How long to wait for a lock before saying who holds it."""

MAX_SECONDS = 300.0
"""How long to wait for a lock at most: work under such a lock takes a second."""

_SETTLE_SECONDS = 0.2
"""How long two processes that removed one dead holder's file may take to notice each other."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
"""Errors of file systems without `flock`."""

_AS_EFFECTIVE = os.access in os.supports_effective_ids

_NOT_OURS = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR)
"""Errors for another user's file, a link or a folder in a lock's place."""

Holder = Mapping[str, object]


class _Held(Exception):
    """Another process holds the lock; `args[0]` is what is known of it."""


@contextlib.contextmanager
def hold_file(
    path: Path, what: str, to_do: str = "Wait for it, stop it, or give another name."
) -> Iterator[None]:
    """Hold a lock file of a folder that several users may share, or refuse at once.

    Args:
        path: The file; it is made, and stays.
        what: What the lock protects, such as `study=first`, for the message.
        to_do: What a user can do if another process holds it.

    Raises:
        StudyError: If another process holds it, or the file cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_taken(path))
        except _Held as held:
            holder = held.args[0]
            raise StudyError(
                f"{what} is being run by another process: {_said(holder)}. {to_do}"
            ) from held
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise
            raise StudyError(
                f"{what} cannot be locked, since {path} is not a file that you may write to "
                f"({error.strerror}). Remove it, make the folder writable, or give another "
                f"name."
            ) from error
        yield


def is_held(path: Path) -> bool:
    """Say whether a process that lives holds a lock file, without touching it.

    Args:
        path: The file, as `hold_file` takes it.
    """
    for file in (path, path.with_name(f"{path.name}{MARK}")):
        with contextlib.suppress(OSError):
            holder = _parsed(file.read_bytes())
            if holder and _is_alive(holder):
                return True
    return False


@contextlib.contextmanager
def hold(name: str, what: str) -> Iterator[None]:
    """Wait for a lock among the processes of this user on this machine, and hold it.

    Args:
        name: Identifies the lock; any text, which is never written.
        what: What the lock protects, for the messages.

    Raises:
        StudyError: If it is not free after five minutes, or there is no folder for locks.
    """
    path = _user_folder() / hashlib.sha256(name.encode()).hexdigest()[:32]
    begin = time.monotonic()
    has_spoken = False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(_taken(path, removed=True))
                break
            except _Held as held:
                holder, waited = held.args[0], time.monotonic() - begin
            if waited > MAX_SECONDS:
                raise StudyError(
                    f"{what} has been held for {waited:.0f} s by another process: "
                    f"{_said(holder)}. Stop it, and give the same command again."
                )
            if waited > PATIENCE_SECONDS and not has_spoken:
                has_spoken = True
                logger.warning("Waiting for %s, held by %s.", what, _said(holder))
            interrupt.check()
            time.sleep(0.05)
        yield


def _said(holder: Holder) -> str:
    return (
        f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}, since "
        f"{holder.get('since', '?')}"
    )


def _user_folder() -> Path:
    """Return a folder that only this user can write to; made if it is missing.

    Raises:
        StudyError: If none can be made, or somebody else has put something in its place.
    """
    cache = os.environ.get("GLASSY_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    own = Path(cache or f"{base}/glassy") / "locks"
    # For a home that is not writable, or that was inherited from another user.
    shared = Path(tempfile.gettempdir()) / f"glassy-{os.geteuid()}"
    reasons = []
    for folder in (own, shared):
        try:
            # RuntimeError: a home that is not known.
            folder = folder.expanduser()
            folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                if found.st_mode & 0o077:
                    folder.chmod(0o700)
                if os.access(folder, os.W_OK | os.X_OK, effective_ids=_AS_EFFECTIVE):
                    return folder
            reasons.append(f"{folder} is not a folder of this user's alone")
        except (OSError, RuntimeError) as error:
            reasons.append(f"{folder}: {getattr(error, 'strerror', None) or error}")
    raise StudyError(
        f"There is no folder for locks: {'; '.join(reasons)}. Set GLASSY_CACHE to a folder of "
        f"your own."
    )


@contextlib.contextmanager
def _taken(path: Path, removed: bool = False) -> Iterator[None]:
    """Take a lock at once, by `flock` or, where that is missing, by a file that names us.

    Args:
        path: Path of the lock file.
        removed: Whether to remove the file at the end, so that such files do not pile up.

    Raises:
        _Held: If another process has it.
    """
    descriptor = _locked(path)
    if descriptor is None:
        if removed:
            path.unlink(missing_ok=True)
        with _marked(path.with_name(f"{path.name}{MARK}")):
            yield
        return
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_ourselves()).encode(), 0)
        yield
    finally:
        if removed:
            # Still locked: a process that has opened it meanwhile will see it gone, and retry.
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """Return a descriptor of a file that is locked, or None where there is no `flock`."""
    while True:
        # A link in its place would open or create another file.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
        try:
            if not _flock(descriptor):
                os.close(descriptor)
                return None
            # Its last holder may have removed it before we locked it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), os.fstat(descriptor)):
                    return descriptor
        except BlockingIOError:
            holder = _parsed(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise _Held(holder) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _flock(descriptor: int) -> bool:
    """Lock a file, and say whether its file system can do that."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except InterruptedError:
            continue
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise
        return True


@contextlib.contextmanager
def _marked(path: Path) -> Iterator[None]:
    """Hold a lock by a file that names its holder, complete from the start.

    A dead holder is only recognised on its own machine. The file is put in place by a hard
    link, which exactly one process can make.
    """
    own = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        os.write(descriptor, json.dumps(_ourselves()).encode())
        os.fsync(descriptor)
        ours = os.fstat(descriptor)
        _put(own, path)
    finally:
        os.close(descriptor)
        own.unlink(missing_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.lstat(), ours):
                path.unlink()


def _put(own: Path, path: Path) -> None:
    """Link our file to the lock's name, replacing that of a dead holder if there is one."""
    while True:
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        except OSError as error:
            raise StudyError(
                f"{path.parent} is on a file system with neither locks nor hard links "
                f"({error.strerror}), so two searches could run the same study at once: run "
                f"the command in a folder on another file system."
            ) from error
        else:
            return
        try:
            found, holder = path.lstat(), _parsed(path.read_bytes())
        except FileNotFoundError:
            continue
        if _is_alive(holder):
            raise _Held({**holder, "host": f"{holder.get('host', '?')} ({path})"})
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.lstat(), found):
                path.unlink()
        with contextlib.suppress(FileExistsError):
            os.link(own, path)
        # Another process may have found the dead holder too, and removed our file by mistake.
        time.sleep(_SETTLE_SECONDS)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.lstat(), own.lstat()):
                return


def _ourselves() -> dict[str, object]:
    now = datetime.datetime.now().astimezone()
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": now.isoformat(sep=" ", timespec="seconds"),
        # The pid may be reused once this process is gone.
        "started": psutil.Process().create_time(),
    }


def _is_alive(holder: Holder) -> bool:
    pid, started = holder.get("pid"), holder.get("started")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int):
        # Nothing is known about processes of another machine.
        return True
    try:
        process = psutil.Process(pid)
        is_same = isinstance(started, float) and abs(process.create_time() - started) < 2
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _parsed(content: bytes) -> Holder:
    """Return the content of a lock's file; empty if it is just being written."""
    try:
        holder = json.loads(content or b"{}")
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}
