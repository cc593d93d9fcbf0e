"""How objects show themselves in a notebook: a small table and a small picture beside it.

Colours are those of the page, and two of a middle lightness: a card looks right on light and
dark pages, and needs no script and no style sheet.
"""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 280, 120
"""Size of a picture in pixels."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 8, 20
_COLOURS = ("#0d9488", "#d97706")
_MAX_MARKED = 20
_MAX_DOTS = 400
"""Number of dots drawn at most: of more values, every second, third, … is."""

_CELL = "text-align:left;padding:1px 12px 1px 0;vertical-align:top;white-space:normal"


@dataclass(frozen=True)
class Series:
    """One line of a picture.

    Attributes:
        name: Its name, below the picture.
        values: Values at 1, 2, …; NaN where there is none.
        is_line: Whether the values are joined; otherwise they are dots.
    """

    name: str
    values: Sequence[float]
    is_line: bool = True


def card(title: str, rows: Iterable[tuple[str, object]], picture: str = "") -> str:
    """Return a card as HTML.

    Args:
        title: Its title.
        rows: Names and values; numbers are shortened.
        picture: What `chart` has drawn; empty for none.
    """
    cells = "".join(
        f"<tr style='background:none'><th style='{_CELL};font-weight:normal;opacity:.7'>"
        f"{html.escape(name)}</th><td style='{_CELL}'>{html.escape(_shown(value))}</td></tr>"
        for name, value in rows
    )
    table = f"<table style='border:none;margin:4px 0;font-size:13px'>{cells}</table>"
    return (
        f"<div style='font-size:13px;line-height:1.4'><strong>{html.escape(title)}</strong>"
        f"<div style='display:flex;flex-wrap:wrap;gap:8px 24px;align-items:flex-start'>"
        f"{table}{picture}</div></div>"
    )


def chart(series: Sequence[Series], across: str) -> str:
    """Return a small line chart as SVG in HTML; empty if there is nothing to draw.

    Args:
        series: At most as many lines as there are colours.
        across: What is counted along the horizontal axis, such as `epoch`.
    """
    finite = [v for one in series for v in one.values if math.isfinite(v)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    count = max(len(one.values) for one in series)
    lines = [
        _line(one, colour, count, low, high)
        for one, colour in zip(series, _COLOURS, strict=False)
    ]
    # The first lies on top.
    drawn = "".join(reversed(lines))
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    text = "fill='currentColor' font-size='10' opacity='.7'"
    labels = f"<text x='{_LEFT - 5}' y='{_TOP + 8}' text-anchor='end' {text}>{high:.3g}</text>"
    if low != high:
        labels += (
            f"<text x='{_LEFT - 5}' y='{bottom}' text-anchor='end' {text}>{low:.3g}</text>"
        )
    labels += f"<text x='{_LEFT}' y='{HEIGHT - 6}' {text}>{across} 1</text>"
    if count > 1:
        labels += f"<text x='{right}' y='{HEIGHT - 6}' text-anchor='end' {text}>{count}</text>"
    axes = (
        f"<path d='M{_LEFT} {_TOP}V{bottom}H{right}' fill='none' stroke='currentColor' "
        f"opacity='.3'/>"
    )
    names = ", ".join(one.name for one in series)
    legend = "&ensp;".join(
        f"<span style='color:{colour}'>●</span> {html.escape(one.name)}"
        for one, colour in zip(series, _COLOURS, strict=False)
    )
    return (
        f"<div><svg role='img' aria-label='{html.escape(names, quote=True)} by {across}' "
        f"width='{WIDTH}' height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}'>{axes}{labels}"
        f"{drawn}</svg><div style='font-size:11px;padding-left:{_LEFT}px'>{legend}</div></div>"
    )


def _line(one: Series, colour: str, count: int, low: float, high: float) -> str:
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    points = [
        (
            _LEFT + (width * place / (count - 1) if count > 1 else width / 2),
            _TOP + (height * (high - value) / (high - low) if high > low else height / 2),
        )
        for place, value in enumerate(one.values)
        if math.isfinite(value)
    ]
    drawn = ""
    if one.is_line and len(points) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn = f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.8'/>"
    if not one.is_line or len(points) <= _MAX_MARKED:
        stride = math.ceil(len(points) / _MAX_DOTS)
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points[::stride])
        opacity = "" if one.is_line else " opacity='.6'"
        drawn += (
            f"<path d='{dots}' stroke='{colour}' stroke-width='4' stroke-linecap='round'"
            f"{opacity}/>"
        )
    return drawn


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
