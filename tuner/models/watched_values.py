"""A trial's values as a model function is given them, and whether it looks at `epochs`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from tuner.trial import Value


def _by_name(method: Callable[..., Any]) -> Callable[..., Any]:
    """Watch a method of `dict` that reads the value of one name."""

    @functools.wraps(method)
    def watched(self: WatchedValues, name: str, *rest: object) -> Any:
        self.knows_epochs |= name == "epochs"
        return method(self, name, *rest)

    return watched


def _all(method: Callable[..., Any]) -> Callable[..., Any]:
    """Watch a method of `dict` that reads all values: what becomes of them nobody knows."""

    @functools.wraps(method)
    def watched(self: WatchedValues, *rest: object) -> Any:
        self.knows_epochs = True
        return method(self, *rest)

    return watched


class WatchedValues(dict[str, Value]):
    """A dictionary, since model functions may want one, that notes who reads a value.

    Attributes:
        knows_epochs: Whether whoever holds it may know the value of `epochs`.
    """

    knows_epochs = False

    __getitem__ = _by_name(dict.__getitem__)
    get = _by_name(dict.get)
    pop = _by_name(dict.pop)
    setdefault = _by_name(dict.setdefault)

    __eq__ = _all(dict.__eq__)
    __ne__ = _all(dict.__ne__)
    __or__ = _all(dict.__or__)
    __repr__ = _all(dict.__repr__)
    __ror__ = _all(dict.__ror__)
    copy = _all(dict.copy)
    items = _all(dict.items)
    popitem = _all(dict.popitem)
    values = _all(dict.values)

    def __iter__(self) -> Iterator[str]:
        """Yield the names; its being here makes `dict(…)` and `**` ask for each value."""
        return super().__iter__()
