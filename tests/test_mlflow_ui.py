"""What `mlflow ui` shows of a study, seen in a real browser."""

import json
import shutil
from collections.abc import Iterator

import mlflow
import pytest
from mlflow.entities import Run
from playwright.sync_api import Locator, Page, expect, sync_playwright

from support.servers import mlflow_serves
from support.studies import FinishedStudy

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="needs `chromium` on the PATH (apt-get install chromium)"
    ),
]

# Of a machine that does other work too.
expect.set_options(timeout=60_000)

TRAINING = "workflowType=machine_learning"
"""MLflow shows either what trains models or what asks language models, its default."""

HARMLESS = (
    # A server without users is asked for the user.
    "Failed to load resource: the server responded with a status of 404",
    # A browser's word for a layout that took more than a frame.
    "ResizeObserver loop",
)
"""Errors of MLflow's own pages, whatever they show."""


@pytest.fixture(scope="module")
def address(finished_study: FinishedStudy) -> Iterator[str]:
    """Where `mlflow ui` listens, started in the study's folder as docs/report.md says."""
    with mlflow_serves(
        finished_study.folder, "ui", *("--workers", "1"), ready="/health"
    ) as address:
        yield f"{address}/#"


@pytest.fixture(scope="module")
def trials(finished_study: FinishedStudy) -> list[Run]:
    """The two trials of two epochs, in order."""
    client = mlflow.MlflowClient(finished_study.uri)
    return client.search_runs(["1"], "params.epochs = '2'", order_by=["tags.`tuner.trial`"])


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser that has never been there; errors of its scripts fail the test."""
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: errors.append(message.text) if message.type == "error" else None,
        )
        yield page
        browser.close()
    assert [error for error in errors if not any(known in error for known in HARMLESS)] == []


def follow(link: Locator) -> None:
    """Go where a link leads. MLflow redraws its tables while they load, and on a busy machine
    a click may meet a row that is being replaced, and do nothing."""
    link.page.goto(link.evaluate("link => link.href"))


def test_experiment_lists_the_study_and_its_trials(address: str, page: Page) -> None:
    page.goto(f"{address}/experiments/1?{TRAINING}")
    study = page.get_by_role("row").filter(
        has=page.get_by_role("link", name="first", exact=True)
    )
    study.get_by_role("button").first.click()
    for trial in range(4):
        page.get_by_role("link", name=f"000{trial} first").wait_for()
    # Each has logged a model; the best trial's goes by the name it is registered with.
    expect(page.get_by_role("link", name="model", exact=True)).to_have_count(3)
    expect(page.get_by_role("link", name="digits-classifier")).to_have_count(1)
    page.get_by_text("5 matching runs").wait_for()


def test_two_trials_compared_show_their_values_and_curves(
    address: str, page: Page, trials: list[Run]
) -> None:
    names = [run.info.run_name for run in trials]
    ids = json.dumps([run.info.run_id for run in trials])
    page.goto(f'{address}/compare-runs?runs={ids}&experiments=["1"]&{TRAINING}')
    page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
    for name, first, second in (("epochs", "2", "2"), ("units_1", "8", "16")):
        row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
        assert row.inner_text().split() == [name, first, second]
    follow(page.get_by_role("link", name="val_loss", exact=True))
    for name in names:
        page.get_by_text(f"{name} (val_loss)").wait_for()
    # From the one epoch to the other. A curve is drawn twice: once to be seen, once to be hit.
    page.wait_for_function(
        """() => {
            const lines = [...document.querySelectorAll(".scatterlayer path.js-line")];
            const drawn = lines.map(line => line.getAttribute("d"));
            return new Set(drawn.filter(path => /^M[^L]+L[^L]+$/.test(path))).size === 2;
        }"""
    )


def test_trial_shows_its_confusion_matrix(address: str, page: Page, trials: list[Run]) -> None:
    page.goto(f"{address}/experiments/1/runs/{trials[0].info.run_id}/artifacts?{TRAINING}")
    page.get_by_text("confusion_matrix.png").click()
    picture = page.get_by_role("img").and_(page.locator("img[src^='blob:']"))
    picture.first.wait_for()
    assert picture.first.evaluate("image => image.naturalWidth") > 300


def test_model_shows_its_champion_and_what_it_takes(address: str, page: Page) -> None:
    page.goto(f"{address}/models/digits-classifier?{TRAINING}")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="Version 1"))
    expect(row).to_contain_text("champion")
    follow(row.get_by_role("link", name="Version 1"))
    page.get_by_text("Inputs (1)").click()
    page.get_by_text("Tensor (dtype: uint8, shape: [-1,8,8])").wait_for()
    follow(page.get_by_role("link", name="model", exact=True))
    expect(page.get_by_role("link", name="digits-classifier")).to_contain_text("v1")
    follow(page.get_by_role("link", name="Artifacts"))
    page.get_by_text("serving_input_example.json").click()
    page.get_by_text('"inputs":').first.wait_for()
