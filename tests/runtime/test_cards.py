"""Cards and pictures of notebooks."""

import math
import re

import pytest

from tuner.runtime import cards
from tuner.runtime.cards import Series


def test_card_escapes_what_it_is_given() -> None:
    shown = cards.card("<a>", [("<b>", "<c>"), ("share", 0.123456789)])
    for part in ("&lt;a&gt;", "&lt;b&gt;", "&lt;c&gt;", "0.123457"):
        assert part in shown


@pytest.mark.parametrize(
    ("values", "line", "dots"),
    [
        # The lowest value lies on the axis, the highest at the top.
        ([1.0, 3.0, 2.0], "46.0,100.0 159.0,8.0 272.0,54.0", 3),
        ([1.0, math.nan, 3.0], "46.0,100.0 272.0,8.0", 2),
        ([0.5, 0.5], "46.0,54.0 272.0,54.0", 2),
        ([0.5], None, 1),
        ([float(i) for i in range(21)], "46.0,100.0 57.3,95.4", 0),
    ],
)
def test_chart_draws_a_line(values: list[float], line: str | None, dots: int) -> None:
    drawn = cards.chart([Series("a", values)], "epoch")
    found = re.search(r"polyline points='([^']*)'", drawn)
    if line is None:
        assert found is None
    else:
        assert found is not None
        assert found[1].startswith(line)
    assert drawn.count("h0") == dots


def test_chart_of_many_dots_stays_small() -> None:
    drawn = cards.chart([Series("a", list(map(float, range(2000))), is_line=False)], "trial")
    assert drawn.count("h0") == 400
    assert len(drawn) < 10_000


@pytest.mark.parametrize("series", [[], [Series("a", [])], [Series("a", [math.nan])]])
def test_chart_of_nothing_is_empty(series: list[Series]) -> None:
    assert cards.chart(series, "epoch") == ""
