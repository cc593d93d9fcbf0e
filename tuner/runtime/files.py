"""The one place that writes files: whole or not at all, and on disk when a call returns.

A file that was written and renamed is safe from a kill, not from a power cut: until it is
synced the system may keep the name and lose the content, and until its folder is synced it may
lose the name. So content is synced first, then renamed, then the folder is synced.

What nobody needs after a power cut (`scratch`) is only written. A signal may break off a system
call; Python repeats most of them by itself, but not those that change names, so these are
repeated here.
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
"""What is said of a folder that cannot be synced: by file systems that sync none, and by those
who let us pass through it only, so that nothing of ours can be new there."""


def write(path: Path, content: str | bytes) -> None:
    """Write a file under another name, sync it, rename it, and sync its folder.

    After a kill or a power cut there is the file before or the file after, never half of one.

    Args:
        path: The file; its folder must exist.
        content: Text is written as UTF-8.
    """
    with replacing(path) as part:
        write_scratch(part, content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another name to write a file under; at the end it takes the file's place, synced.

    If the body raises, the file stays as it was and nothing is left of the other one.

    Args:
        path: The file that is made or replaced; its folder must exist.
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
        # That there is no folder any more must not hide what went wrong.
        with contextlib.suppress(OSError):
            uninterrupted(os.unlink, part)
        raise
    sync([path.parent])


def append(path: Path, content: str) -> None:
    """Append text to a file, and sync it; a file that is made is synced with its folder.

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
    """Cut a file off after so many bytes, and sync it."""
    uninterrupted(os.truncate, path, size)
    sync([path])


def rename(source: Path, target: Path) -> None:
    """Give a file or a folder another name, in place of any file of that name, and sync it.

    What lies below a folder must be synced before (`sync_tree`).
    """
    uninterrupted(os.replace, source, target)
    sync(dict.fromkeys([target.parent, source.parent]))


def link(source: Path, target: Path) -> None:
    """Give a file its name, unless another process has made one of that name meanwhile.

    Args:
        source: The file, synced; its name may remain.
        target: The name that it gets.
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
    """Make a folder and those above it that are missing, and sync their names."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            uninterrupted(os.mkdir, folder)
    sync(folder.parent for folder in missing)


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that need not be on disk: it is copied, renamed or thrown away.

    Args:
        path: The file; its folder must exist. An older one is emptied.
    """
    with path.open("wb") as file:
        yield file


def write_scratch(path: Path, content: str | bytes) -> None:
    """Write a whole file as `scratch` does; text as UTF-8."""
    with scratch(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def sync_tree(folder: Path, top: Path | None = None) -> None:
    """Sync every file and folder below a folder, itself, and those that hold it.

    Args:
        folder: The folder.
        top: The folder above it whose own name is on disk; None for the one it lies in.
    """
    sync_trees([folder], folder.parent if top is None else top)


def sync_trees(folders: Iterable[Path], top: Path) -> None:
    """Sync all below some folders, and the folders from there up to a common one, each once.

    All files come first and then their folders, the lower first: a name that is on disk names
    content that is.

    Args:
        folders: With all that lies below them. One that is missing is passed over.
        top: The folder above them whose own name is on disk; it is synced too.
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
    """Sync some files or folders, side by side.

    Beside each other they share the journal's commit and the disk's flush: 20 files and folders
    of a trial take 2 to 5 ms on ext4, and 50 ms one after another.
    """
    several = list(paths)
    if len(several) == 1:
        return _sync(several[0])
    for _ in _threads().map(_sync, several):
        pass


def uninterrupted(call: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Make a call again for as long as signals break it off."""
    while True:
        try:
            return call(*args, **kwargs)
        except InterruptedError:
            continue


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that sync; to start them anew each time takes longer than to sync."""
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
