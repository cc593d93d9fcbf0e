"""Orders the values of a hyperparameter: as numbers, or as categories."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tuner.reports.plotting import shown
from tuner.trial import Value, is_number


def numbers_of(values: Iterable[Value]) -> list[float] | None:
    """Return values as numbers, or None if any of them is text, true, false or null."""
    numbers = []
    for value in values:
        if not is_number(value):
            return None
        numbers.append(float(value))
    return numbers


def key_of(value: Value) -> str:
    """Return a unique key for a value, since 1, 1.0 and true are equal to Python."""
    return json.dumps(value)


def categories(values: Iterable[Value]) -> dict[str, str]:
    """Return the label of each different value, by its key: numbers first, then text.

    If two labels would be the same, like those of `null` and `"null"`, text is quoted.
    """
    different = sorted({key_of(value): value for value in values}.items(), key=_place)
    called = [shown(value) for _, value in different]
    return {
        key: key if called.count(text) > 1 else text
        for (key, _), text in zip(different, called, strict=True)
    }


def _place(item: tuple[str, Value]) -> tuple[bool, float, str]:
    value = item[1]
    if not is_number(value):
        return True, 0.0, shown(value)
    return False, float(value), ""
