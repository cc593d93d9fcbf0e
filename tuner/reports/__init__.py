"""Reports: pages that show a study, or several side by side.

`gather` reads MLflow's records into the plain data of `records`; `charts`, `coordinates` and
`summaries` draw them, and `progress` several searches; `verdicts` compares their models;
`study_page`, with `overview` and `finalists`, and `comparison_page` lay out the content; `page`
writes it as HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner import names
from tuner.runtime import files

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import Run

    from tuner.images.image_files import Chosen
    from tuner.reports.comparison_page import Compared
    from tuner.reports.records import OnDrawings, StudyRecord

REPORT = names.REPORT


def report_study(
    client: mlflow.MlflowClient, run: Run, path: Path, drawings: Chosen | None = None
) -> None:
    """Write the report of a study, and log it as a file of the study's run.

    Args:
        client: Client of the store that holds the study.
        run: The study's run.
        path: File to write; in the run it is always named `report.html`.
        drawings: Image files for the best model to classify too.

    Raises:
        StudyError: If it has no finished trial.
    """
    from tuner.errors import StudyError
    from tuner.reports import gather
    from tuner.reports.page import render
    from tuner.reports.study_page import study_page

    study = gather.read_study(client, run)
    if not study.finished:
        counts = f"{len(study.failed)} failed, {len(study.trials)} started"
        raise StudyError(
            f"Study {study.name!r} has no finished trial to report ({counts}): wait for the "
            f"first one, or see in MLflow why they fail."
        )
    details = gather.read_details(client, study)
    text = render(study_page(study, details, _on_drawings(client, drawings, study)))
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, text)
    client.log_text(study.run_id, text, REPORT)


def report_studies(
    client: mlflow.MlflowClient,
    runs: Sequence[Run],
    title: str,
    path: Path,
    drawings: Chosen | None = None,
) -> list[Compared]:
    """Write a report that compares studies.

    Args:
        client: Client of the store that holds the studies.
        runs: The studies' runs, at least one.
        title: The page's heading, such as `Studies in experiment digits`.
        path: File to write.
        drawings: Image files for each study's best model to classify too.

    Returns:
        The studies that it shows.

    Raises:
        StudyError: If none of them has a finished trial.
    """
    from tuner.errors import StudyError
    from tuner.reports import gather
    from tuner.reports.comparison_page import Compared, comparison_page, tell_apart
    from tuner.reports.page import render

    studies = [gather.read_study(client, run) for run in runs]
    digests = [study.data.digest for study in studies if study.finished and study.data]
    compared = []
    for study in studies:
        standing = found = wrong = None
        if study.finished:
            standing = gather.read_standing(client, study)
            found = _on_drawings(client, drawings, study)
            if study.data is not None and digests.count(study.data.digest) > 1:
                wrong = gather.read_wrong(client, study)
        compared.append(Compared(study, standing, found, wrong))
    compared = tell_apart(compared)
    if not any(one.study.finished for one in compared):
        raise StudyError(
            f"None of these studies has a finished trial to report ({title}: {len(compared)}): "
            f"wait for the first one, or see in MLflow why they fail."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, render(comparison_page(compared, title)))
    return compared


def _on_drawings(
    client: mlflow.MlflowClient, drawings: Chosen | None, study: StudyRecord
) -> OnDrawings | None:
    if drawings is None:
        return None
    from tuner.reports.on_drawings import measure

    return measure(drawings, study.model.run_id, client.tracking_uri)
