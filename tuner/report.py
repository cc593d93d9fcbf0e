"""`python -m tuner.report`: a page that shows a study, or compares all of an experiment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from tuner.cli import application
from tuner.config.compose import load_report, named
from tuner.config.schema import ReportConfig
from tuner.escapes import visible
from tuner.runtime import terminal
from tuner.wording import REPORT_AT

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tuner.reports.comparison_page import Compared


def main(composed: DictConfig) -> None:
    """Make the report of a study, or of all studies of an experiment."""
    config = load_report(composed)
    from tuner import reports
    from tuner.images import folders, image_files
    from tuner.runtime.logs import native_noise_to
    from tuner.study import records
    from tuner.tracking import tracking_store

    drawings = None
    if config.drawings is not None:
        # Decode every file once here, so that a damaged one is reported once, not per model.
        chosen = image_files.find(Path(config.drawings), "drawings")
        drawings = image_files.check(chosen, decode=True)
        folders.judge_left_out(drawings.left_out, drawings.num_files, drawings.root)
    client = tracking_store.connect_to_existing(config.tracking.uri)
    experiment = config.tracking.experiment
    where = "all experiments" if experiment is None else f"experiment {experiment}"
    names = named(config.study)
    compared = None
    # Keeps TensorFlow's own messages off the terminal while models are loaded.
    with native_noise_to(Path(os.devnull)):
        if len(names) == 1:
            run = records.choose(client, experiment, names[0])
            path = _path(config, run)
            reports.report_study(client, run, path, drawings)
        else:
            runs = [records.choose(client, experiment, name) for name in names]
            title = f"Studies {', '.join(names)}" if names else f"Studies in {where}"
            runs = runs or records.find_studies(client, experiment)
            path = _path(config, None)
            compared = reports.report_studies(client, runs, title, path, drawings)
    if compared is not None:
        _print_models(compared)
    print(f"{REPORT_AT}{visible(str(path))}")


def _path(config: ReportConfig, run: Run | None) -> Path:
    """Return the report's path; somebody else's study must not replace a report of ours."""
    from tuner.driver.study_folder import EXPERIMENTS_DIR, id_of_folder
    from tuner.reports import REPORT
    from tuner.tracking import history

    if config.output is not None:
        return Path(config.output)
    if run is None:
        return EXPERIMENTS_DIR / REPORT
    facts = history.read_study(run)
    here = id_of_folder(facts.name)
    if here == facts.study_id:
        return EXPERIMENTS_DIR / facts.name / REPORT
    # A folder made for it would look like a broken study.
    name = facts.name if here is None else f"{facts.name}-{facts.study_id[:8]}"
    return EXPERIMENTS_DIR / f"{name}.html"


def _print_models(compared: Sequence[Compared]) -> None:
    from rich.table import Table

    from tuner.reports.comparison_page import models, verdicts

    listed = models(compared)
    table = Table(*listed.head, box=None, pad_edge=False)
    for row in listed.rows:
        table.add_row(*(visible(str(cell)) for cell in row))
    console = terminal.console()
    console.print(table)
    for verdict in verdicts(compared):
        console.print(visible(str(verdict)))


if __name__ == "__main__":
    application.run(main, "commands/report", ReportConfig)
