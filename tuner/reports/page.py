"""A page of charts, tables and pictures: one HTML file that needs no network."""

from __future__ import annotations

import base64
import functools
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuner.escapes import encodable
from tuner.reports.plotting import Figure

if TYPE_CHECKING:
    from jinja2 import Environment


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


@dataclass(frozen=True)
class Part:
    """A part of a page as HTML, for a page whose parts change while it is looked at.

    Attributes:
        key: What it is called in the page; two pages may have parts of the same key.
        html: Its content, one element.
        figures: The charts that are drawn in it, by name.
    """

    key: str
    html: str
    figures: Mapping[str, Figure] = field(default_factory=dict)


def render(page: Page) -> str:
    """Write a page as HTML, with Plotly in it.

    Args:
        page: The content; all text is shown literally, whatever characters it contains.
    """
    from markupsafe import Markup

    figures = {
        chart.name: chart.figure for section in page.sections for chart in section.charts
    }
    # The only parts that are trusted as HTML.
    trusted = {
        "css": Markup(asset("report.css")),
        "script": Markup(asset("charts.js")),
        "plotly": Markup(plotly()),
    }
    template = environment().get_template("template.html")
    return encodable(template.render(page=page, figures=figures, **trusted))


def parts_of(page: Page) -> list[Part]:
    """Return a page's parts, from top to bottom; see `render`."""
    return [
        part("head", "head", page),
        *([part("cards", "cards", page.cards)] if page.cards else []),
        *map(part_of, page.sections),
    ]


def part_of(section: Section) -> Part:
    """Return a section as a part, whose key is its title."""
    figures = {chart.name: chart.figure for chart in section.charts}
    return part(section.title, "section", section, figures)


def part(
    key: str, macro: str, content: object, figures: Mapping[str, Figure] | None = None
) -> Part:
    """Return a part of a page.

    Args:
        key: What it is called in the page.
        macro: What writes it, in `parts.html`.
        content: What the macro is given.
        figures: The charts that are drawn in it, by name.
    """
    made = getattr(environment().get_template("parts.html").module, macro)
    return Part(key, encodable(str(made(content))).strip(), figures or {})


def asset(name: str) -> str:
    """Return a file that pages with charts need: `report.css` or `charts.js`."""
    return (importlib.resources.files("tuner.reports") / name).read_text(encoding="utf-8")


def plotly() -> str:
    """Return the script that draws charts."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@functools.cache
def environment() -> Environment:
    """Return what fills the templates; it escapes all text."""
    from jinja2 import Environment, PackageLoader

    made = Environment(
        loader=PackageLoader("tuner.reports", "."), autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.policies["json.dumps_kwargs"] = {
        "allow_nan": False,
        "ensure_ascii": False,
        "separators": (",", ":"),
    }
    made.filters["data_uri"] = _data_uri
    return made


def _data_uri(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
