"""The one place that writes files: whole or not at all, and on disk when a call returns.

A file that was written and renamed is safe from a kill, not from a power cut: until it is
synced the system may keep the name and lose the content, and until its folder is synced it may
lose the name. So content is synced first, then renamed, then the folder is synced.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    """Write a file under another name, sync it, rename it, and sync its folder.

    After a kill or a power cut there is the file before or the file after, never half of one.

    Args:
        path: The file; its folder must exist.
        content: Text is written as UTF-8.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another name to write a file under; at the end it takes the file's place, synced.

    If the body raises, the file stays as it was and nothing is left of the other one.

    Args:
        path: The file that is made or replaced; its folder must exist.
    """
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".part"
    )
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        # mkstemp lets nobody else read; others get what the user's umask gives them.
        os.chmod(part, 0o666 & ~_umask())
        _sync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync(path.parent)


def sync_tree(folder: Path) -> None:
    """Sync every file and folder below a folder, itself and the folder it lies in included."""
    for directory, _, names in os.walk(folder):
        for name in names:
            _sync(Path(directory, name))
        _sync(Path(directory))
    _sync(folder.parent)


def rename(source: Path, target: Path) -> None:
    """Give a file or a folder another name, in place of any file of that name, and sync it.

    What lies below a folder must be synced before (`sync_tree`).
    """
    source.replace(target)
    for folder in dict.fromkeys([target.parent, source.parent]):
        _sync(folder)


def append(path: Path, content: str) -> None:
    """Append text to a file, and sync it; a file that is made is synced with its folder.

    Args:
        path: The file; its folder must exist.
        content: Written as UTF-8.
    """
    is_new = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
