"""The notebook of the documentation does what it shows."""

import os
import re
import socket
from pathlib import Path
from typing import Any

import nbformat
import pytest

from support.modules import module_at
from support.paths import ROOT

PATH = ROOT / "docs" / "tutorial.ipynb"
MAX_BYTES = 100_000


@pytest.fixture(scope="module")
def rerun_tutorial() -> Any:
    return module_at(ROOT / "docs" / "rerun_tutorial.py")


def shown(notebook: Any) -> dict[str, str]:
    """Return the text that each cell shows, by its source, without what is drawn live."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        texts = [
            output["text"]
            if output["output_type"] == "stream"
            else output["data"]["text/plain"]
            for output in cell.outputs
            if output["output_type"] == "stream" or output["data"].get("text/html") != ""
        ]
        found[cell.source] = "".join(texts)
    return found


@pytest.mark.slow
def test_tutorial_runs_and_shows_what_is_kept_of_it(
    rerun_tutorial: Any, tmp_path: Path
) -> None:
    kept = nbformat.read(PATH, as_version=4)
    notebook = nbformat.read(PATH, as_version=4)
    rerun_tutorial.execute(notebook, tmp_path)
    now, before = shown(notebook), shown(kept)
    assert now.keys() == before.keys()
    # The scores are the same wherever it runs; times, ids and the order of trials are not.
    for source, text in now.items():
        assert best_of(text) == best_of(before[source]), source
    assert (tmp_path / "experiments" / "tutorial" / "report.html").exists()
    assert "now production" in "".join(now.values())


def best_of(text: str) -> list[str]:
    """Return which trial is the best with which score, and what was predicted."""
    return re.findall(
        r"Best of \d+ trials: \d+|^  val_accuracy [\d.]+|predicted: .*", text, re.M
    )


def test_tutorial_keeps_small_outputs_without_traces_of_a_machine() -> None:
    text = PATH.read_text(encoding="utf-8")
    assert len(text) < MAX_BYTES
    for trace in (str(ROOT), str(Path.home()), socket.gethostname(), os.sep + "tmp"):
        assert trace not in text
    cells = [c for c in nbformat.reads(text, as_version=4).cells if c.cell_type == "code"]
    assert all(cell.outputs for cell in cells)
    names = [output.get("name") for cell in cells for output in cell.outputs]
    assert "stderr" not in names
