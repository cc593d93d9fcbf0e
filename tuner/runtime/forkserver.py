"""Child processes, forked from a process that has imported TensorFlow.

`import tensorflow` takes 5 s of a core. Here one process imports it while the driver starts,
and every child is forked from that process. So a study imports it once, whatever the number of
its workers, a worker that died is replaced at once, and the driver never needs it. Children are
forked before TensorFlow has made any of its threads, which would not survive.
"""

import contextlib
import functools
import multiprocessing
import multiprocessing.process
import multiprocessing.util
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tuner.errors import ChildDied, ConfigError
from tuner.runtime import streams, surroundings

# Apple's frameworks may not be used after a fork.
_CAN_FORK = sys.platform == "linux"
_context: Any = multiprocessing.get_context("forkserver" if _CAN_FORK else "spawn")


@dataclass
class Child:
    """A child process, and our end of the pipe to it.

    Attributes:
        process: The process; it ends when the pipe is closed, and with the driver.
        connection: Raises EOFError once the process is gone.
    """

    process: BaseProcess
    connection: Connection


def begin_imports(modules: Sequence[str]) -> None:
    """Start the process that children are forked from, and do not wait for its imports.

    Args:
        modules: Modules that it imports before its first child. A missing one is skipped: the
            child that needs it will report it.
    """
    surroundings.prepare()
    if _CAN_FORK:
        _use_short_folder()
        _context.set_forkserver_preload(list(modules))
        forkserver.ensure_running()


def start(serve: Callable[..., None], *args: object, log_file: Path) -> Child:
    """Start a child process; waits for the imports that have begun.

    Args:
        serve: Called in the child with its end of the pipe and `args`; crosses by its name.
        args: Cross by pickle.
        log_file: File to which everything that the child prints is appended.

    Raises:
        ChildDied: If the process that imports has died.
    """
    surroundings.prepare()
    if _CAN_FORK:
        _use_short_folder()
    ours, theirs = _context.Pipe()
    process = _context.Process(
        target=_run, args=(serve, theirs, args, str(log_file)), daemon=True
    )
    try:
        process.start()
    except (EOFError, OSError) as error:
        ours.close()
        raise ChildDied(
            "The process that imports TensorFlow for the others has died: there may be too "
            "little memory (ulimit -v), or TensorFlow may not work here. To see why, run "
            'python -c "import tensorflow"'
        ) from error
    finally:
        # If this end stayed open here, the pipe would not show that the child is gone.
        theirs.close()
    return Child(process, ours)


def call(function: Callable[..., Any], *args: object) -> Any:
    """Call a function in a child process, and return its result or raise its error.

    Args:
        function: Passed by name; its output is thrown away.
        args: Passed by pickle, like the result.

    Raises:
        ChildDied: If the child dies.
    """
    child = start(_answer, function, args, log_file=Path(os.devnull))
    try:
        result, error = child.connection.recv()
    except (EOFError, OSError) as gone:
        child.process.join()
        raise ChildDied(
            f"The child process for '{function.__name__.strip('_').replace('_', ' ')}' "
            f"{how_it_ended(child.process.exitcode)}"
            # Linux does this to the largest process when there is no memory left.
            + (": there may be too little memory." if child.process.exitcode == -9 else ".")
        ) from gone
    except BaseException:
        # Nobody is waiting for the answer.
        child.process.kill()
        raise
    finally:
        child.process.join()
        child.connection.close()
    if error is not None:
        raise error
    return result


def how_it_ended(exitcode: int | None) -> str:
    """Say how a process ended, in words that follow its name.

    Args:
        exitcode: Negative after a signal; None if unknown.
    """
    if exitcode is None or exitcode >= 0:
        return f"ended with exit status {exitcode}"
    return f"was killed by {signal.Signals(-exitcode).name}"


def _answer(
    connection: Connection, function: Callable[..., Any], args: Sequence[object]
) -> None:
    answer: tuple[object, Exception | None]
    try:
        answer = (function(*args), None)
    except Exception as error:
        answer = (None, error)
    connection.send(answer)


def _run(
    serve: Callable[..., None], connection: Connection, args: Sequence[object], log_file: str
) -> None:
    # A signal may go to the whole process group; the driver decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    streams.mend()
    surroundings.prepare()
    try:
        serve(connection, *args)
    except (EOFError, OSError):
        # The driver is gone: nobody needs the rest, so exit at once.
        os._exit(0)


_MAX_SOCKET_NAME = 100
"""Largest length in bytes of a socket's path; Linux allows 107."""
_BELOW_FOLDER = len("/pymp-xxxxxxxx/listener-xxxxxxxx")


@functools.cache
def _use_short_folder() -> None:
    """Place the sockets of the forking process where their paths are short enough.

    Python makes them among the temporary files, whose folder may have a long name.
    """
    if len(os.fsencode(tempfile.gettempdir())) + _BELOW_FOLDER <= _MAX_SOCKET_NAME:
        return
    for parent in (os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/var/tmp", "/dev/shm"):
        if not parent or len(os.fsencode(parent)) + _BELOW_FOLDER > _MAX_SOCKET_NAME:
            continue
        with contextlib.suppress(OSError):
            # Nobody else may look into it.
            folder = tempfile.mkdtemp(prefix="pymp-", dir=parent)
            break
    else:
        raise ConfigError(
            f"`TMPDIR={tempfile.gettempdir()}` is too long a path for the sockets between "
            f"processes: set it to a shorter one."
        )
    multiprocessing.util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
    # The key under which `multiprocessing.util.get_temp_dir` keeps its folder.
    config: Any = multiprocessing.process.current_process()
    config._config["tempdir"] = folder
