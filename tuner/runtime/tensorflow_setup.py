"""Prepares TensorFlow and Keras in a process, before any code of the user's runs in it.

TensorFlow's number of threads can only be set before its first operation, and a user's module
may run one when it is imported: an augmentation, a metric or a tensor at its top level.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import ChildDied, ConfigError, NoMemory, SearchFailed, wants_memory
from tuner.runtime import forkserver, surroundings
from tuner.runtime.logs import native_noise_to

_FLAGS = ("XLA_FLAGS", "TF_XLA_FLAGS")
_threads: int | None = None


def set_up(threads: int | None = None) -> None:
    """Import TensorFlow and fix the settings of its results; later calls change nothing.

    Args:
        threads: Threads of one operation, at least 1; None if no result depends on them.

    Raises:
        ConfigError: If TensorFlow already runs with another number of threads here.
        SearchFailed: If it cannot be imported.
    """
    global _threads
    surroundings.prepare()
    import_tensorflow()
    if threads is None or threads == _threads:
        return
    try:
        set_threads(threads)
    except RuntimeError as error:
        raise ConfigError(
            f"`executor.threads={threads}` can no longer be set: TensorFlow already runs with "
            f"{_threads or 'another number of'} threads in this process. Use "
            f"executor=processes, which gives each study its own processes."
        ) from error
    _threads = threads


def set_threads(threads: int) -> None:
    """Set the number of threads of an operation, which affects the last bits of its result.

    Args:
        threads: At least 1.

    Raises:
        RuntimeError: If TensorFlow has started already with another number.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)


def use_keras_as_it_comes() -> None:
    """Undo a user's module's settings of Keras's precision and formats.

    Used for Glassy's own models, which must not depend on a loader in the same process.
    """
    import keras

    surroundings.reset_keras(keras)
    keras.config.set_dtype_policy("float32")


def check_flags() -> None:
    """Refuse flags for which TensorFlow would silently end the process.

    Raises:
        ConfigError: It names the variable and its value.
    """
    given = [f"{name}={os.environ[name]}" for name in _FLAGS if os.environ.get(name)]
    if not given:
        return
    try:
        # In a child process, which the flags may end.
        forkserver.call(_compile_something)
    except ChildDied as error:
        raise ConfigError(
            f"TensorFlow does not start with `{'` and `'.join(given)}`: correct the flags, or "
            f"unset them."
        ) from error


def _compile_something() -> None:
    set_up(1)
    import tensorflow as tf

    tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1.0))


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, or say in one message why not.

    Raises:
        ConfigError: If Keras is set to another backend in this process.
        SearchFailed: If they cannot be imported.
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    try:
        with _quiet_start():
            import keras
            import tensorflow
    except (ImportError, MemoryError, OSError) as error:
        if wants_memory(error):
            raise NoMemory(error, "to import TensorFlow") from error
        if backend != "tensorflow":
            raise _other_backend(backend) from error
        raise SearchFailed(
            f"TensorFlow cannot be imported ({type(error).__name__}: {_last_line(error)}). To "
            f'see why, run python -c "import keras, tensorflow"'
        ) from error
    if keras.config.backend() != "tensorflow":
        raise _other_backend(keras.config.backend())
    # Every trial has a new model and traces its programs again, which TensorFlow warns about.
    logging.getLogger(tensorflow.__name__).setLevel(logging.ERROR)


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep TensorFlow's first messages from a program that uses Glassy as a library.

    Its log level counts only once it has been read, and is read once.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    unset = {n: v for n, v in surroundings.QUIET_TENSORFLOW.items() if n not in os.environ}
    with surroundings.variables(unset), native_noise_to(Path(os.devnull)):
        yield


def _other_backend(backend: str) -> ConfigError:
    return ConfigError(
        f"Keras must run on TensorFlow, but is set to {backend} in this process: set "
        f"KERAS_BACKEND=tensorflow before Keras is imported."
    )


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
