"""Takes the pictures of pages in the README and in `docs/` again.

In an empty folder, run the README's search on MNIST, and let MLflow show it:

    python -m tuner.search data=mnist data.path=mnist.npz search=grid \
        'space.epochs=[2,4]' 'space.units=[64,128]' study=first search.finalists=null
    mlflow ui

and draw with it:

    python -m tuner.demo model=models:/mnist-classifier@champion

In another folder, run a search of more trials, whose report is shown:

    python -m tuner.search +experiment=quick_mnist search.max_trials=40 data.path=mnist.npz \
        search.finalists=null study=quick

Then, in the project's root and with Debian's Chromium:

    python docs/screenshots.py http://127.0.0.1:5000 <folder>/experiments/quick/report.html \
        http://127.0.0.1:7860

writes `mlflow-study.png`, `mlflow-trial.png`, `mlflow-model.png`, `report.png` and `demo.png`
into `docs/images/`, and fetches the champion's confusion matrix, `confusion-matrix.png`.

While a search runs, `python -m tuner.watch` prints the address of its page, and

    python docs/screenshots.py <address>

writes `watch.png`.
"""

import io
import json
import re
import shutil
import sys
from pathlib import Path

import mlflow
from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
WIDTH = 1100
"""Of a page, in CSS pixels: little more than a README has, so that text stays readable."""

NUM_COLOURS = 128
"""Enough for MLflow's pages, and few enough for a small file."""

STUDY = "first"
MODEL = "mnist-classifier"
COLUMNS = ("val_accuracy", "test_accuracy", "epochs", "units_1", "units_2")
CURVES = "^loss|^val"
# A seven, of points whose coordinates are shares of the sheet.
DRAWN = ((0.3, 0.25), (0.7, 0.25), (0.45, 0.8))

# What MLflow's pages keep in the browser: no chat beside the page.
SETTINGS = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.workflowType_v1": json.dumps("machine_learning"),
}


def main(address: str, report: str, demo: str) -> None:
    """Take all pictures: of MLflow's pages and the one to draw on, and of a report."""
    client = mlflow.MlflowClient(address)
    version = client.get_model_version_by_alias(MODEL, "champion")
    experiment = client.get_run(str(version.run_id)).info.experiment_id
    matrix = client.download_artifacts(str(version.run_id), "confusion_matrix.png")
    shutil.copy(matrix, IMAGES / "confusion-matrix.png")
    base = f"{address}/#/experiments/{experiment}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = browser.new_context(
            viewport={"width": WIDTH, "height": 2400}, device_scale_factor=1.5
        )
        context.add_init_script(f"Object.assign(localStorage, {json.dumps(SETTINGS)})")
        page = context.new_page()
        page.goto(f"{base}/runs?orderByKey=attributes.start_time&orderByAsc=true")
        page.get_by_label("Toggle sidebar").click()
        take_study(page)
        page.goto(f"{base}/runs/{version.run_id}/model-metrics")
        take_trial(page)
        page.goto(f"{address}/#/models/{MODEL}/versions/{version.version}")
        take_model(page)
        page.set_viewport_size({"width": 1000, "height": 2400})
        page.goto(Path(report).resolve().as_uri())
        take_report(page)
        page.set_viewport_size({"width": 1000, "height": 900})
        page.goto(demo)
        take_demo(page)
        browser.close()


def watch(address: str) -> None:
    """Take the picture of the page of a study that runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = browser.new_context(
            viewport={"width": 1000, "height": 1400}, device_scale_factor=1.5
        )
        page = context.new_page()
        page.goto(address)
        page.locator("#curves .point").first.wait_for()
        # No reader needs to know in which folder the study runs.
        page.locator(".lead").evaluate(
            "lead => { lead.textContent = lead.textContent.replace(/ in [^,]*,/, ','); }"
        )
        _take(
            page, "watch.png", page.locator("section").filter(has=page.locator("#curves")), 12
        )
        browser.close()


def take_study(page: Page) -> None:
    """Show the study with its trials, and the columns in which they differ."""
    study = page.get_by_role("row").filter(has=page.get_by_role("link", name=STUDY, exact=True))
    study.get_by_role("button").first.click()
    page.get_by_role("button", name="Columns").click()
    for name in ("Dataset", "Source", "Models", *COLUMNS):
        page.get_by_placeholder("Search columns").fill(name)
        # What was found is marked within the name, so the name has no element of its own.
        titles = page.locator(".du-bois-light-tree-title")
        titles.filter(has_text=re.compile(f"^{name}$")).click()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Runs").click()
    last = page.get_by_role("row").filter(has=page.get_by_role("link", name=f"0007 {STUDY}"))
    _take(page, "mlflow-study.png", last.first)


def take_trial(page: Page) -> None:
    """Show the curves of a trial."""
    # What is asked for before there are charts is forgotten when they come.
    unwanted = page.get_by_text("(accuracy)")
    unwanted.wait_for()
    page.get_by_placeholder("Search metric charts").fill(CURVES)
    unwanted.wait_for(state="detached")
    _take(page, "mlflow-trial.png", page.get_by_text("(val_loss)"))


def take_model(page: Page) -> None:
    """Show a version of the registered model."""
    page.get_by_text("Inputs (1)").click()
    page.get_by_text("Outputs (1)").click()
    _take(page, "mlflow-model.png", page.get_by_text("Tensor (dtype: float32"))


def take_report(page: Page) -> None:
    """Show the beginning of a report, down to its first chart."""
    _take(
        page, "report.png", page.locator("section").filter(has_text="How the search went"), 12
    )


def take_demo(page: Page) -> None:
    """Draw a digit."""
    sheet = page.locator("#sheet canvas")
    sheet.wait_for()
    box = sheet.bounding_box()
    assert box is not None
    for i, (right, down) in enumerate(DRAWN):
        page.mouse.move(
            box["x"] + right * box["width"], box["y"] + down * box["height"], steps=10
        )
        if i == 0:
            page.mouse.down()
    page.mouse.up()
    _take(page, "demo.png", page.locator("#answer"))


def _take(page: Page, name: str, last: Locator, margin: int = 24) -> None:
    """Write a picture of a page, down to so many pixels below something on it."""
    last.wait_for()
    # Charts and opened rows move for a moment.
    page.wait_for_timeout(2000)
    box = last.bounding_box()
    assert box is not None
    height = box["y"] + box["height"] + margin
    width = page.evaluate("innerWidth")
    png = page.screenshot(clip={"x": 0, "y": 0, "width": width, "height": height})
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(NUM_COLOURS).save(IMAGES / name, optimize=True)
    print(name, (IMAGES / name).stat().st_size // 1024, "KB")


if __name__ == "__main__":
    watch(*sys.argv[1:]) if len(sys.argv) == 2 else main(*sys.argv[1:])
