"""Keeps Python's garbage collector from scanning objects that stay anyway.

Big libraries create a million objects that live as long as the process. The collector scans all
of them repeatedly while they are imported (a fifth of TensorFlow's import), in every full
collection after that, and when the process ends.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Pause the collector, and exempt all objects that exist at the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Pause the collector while a great many objects are made that are all needed."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def keep_all() -> None:
    """Exempt all present objects; used when a worker starts, and at exit."""
    gc.freeze()
