"""One call that runs beside what its caller does meanwhile."""

import threading
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Background(Generic[_T]):
    """A call in a thread of its own, which has begun.

    It is meant for calls that wait, for another process or a disk. Nobody need ask for the
    result: the thread keeps no process from ending.

    Args:
        function: What is called.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """

    def __init__(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> None:
        self._call: Callable[[], _T] = lambda: function(*args, **kwargs)
        self._results: list[_T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> _T:
        """Wait for the call, and return its result or raise its error."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:
            self._error = error
