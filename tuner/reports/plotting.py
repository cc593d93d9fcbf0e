"""Plotly's figures, from which all charts are made, as dictionaries in its own form.

Python's Plotly would check and copy every number of `{"data": […], "layout": {…}}`; the tests
do that, so a search need not wait for it. Colours of text and lines come from the page, which
knows whether it is light or dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

from tuner.trial import Value

Figure = dict[str, Any]

BEST, TIED, OTHER, BAD, RUNNING = "#e8710a", "#2f7ed8", "#8b93a1", "#d14343", "#0f9d94"
"""Colours that are distinguishable on white and on black, and for the colour-blind."""


def figure(data: list[Figure], x: str, y: str) -> Figure:
    """Put traces into a figure with these axis titles."""
    return {
        "data": data,
        "layout": {
            "xaxis": {"title": {"text": x, "standoff": 12}, "automargin": True},
            "yaxis": {"title": {"text": y, "standoff": 12}, "automargin": True},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "margin": {"l": 10, "r": 12, "t": 36, "b": 10},
            "hovermode": "closest",
        },
    }


def plain(text: object) -> str:
    """Escape text so that Plotly shows it literally, since it takes `<b>` for bold."""
    return html.escape(str(text), quote=False)


def shown(value: Value) -> str:
    """Write a value with only as many digits as a person wants to read."""
    if value is None:
        return "null"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def rounded(number: float | None, digits: int = 6) -> float | None:
    """Return a number for a page: with few digits, and None if it is not finite."""
    if number is None or not math.isfinite(number):
        return None
    return float(f"{number:.{digits}g}")


def round_all(numbers: Iterable[float]) -> list[float | None]:
    """Return numbers for a page; see `rounded`."""
    return [rounded(number) for number in numbers]
