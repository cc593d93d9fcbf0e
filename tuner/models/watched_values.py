"""A trial's values as given to a model function, recording whether it reads `epochs`."""

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
    """Watch a method of `dict` that reads all values: nobody knows how they are used."""

    @functools.wraps(method)
    def watched(self: WatchedValues, *rest: object) -> Any:
        self.knows_epochs = True
        return method(self, *rest)

    return watched


class WatchedValues(dict[str, Value]):
    """A real dictionary, since model functions may want one, that notes reads of `epochs`.

    Attributes:
        knows_epochs: Whether the function may have read the value of `epochs`.
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
        """Yield the names; overriding this makes `dict(…)` and `**` read value by value."""
        return super().__iter__()
