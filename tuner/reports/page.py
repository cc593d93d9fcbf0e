"""A page of charts, tables and pictures: one file of HTML that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.escapes import encodable
from tuner.reports.plotting import Figure


@dataclass(frozen=True)
class Chart:
    """One of Plotly's figures.

    Attributes:
        name: Unique in the page.
        figure: In Plotly's own form.
        height: In pixels.
        min_width: In pixels; on a screen narrower than that, the chart can be moved sideways.
    """

    name: str
    figure: Figure
    height: int = 360
    min_width: int = 0


@dataclass(frozen=True)
class Link:
    """Text of a table's cell that leads somewhere."""

    text: str
    address: str


@dataclass(frozen=True)
class Table:
    """Rows of text under a head, if there is one; the rows of `marked` stand out."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Link]]
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Card:
    """What a reader should see first: a label, what it comes to, and a note."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading.
        text: Sentences below that, a paragraph each.
        charts: Side by side where there is room, if there are several.
        tables: Below the charts.
        code: Lines to copy.
        picture: A PNG.
    """

    title: str
    text: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    code: str = ""
    picture: bytes | None = None


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: Its heading.
        lead: A line below that.
        cards: What a reader should see first.
        sections: All else, from top to bottom.
    """

    title: str
    lead: str
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = field(default_factory=list)


def render(page: Page) -> str:
    """Write a page as HTML, with Plotly in it.

    Args:
        page: What it says; all text is shown as it is, whatever signs are in it.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("tuner.reports", "."), autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {
        "allow_nan": False,
        "ensure_ascii": False,
        "separators": (",", ":"),
    }
    environment.filters["data_uri"] = _data_uri
    figures = {
        chart.name: chart.figure for section in page.sections for chart in section.charts
    }
    content: dict[str, Any] = {"page": page, "figures": figures}
    # Ours to trust, and the only part that is.
    plotly = Markup(get_plotlyjs())
    return encodable(environment.get_template("template.html").render(**content, plotly=plotly))


def _data_uri(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
