"""A page of charts, tables and pictures: one HTML file that needs no network."""

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
        name: Name, unique in the page.
        figure: The figure in Plotly's own form.
        height: Height in pixels.
        min_width: Smallest width in pixels; on a narrower screen the chart scrolls sideways.
    """

    name: str
    figure: Figure
    height: int = 360
    min_width: int = 0


@dataclass(frozen=True)
class Link:
    """A table cell's text that links to an address."""

    text: str
    address: str


@dataclass(frozen=True)
class Table:
    """Rows of text below a head, if there is one; the rows in `marked` are highlighted."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Link]]
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Card:
    """A result that a reader should see first: a label, its value, and a note."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading.
        text: Paragraphs below the heading.
        charts: Charts, side by side if there are several and there is room.
        tables: Tables below the charts.
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
        lead: A line below the heading.
        cards: Results that a reader should see first.
        sections: The rest, from top to bottom.
    """

    title: str
    lead: str
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = field(default_factory=list)


def render(page: Page) -> str:
    """Write a page as HTML, with Plotly in it.

    Args:
        page: The content; all text is shown literally, whatever characters it contains.
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
    # The only part that is trusted as HTML.
    plotly = Markup(get_plotlyjs())
    return encodable(environment.get_template("template.html").render(**content, plotly=plotly))


def _data_uri(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
