"""Reports, looked at in a real browser."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from support.reports import made_up_details, made_up_study, replaced, with_finalists
from support.studies import FinishedStudy
from tuner.reports import comparison_page, page, study_page
from tuner.reports.comparison_page import Compared
from tuner.tracking.facts import TrialRecord


class Seen:
    """A report, open in a browser."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.page = browser.new_page(**context)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.wait_until_drawn(context.get("color_scheme", "light"))

    def wait_until_drawn(self, scheme: str) -> None:
        is_drawn = f"document.documentElement.dataset.drawn === '{scheme}'"
        self.page.wait_for_function(is_drawn, timeout=120_000)

    def turn(self, scheme: str) -> None:
        """Switch the colour scheme, as a reader's system does at dusk or dawn."""
        self.page.emulate_media(color_scheme=scheme)
        self.wait_until_drawn(scheme)

    def _note(self, kind: str, text: str) -> None:
        # Messages of a software graphics driver are no fault of the page.
        if "GPU stall due to ReadPixels" not in text:
            self.said.append(f"{kind}: {text}")

    def undrawn(self) -> list[str]:
        """Return the charts that show no traces."""
        return list(
            self.page.evaluate(
                """() => Object.keys(figures).filter((name) => {
                    const box = document.getElementById(name);
                    const shapes = box.querySelectorAll(
                        ".point, .js-line, .hm image, .parcoords .axis");
                    const canvases = box.querySelectorAll(".gl-container canvas");
                    return shapes.length + canvases.length === 0
                        || box.getBoundingClientRect().height < 80;
                })"""
            )
        )

    def colour_of_text(self) -> list[str]:
        """Return the colours of all axes' titles."""
        return list(
            self.page.evaluate(
                """() => [...new Set([...document.querySelectorAll(".xtitle")].map(
                    (title) => getComputedStyle(title).fill))]"""
            )
        )


@pytest.fixture(scope="module")
def large_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 5,000 made-up trials, some of which failed."""
    study = made_up_study(5000)
    failed = [
        TrialRecord(f"9{i}", "r", "FAILED", {}, {}, 2e9, f"ValueError: {i}", "infeasible")
        for i in range(30)
    ]
    path = tmp_path_factory.mktemp("large") / "report.html"
    whole = with_finalists(replaced(study, *failed))
    made = study_page.study_page(whole, made_up_details(study), None)
    path.write_text(page.render(made), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The comparison of three made-up studies, two of which say what they get wrong."""
    compared = [Compared(made_up_study(n, f"study {n}"), None, None) for n in (3, 40, 60)]
    for i, wrong in enumerate(({1, 2, 3}, {3})):
        study = compared[i].study
        metrics = {"test_wrong": float(len(wrong)), "test_right": 99.0 - len(wrong)}
        best = dataclasses.replace(study.best, metrics={**study.best.metrics, **metrics})
        study = dataclasses.replace(study, trials=[best, *study.ranked[1:]])
        compared[i] = Compared(study, None, None, frozenset(wrong))
    path = tmp_path_factory.mktemp("compared") / "report.html"
    made = comparison_page.comparison_page(compared, "Studies")
    path.write_text(page.render(made), encoding="utf-8")
    return path


@pytest.mark.slow
def test_report_of_a_real_study_is_drawn(finished_study: FinishedStudy, browser: Any) -> None:
    path = finished_study.folder / "experiments" / "first" / "report.html"
    seen = Seen(browser, path, viewport={"width": 1200, "height": 900})
    assert seen.said == []
    assert seen.undrawn() == []
    assert seen.page.locator(".js-plotly-plot").count() >= 7
    picture = seen.page.locator("section img")
    assert picture.evaluate("image => image.naturalWidth") > 100
    # Nothing is loaded from elsewhere.
    assert {url.split(":")[0] for url in seen.asked} <= {"file", "data", "blob"}


@pytest.mark.slow
def test_report_of_five_thousand_trials_is_drawn(large_report: Path, browser: Any) -> None:
    seen = Seen(browser, large_report, viewport={"width": 1200, "height": 900})
    assert seen.said == []
    assert seen.undrawn() == []
    assert seen.page.locator("#history .gl-container canvas").count() > 0


def constraint(seen: Seen) -> Any:
    return seen.page.evaluate(
        "document.getElementById('coordinates').data[0].dimensions.map(d => d.constraintrange)"
    )


@pytest.mark.slow
def test_brushing_parallel_coordinates_filters(
    finished_study: FinishedStudy, browser: Any
) -> None:
    path = finished_study.folder / "experiments" / "first" / "report.html"
    seen = Seen(browser, path, viewport={"width": 1200, "height": 900})
    chart = seen.page.locator("#coordinates")
    chart.scroll_into_view_if_needed()
    assert not any(constraint(seen))
    axes = chart.locator(".axis-brush")
    box = axes.last.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    seen.page.mouse.move(x, box["y"] + 0.1 * box["height"])
    seen.page.mouse.down()
    for share in (0.2, 0.3, 0.4):
        seen.page.mouse.move(x, box["y"] + share * box["height"])
    seen.page.mouse.up()
    seen.page.wait_for_function(
        """() => document.getElementById("coordinates").data[0].dimensions
            .at(-1).constraintrange"""
    )
    low, high = constraint(seen)[-1]
    scores = seen.page.evaluate(
        "document.getElementById('coordinates').data[0].dimensions.at(-1).values"
    )
    assert min(scores) < low < high
    # The colours of the page change, and the brush stays.
    seen.turn("dark")
    assert constraint(seen)[-1] == [low, high]
    assert seen.said == []


@pytest.mark.slow
def test_report_is_light_or_dark_as_the_reader_has_it(
    finished_study: FinishedStudy, browser: Any
) -> None:
    path = finished_study.folder / "experiments" / "first" / "report.html"
    seen = Seen(browser, path, color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light, ink = seen.page.evaluate(background), seen.colour_of_text()
    seen.turn("dark")
    assert seen.page.evaluate(background) != light
    # All of them, and at once: no chart is left in the other colours.
    assert len(ink) == len(seen.colour_of_text()) == 1
    assert seen.colour_of_text() != ink
    assert seen.said == []


@pytest.mark.slow
def test_report_fits_on_a_phone(
    finished_study: FinishedStudy, large_report: Path, comparison: Path, browser: Any
) -> None:
    small = finished_study.folder / "experiments" / "first" / "report.html"
    for path in (small, large_report, comparison):
        seen = Seen(browser, path, viewport={"width": 390, "height": 800})
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert seen.undrawn() == []
        assert seen.said == []
        seen.page.close()
