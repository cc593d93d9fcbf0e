"""`python -m tuner.report`, run as a user runs it."""

from pathlib import Path

import mlflow
import pytest

from support.commands import command
from support.studies import FinishedStudy
from tuner.reports import gather
from tuner.study import records


@pytest.mark.slow
def test_search_ends_with_a_report_and_says_who_is_tied(
    finished_study: FinishedStudy,
) -> None:
    report = finished_study.folder / "experiments" / "first" / "report.html"
    assert report.exists()
    lines = finished_study.printed.stdout.splitlines()
    assert "Report: experiments/first/report.html" in lines
    assert any("validation images (95 %)" in line for line in lines)
    assert any("360 images)" in line for line in lines)
    client = mlflow.MlflowClient(finished_study.uri)
    [run] = records.find_studies(client, None)
    assert "report.html" in {file.path for file in client.list_artifacts(run.info.run_id)}
    times = gather.read_study(client, run).metrics
    assert times["worker_seconds"] == pytest.approx(2 * times["seconds"])
    spent = sum(times[f"{what}_seconds"] for what in ("waiting", "recording", "proposing"))
    assert 0 < spent <= times["seconds"]


@pytest.mark.slow
def test_command_compares_studies_on_drawings(
    finished_study: FinishedStudy, drawings: Path, tmp_path: Path
) -> None:
    done = command(
        finished_study.folder,
        "report",
        "tracking.experiment=digits",
        f"drawings={drawings}",
        f"output={tmp_path}/compared.html",
    )
    assert (done.returncode, done.stderr) == (0, "")
    head, row, last = done.stdout.splitlines()
    assert head.split("  ")[0] == "model"
    assert row.startswith("mlp, first 000")
    assert " of 30)" in row
    assert last == f"Report: {tmp_path}/compared.html"
    assert "experiment digits" in (tmp_path / "compared.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_command_writes_beside_the_folder_of_a_study_that_is_not_here(
    finished_study: FinishedStudy, tmp_path: Path
) -> None:
    done = command(tmp_path, "report", "study=first", f"tracking.uri={finished_study.uri}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Report: experiments/first.html\n"
    assert not (tmp_path / "experiments" / "first").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "status", "message"),
    [
        (["study=frist"], 2, "There is no study 'frist' in this tracking store. Did you mean"),
        (["study=../x"], 2, "`study` must be letters, digits"),
        (["tracking.experiment=none"], 2, "holds no study; these do: digits."),
        (["drawings=nowhere"], 2, "`drawings` must be an image file or a folder"),
        (["output=report.pdf"], 2, "`output` must be the name of a .html"),
        (["tracking.uri=sqlite:///other.db"], 2, "There is no tracking store"),
        (["tracking.uri=http://127.0.0.1:9"], 1, "must be an MLflow server that answers"),
    ],
)
def test_command_refuses_with_one_message(
    finished_study: FinishedStudy, overrides: list[str], status: int, message: str
) -> None:
    before = sorted(finished_study.folder.rglob("*.html"))
    done = command(finished_study.folder, "report", *overrides)
    assert done.returncode == status
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(finished_study.folder.rglob("*.html")) == before
