"""Runs long work for visitors in a few threads, so that the page keeps answering."""

import asyncio
import concurrent.futures
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """There is more work than can be done in time."""


class Work:
    """A few threads, and a queue of limited length.

    Args:
        threads: Number of threads.
        waiting: Largest number of calls that may wait for a thread.
        seconds: How long to wait for a result. A thread that takes longer cannot be stopped; it
            continues, and its result is dropped.
    """

    def __init__(self, threads: int = 2, waiting: int = 16, seconds: float = 30) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "glassy-work")
        self._at_most = threads + waiting
        self._seconds = seconds
        self._unfinished: set[concurrent.futures.Future[Any]] = set()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in one of the threads, and return its result.

        Raises:
            Busy: If there is no room in the queue, or it takes too long.
        """
        if len(self._unfinished) >= self._at_most:
            raise Busy
        future = self._pool.submit(function, *args, **kwargs)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        waited_for = asyncio.wrap_future(future)
        done, _ = await asyncio.wait([waited_for], timeout=self._seconds)
        if not done:
            waited_for.cancel()
            raise Busy
        return waited_for.result()

    def end(self, exit_status: int, seconds: float = 2) -> None:
        """Drop waiting calls, and wait a little for those that are running.

        A thread in C code cannot be stopped, and Python waits for its threads before it exits.
        So if one is still running when time is up, the process exits at once.

        Args:
            exit_status: Exit status of the process in that case.
            seconds: How long to wait.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        if concurrent.futures.wait(list(self._unfinished), timeout=seconds).not_done:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_status)
