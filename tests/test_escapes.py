"""Names are not code, in whatever output they occur."""

import csv
import io
import json
import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table

from tuner.datasets import ImageData, exploration
from tuner.escapes import csv_cell, encodable, markdown_cell, message, visible
from tuner.evaluation.measures import evaluate
from tuner.figures import draw_overview
from tuner.reports.page import Card, Page, Section, render
from tuner.reports.page import Table as PageTable
from tuner.runtime import terminal
from tuner.worker import trial_files

NAMES = (
    "[/]", "bird[juvenile]", "[red]x", "[bold red]x[/]", ":cat:",
    "=HYPERLINK(\"http://x\")", "@SUM(1+1)",
    "+1", "-1", "\tx", "\rx", "\nx", " =1", "a\nb", "c\x1b[31md", "\x1b]8;;http://x\x07y",
    "\x9b31m", "\x7f",
    "\x00", "gr\udcfcn", "\ud800", "$x$", "a_b$", "$\\frac{", "<b>x</b>",
    "<script>alert(1)</script>",
    "a|b", "`x`", "*x*", "[x](http://y)", "\u202eabc", "\u2028x", "数据", "Größe", "{{ 1 }}",
    "%{x}", '"', "'",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_visible_leaves_nothing_that_moves_a_terminal(name: str) -> None:
    shown = visible(name)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert "\u202e" not in shown
    shown.encode()
    if name.isprintable() and "\u202e" not in name:
        assert shown == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n  b", "a\n  b"),
        ("a\nError: b", "a\\nError: b"),
        ("c\x1b[2Jd", "c\\x1b[2Jd"),
        ("gr\udcfcn", "gr\\xfcn"),
        ("\ud800", "\\ud800"),
        ("a\r\n  b\tc", "a\\r\n  b\\tc"),
    ],
)
def test_message_keeps_its_own_lines_only(text: str, expected: str) -> None:
    assert message(text) == expected


@pytest.mark.parametrize("name", NAMES)
def test_console_prints_names_as_they_are(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(visible(name), box=None, pad_edge=False)
    table.add_row(visible(name))
    terminal.console().print(table)
    terminal.console(soft_wrap=True).print(message(name))
    printed = capsys.readouterr().out
    assert printed.count(visible(name).strip()) >= 3
    assert printed.count("\n") == 3
    assert "\x1b" not in printed


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_streams_take_what_their_encoding_cannot_hold(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding=encoding))
    terminal.prepare_streams()
    print("a · b … Größe 数据 gr\udcfcn")
    terminal.console().print("·")
    sys.stdout.flush()
    shown = written.getvalue().decode(encoding)
    assert shown.startswith("a . b ... Gr\\xf6\\xdfe" if encoding == "ascii" else "a · b ")


def test_streams_that_cannot_be_told_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("sys.stderr", None)
    terminal.prepare_streams()


@pytest.mark.parametrize("name", NAMES)
def test_csv_cell_is_no_formula(name: str) -> None:
    cell = csv_cell(name)
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell.removeprefix("'") == encodable(name).removeprefix("'")


@pytest.mark.parametrize("name", NAMES)
def test_markdown_cell_ends_no_cell(name: str) -> None:
    cell = markdown_cell(name)
    assert "<" not in cell
    assert "\n" not in cell
    assert cell.replace("\\|", "").count("|") == 0
    assert "](" not in cell.replace("\\]", "")


def test_files_of_a_trial_take_any_names(few_digits: ImageData, tmp_path: Path) -> None:
    """All the names at once, as classes: pictures, tables and JSON are written, silently."""
    rng = np.random.default_rng(0)
    num_classes = len(NAMES)
    labels = np.arange(60) % num_classes
    test = type(few_digits.test)(few_digits.test.images[:60], labels)
    probabilities = rng.dirichlet(np.ones(num_classes), 60).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = trial_files.write(
            evaluate(probabilities, labels), probabilities, test, NAMES, tmp_path
        )
        data = ImageData("a\nb\udcfc", NAMES, "d", test, test, test)
        found = exploration.explore(data)
        draw_overview(exploration.overview(data, found), tmp_path / "data.png")
    assert all(path.stat().st_size for path in paths)
    with (tmp_path / "wrong_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert {row[1] for row in rows[1:]} <= {csv_cell(name) for name in NAMES}
    assert json.loads((tmp_path / "confusion_matrix.json").read_text())["class_names"] == list(
        NAMES
    )


def test_report_takes_any_names() -> None:
    page = Page(
        "x".join(NAMES),
        NAMES[1],
        [Card(name, name, name) for name in NAMES],
        [
            Section(name, [name], tables=[PageTable((name,), [(name,)])], code=name)
            for name in NAMES
        ],
    )
    written = render(page).encode()
    assert b"<script>alert" not in written
    assert b"<b>x</b>" not in written
