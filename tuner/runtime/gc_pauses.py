"""Python's garbage collector, kept from looking through what stays anyway.

Big libraries leave a million objects that live as long as the process. The collector goes
through all of them again and again while they are imported, which makes up a fifth of
TensorFlow's import, in every full collection after that, and when the process ends.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Collect nothing meanwhile, and never what is there at the end of it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def keep_all() -> None:
    """Never look again through what there is now: at a worker's start, and at the end."""
    gc.freeze()
