"""`python -m tuner.predict`, run as a user runs it, on a real champion."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.commands import command
from support.drawings import write_drawings
from support.studies import FinishedStudy
from tuner.datasets import ImageData
from tuner.tracking import checksums
from tuner.tracking.tracking_store import connect

NAME = "digits-classifier"
CHAMPION = f"model=models:/{NAME}@champion"


@pytest.fixture(scope="module", autouse=True)
def _tagged(finished_study: FinishedStudy) -> None:
    """Record the checksum of the champion's file in the registry."""
    client = connect(finished_study.uri)
    files = Path(client.get_model_version_download_uri(NAME, "1"))
    digest = checksums.sha256_of(files / checksums.MODEL_FILE)
    client.set_model_version_tag(NAME, "1", checksums.TAG, digest)


@pytest.fixture
def drawings(digits: ImageData, tmp_path: Path) -> Path:
    """Four test images of every class as PNG files, each in its class's folder."""
    return write_drawings(digits, tmp_path / "drawings", 4)


def test_predict_prints_a_table_and_how_often_it_is_right(
    finished_study: FinishedStudy, drawings: Path
) -> None:
    done = command(finished_study.folder, "predict", f"images={drawings}", f"model={NAME}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["file", "predicted", "probability"]
    rows = [line.split() for line in lines[1:41]]
    assert all(row[0].endswith(".png") and 0.1 <= float(row[2]) <= 1 for row in rows)
    hits = sum(Path(row[0]).parent.name == row[1] for row in rows)
    expected = f"{hits / 40:.4f} ({hits} right, {40 - hits} wrong)"
    assert "40 files" in done.stdout
    assert expected in done.stdout
    matrix = [line.split()[1:] for line in lines[-10:]]
    assert sum(int(row[i]) for i, row in enumerate(matrix) if row[i] != "·") == hits


def test_predict_without_known_classes_prints_no_score(
    finished_study: FinishedStudy, drawings: Path, tmp_path: Path
) -> None:
    path = tmp_path / "unknown.png"
    next(iter(drawings.rglob("*.png"))).rename(path)
    # The only champion there is.
    done = command(finished_study.folder, "predict", f"images={path}")
    assert done.returncode == 0, done.stderr
    assert "unknown.png" in done.stdout
    assert "accuracy" not in done.stdout


def test_predict_reads_files_as_training_does(
    finished_study: FinishedStudy, digits: ImageData, tmp_path: Path
) -> None:
    folder = tmp_path / "drawings"
    [seven, *_] = digits.test.images[digits.test.labels == 7]
    deep = folder / "7" / "batch"
    deep.mkdir(parents=True)
    Image.fromarray(seven).save(deep / "1.png")
    Image.fromarray(seven).save(deep / "2.pgm")
    Image.fromarray(seven).resize((80, 80)).save(folder / "7" / "3.tif")
    Image.new("RGBA", (60, 60)).save(folder / "7" / "clear.png")
    Image.new("L", (60, 60)).save(folder / "7" / "black.png")
    # Some are skipped, others are left out and named.
    (folder / "7" / "._1.png").write_bytes(b"\0\5\x16\7")
    (folder / "7" / "1.json").write_text("{}")
    (folder / "__MACOSX").mkdir()
    (folder / "7" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "7" / "up").symlink_to("..")
    done = command(finished_study.folder, "predict", f"images={folder}", CHAMPION, "show=true")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[1:6]}
    assert list(rows) == [
        "7/3.tif", "7/batch/1.png", "7/batch/2.pgm", "7/black.png", "7/clear.png",
    ]  # fmt: skip
    assert rows["7/clear.png"] == rows["7/black.png"] == ["no", "ink"]
    assert rows["7/batch/1.png"] == rows["7/batch/2.pgm"]
    hits = sum(row[0] == "7" for row in rows.values())
    said = f"{hits / 5:.4f} ({hits} right, {5 - hits} wrong"
    assert f"{said}, 2 of them without ink)" in done.stdout
    assert "Left out 2 of 7 files:" in done.stderr
    assert "torn.png must be an image, but its format is unknown" in done.stderr
    assert "up is a link to a folder that contains it" in done.stderr


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["images=nowhere", CHAMPION], "nowhere does not exist"),
        (["images=empty.png", CHAMPION], "empty.png must be an image, but is empty (0 bytes)"),
        (["images=text.png", CHAMPION], "text.png must be an image, but its format is unknown"),
        (
            ["images=good.png", "model=models:/cats@champion"],
            f"registered here: {NAME}",
        ),
        (["images=good.png", f"model=models:/{NAME}/9"], "there is no version 9"),
    ],
    ids=["no_file", "empty", "text", "no_such_model", "no_such_version"],
)
def test_predict_mistake_gets_one_message(
    finished_study: FinishedStudy, tmp_path: Path, overrides: list[str], message: str
) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("I am no image.")
    Image.new("L", (8, 8)).save(tmp_path / "good.png")
    done = command(tmp_path, "predict", *overrides, MLFLOW_TRACKING_URI=finished_study.uri)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


NAMES = (
    "[/]",
    "bird[juvenile]",
    "[red]x",
    "=SUM(1+1)",
    "$x$",
    "a\nb",
    "c\x1b[31md",
    "<b>",
    ":cat:",
    "数据",
)
"""Names of classes that are code to somebody."""


@pytest.mark.long
def test_names_are_shown_as_they_are_from_search_to_report(
    tmp_path: Path, digits: ImageData
) -> None:
    train, test = digits.train, digits.test
    np.savez(
        tmp_path / "odd.npz", x_train=train.images, y_train=train.labels, x_test=test.images,
        y_test=test.labels, class_names=NAMES,
    )  # fmt: skip
    given = [
        "data=npz",
        "data.path=odd.npz",
        "executor=serial",
        "search=grid",
        "space.epochs=1",
        "study=odd",
    ]
    searched = command(
        tmp_path, "search", *given, "space.units=8", "registry.name=my model (1)"
    )
    assert (searched.returncode, searched.stderr) == (0, "")
    for name in NAMES[:4]:
        folder = tmp_path / "my images, 1" / name.replace("/", "_")
        folder.mkdir(parents=True)
        Image.fromarray(test.images[0]).save(folder / "c\x1b[31md\nx.png")
    done = command(
        tmp_path, "predict", "images=my images, 1", "model=my model (1)", "show=true",
        LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "bird[juvenile]/c\\x1b[31md\\nx.png" in done.stdout
    head = next(line for line in done.stdout.splitlines() if line.startswith("true"))
    for name in ("[/]", "bird[juvenile]", "[red]x", "a\\nb", "c\\x1b[31md", ":cat:", "\\u6570"):
        assert name in head
    assert (
        b"<b>"
        not in (tmp_path / "experiments/odd/report.html").read_bytes().split(b"<script>")[0]
    )
