"""`python -m tuner.report`: a page that shows a study, or compares all of an experiment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from tuner import cli, terminal
from tuner.config import load_report
from tuner.escapes import visible
from tuner.schema import ReportConfig

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tuner.reports.comparison_page import Compared


def main(composed: DictConfig) -> None:
    """Make the report of a study, or of all studies of an experiment."""
    config = load_report(composed)
    from tuner import images, records, reports, store
    from tuner.logs import native_noise_to

    drawings: list[Path] = []
    if config.drawings is not None:
        drawings = images.find(Path(config.drawings), "drawings")
        images.check(drawings)
    store.check_is_there(config.tracking.uri)
    client = store.connect(config.tracking.uri)
    runs = records.find_studies(client, config.tracking.experiment, config.study)
    path = _path(config)
    experiment = config.tracking.experiment
    where = "all experiments" if experiment is None else f"experiment {experiment}"
    compared = None
    # What TensorFlow says of itself, where models are loaded.
    with native_noise_to(Path(os.devnull)):
        if config.study is not None:
            reports.report_study(client, _of_folder(config.study, runs), path, drawings)
        else:
            compared = reports.report_studies(client, runs, where, path, drawings)
    if compared is not None:
        _print_models(compared)
    print(f"Report: {visible(str(path))}")


def _path(config: ReportConfig) -> Path:
    from tuner.folder import EXPERIMENTS_DIR
    from tuner.reports import REPORT

    if config.output is not None:
        return Path(config.output)
    if config.study is None:
        return EXPERIMENTS_DIR / REPORT
    folder = EXPERIMENTS_DIR / config.study
    # A folder made for it would look like a study's that is broken.
    return folder / REPORT if folder.is_dir() else EXPERIMENTS_DIR / f"{config.study}.html"


def _of_folder(name: str, runs: Sequence[Run]) -> Run:
    """Of several studies of one name, take the one whose folder is here, else the latest."""
    from tuner.folder import EXPERIMENTS_DIR, StudyFolder

    path = EXPERIMENTS_DIR / name
    if len(runs) > 1 and (path / "study.json").exists():
        study_id = StudyFolder(path).state.study_id
        for run in runs:
            if run.data.tags["tuner.study_id"] == study_id:
                return run
    return runs[0]


def _print_models(compared: Sequence[Compared]) -> None:
    from rich.table import Table

    from tuner.reports.comparison_page import HEAD, models

    table = Table(*HEAD, box=None, pad_edge=False)
    for row in models(compared):
        table.add_row(*map(visible, row))
    terminal.console().print(table)


if __name__ == "__main__":
    cli.run(main, "commands/report", ReportConfig)
