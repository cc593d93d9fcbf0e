"""How values of a hyperparameter are told apart and put in order: numbers, or categories."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tuner.reports.plotting import shown
from tuner.trial import Value


def numbers_of(values: Iterable[Value]) -> list[float] | None:
    """Return values as numbers, or None if any of them is text, true, false or null."""
    numbers = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        numbers.append(float(value))
    return numbers


def key_of(value: Value) -> str:
    """Return what tells a value from all others; to Python, 1, 1.0 and true are one."""
    return json.dumps(value)


def categories(values: Iterable[Value]) -> dict[str, str]:
    """Return what to call each different value, by its key: numbers first, then text.

    Where two would be called the same, as `null` and `"null"`, text is written in quotes.
    """
    different = sorted({key_of(value): value for value in values}.items(), key=_place)
    called = [shown(value) for _, value in different]
    return {
        key: key if called.count(text) > 1 else text
        for (key, _), text in zip(different, called, strict=True)
    }


def _place(item: tuple[str, Value]) -> tuple[bool, float, str]:
    value = item[1]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True, 0.0, shown(value)
    return False, float(value), ""
