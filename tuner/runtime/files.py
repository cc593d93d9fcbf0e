"""The one place that writes files: completely or not at all, and on disk when a call returns.

A file that was written and renamed is safe from a kill, not from a power cut: until it is
synced the system may keep the name and lose the content, and until its folder is synced it may
lose the name. So content is synced first, then renamed, then the folder is synced.

Files that nobody needs after a power cut (`scratch`) are only written. A signal may interrupt a
system call; Python retries most of them by itself, but not those that change names, so these
are retried here.
"""

import contextlib
import errno
import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

_SUFFIX = ".part"

_NUM_SIDE_BY_SIDE = 8

_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)
"""Errors for a folder that cannot be synced: on file systems that sync no folders, and for
folders that we may only pass through, so that nothing of ours can be new there."""


def write(path: Path, content: str | bytes) -> None:
    """Write a file under another name, sync it, rename it, and sync its folder.

    After a kill or a power cut there is either the old or the new file, never half of one.

    Args:
        path: The file; its folder must exist.
        content: Text is written as UTF-8.
    """
    with replacing(path) as part:
        write_scratch(part, content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; at the end it replaces the file, synced.

    If the body raises, the file stays as it was and the temporary one is removed.

    Args:
        path: The file to make or replace; its folder must exist.
    """
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX
    )
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        # mkstemp lets nobody else read; others get what the user's umask gives them.
        os.chmod(part, 0o666 & ~_umask())
        sync([part])
        uninterrupted(os.replace, part, path)
    except BaseException:
        # A missing folder must not hide the original error.
        with contextlib.suppress(OSError):
            uninterrupted(os.unlink, part)
        raise
    sync([path.parent])


def append(path: Path, content: str) -> None:
    """Append text to a file, and sync it; for a new file, sync its folder too.

    Args:
        path: The file; its folder must exist.
        content: Written as UTF-8.
    """
    is_new = not path.exists()
    with path.open("ab") as file:
        file.write(content.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync([path.parent])


def cut(path: Path, size: int) -> None:
    """Cut a file off after `size` bytes, and sync it."""
    uninterrupted(os.truncate, path, size)
    sync([path])


def rename(source: Path, target: Path) -> None:
    """Rename a file or a folder, replacing any file of that name, and sync it.

    The content of a folder must be synced before (`sync_tree`).
    """
    uninterrupted(os.replace, source, target)
    sync(dict.fromkeys([target.parent, source.parent]))


def link(source: Path, target: Path) -> None:
    """Give a file its final name, unless another process has made a file of that name.

    Args:
        source: The file, synced; its old name may remain.
        target: The new name.
    """
    try:
        uninterrupted(os.link, source, target)
    except FileExistsError:
        return
    except OSError:
        # Not every file system has links.
        uninterrupted(os.replace, source, target)
    sync([target.parent])


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, and sync their names."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            uninterrupted(os.mkdir, folder)
    sync(folder.parent for folder in missing)


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing without a sync: it will be copied, renamed or thrown away.

    Args:
        path: The file; its folder must exist. An older one is emptied.
    """
    with path.open("wb") as file:
        yield file


def write_scratch(path: Path, content: str | bytes) -> None:
    """Write a whole file without a sync, like `scratch`; text as UTF-8."""
    with scratch(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def sync_tree(folder: Path, top: Path | None = None) -> None:
    """Sync a folder, every file and folder below it, and the folders above it up to `top`.

    Args:
        folder: The folder.
        top: A folder above it whose own name is on disk; None for its parent.
    """
    sync_trees([folder], folder.parent if top is None else top)


def sync_trees(folders: Iterable[Path], top: Path) -> None:
    """Sync everything below some folders, and the folders above up to a common one, each once.

    Files come first and then their folders, deepest first, so that a name on disk always refers
    to content on disk.

    Args:
        folders: The folders; a missing one is skipped.
        top: A folder above them whose own name is on disk; it is synced too.
    """
    files: list[Path] = []
    holders: dict[Path, None] = {}
    for folder in folders:
        for directory, _, names in os.walk(folder, topdown=False):
            files += (Path(directory, name) for name in names)
            holders[Path(directory)] = None
        above = (p for p in folder.parents if p.is_relative_to(top) and p.is_dir())
        holders |= dict.fromkeys(above)
    sync(files)
    sync(sorted(holders, key=lambda path: -len(path.parts)))


def sync(paths: Iterable[Path]) -> None:
    """Sync some files or folders in parallel.

    In parallel they share the journal's commit and the disk's flush: 20 files and folders of a
    trial take 2 to 5 ms on ext4, and 50 ms in sequence.
    """
    several = list(paths)
    if len(several) == 1:
        return _sync(several[0])
    for _ in _threads().map(_sync, several):
        pass


def uninterrupted(call: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Retry a call as long as signals interrupt it."""
    while True:
        try:
            return call(*args, **kwargs)
        except InterruptedError:
            continue


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that sync; starting them every time would take longer than syncing."""
    return ThreadPoolExecutor(_NUM_SIDE_BY_SIDE, "glassy-sync")


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC or not path.is_dir():
            raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
