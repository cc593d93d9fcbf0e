"""A recorded study as Python sees it: its trials and curves as tables, its best model."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas
from mlflow.entities import Run

from tuner.driver.study_folder import EXPERIMENTS_DIR, is_running
from tuner.study import records
from tuner.tracking import history, tracking_store
from tuner.tracking.history import StudyFacts, TrialRecord
from tuner.trial import Metrics, Objective, Values

if TYPE_CHECKING:
    from tuner.classifier.safe_loading import Classifier

STATES = {
    "RUNNING": "running",
    "SCHEDULED": "running",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "interrupted",
}
"""What MLflow's states of a run mean for a study."""


@dataclass(frozen=True)
class Trial:
    """One finished trial of a study.

    Attributes:
        trial_id: Its name in the study, such as `0003`.
        values: One point of the space, such as `{"epochs": 6, "units_1": 128}`.
        score: The objective after its last epoch.
        metrics: The last value of every metric that was recorded.
        run_id: Id of its run in MLflow.
    """

    trial_id: str
    values: Values
    score: float
    metrics: Metrics
    run_id: str
    _tracking_uri: str = field(repr=False, default="")

    def load(self) -> Classifier:
        """Load its model; see `tuner.load`.

        Raises:
            UserError: If its model was not logged, or cannot be loaded safely.
        """
        from tuner.classifier.safe_loading import load

        return load(f"runs:/{self.run_id}/model", tracking_uri=self._tracking_uri or None)

    def _repr_html_(self) -> str:
        rows = [("score", f"{self.score:.4f}"), *self.values.items(), ("run_id", self.run_id)]
        return _table(f"Trial {self.trial_id}", rows)


class Study:
    """A recorded study, read anew each time: it may still be running.

    Args:
        client: Client of the store that holds it.
        run: MLflow's run of it.
        tracking_uri: Address of that store, as it was given; None for the default.
    """

    def __init__(
        self, client: mlflow.MlflowClient, run: Run, tracking_uri: str | None = None
    ) -> None:
        self._client = client
        self._run_id = str(run.info.run_id)
        self._tracking_uri = tracking_uri or ""
        self._facts = history.read_study(run)

    @property
    def name(self) -> str:
        """The study's name."""
        return self._facts.name

    @property
    def objective(self) -> Objective:
        """What it improves."""
        return self._facts.objective

    @property
    def state(self) -> str:
        """`running`, `finished`, `interrupted` or `failed`.

        A study of the current folder whose process has died is interrupted, whatever MLflow
        says of its run.
        """
        return state_of(history.read_study(self._client.get_run(self._run_id)))

    @property
    def trials(self) -> pandas.DataFrame:
        """All trials in the order in which they ended, a row each.

        Columns are `trial`, `state`, one for each hyperparameter and each metric, and `run_id`.
        A value that a trial does not have is missing.
        """
        rows = [
            {
                "trial": trial.trial_id,
                "state": trial.status.lower(),
                **trial.values,
                **trial.metrics,
                "run_id": trial.run_id,
            }
            for trial in self._trials()
        ]
        return pandas.DataFrame(rows, columns=_columns(rows, ("trial", "state"), ("run_id",)))

    @property
    def curves(self) -> pandas.DataFrame:
        """The learning curves: a row for each epoch of each trial.

        Columns are `trial`, `epoch` (from 1), and one for each metric that is measured after
        every epoch. MLflow is asked once for each trial and metric.
        """
        rows = []
        for trial in self._trials():
            points: dict[int, dict[str, float]] = {}
            for name in history.epoch_metrics(trial.metrics):
                for epoch, value in enumerate(
                    history.curve(self._client, trial.run_id, name), 1
                ):
                    points.setdefault(epoch, {})[name] = value
            rows += [
                {"trial": trial.trial_id, "epoch": epoch, **metrics}
                for epoch, metrics in sorted(points.items())
            ]
        return pandas.DataFrame(rows, columns=_columns(rows, ("trial", "epoch")))

    @property
    def best(self) -> Trial | None:
        """The best finished trial, the earlier of two that tie; None without any."""
        ranked = history.ranked(self._trials(), self.objective)
        if not ranked:
            return None
        best = ranked[0]
        return Trial(
            best.trial_id,
            best.values,
            best.metrics[self.objective.name],
            best.metrics,
            best.run_id,
            self._tracking_uri,
        )

    def report(self, path: Path | str | None = None) -> Path:
        """Write the study's report, and return where it lies.

        Args:
            path: File to write; None for `experiments/<study>/report.html`.

        Raises:
            StudyError: If no trial has finished yet.
        """
        from tuner import reports

        target = (
            Path(path) if path is not None else EXPERIMENTS_DIR / self.name / reports.REPORT
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        reports.report_study(self._client, self._client.get_run(self._run_id), target)
        return target

    def __repr__(self) -> str:
        """Show its name and state."""
        return f"Study({self.name!r}, {self.state})"

    def _repr_html_(self) -> str:
        best = self.best
        rows: list[tuple[str, object]] = [
            ("state", self.state),
            ("trials", len(self._trials())),
        ]
        if best is not None:
            rows += [("best trial", best.trial_id), (self.objective.name, f"{best.score:.4f}")]
            rows += best.values.items()
        return _table(f"Study {self.name}", rows)

    def _trials(self) -> list[TrialRecord]:
        facts = self._facts
        return history.trials(self._client, facts.experiment_id, facts.study_id)


def open_study(name: str, *, tracking_uri: str | None = None) -> Study:
    """Open a recorded study, also while it runs.

    Args:
        name: The study's name, or the beginning of its id.
        tracking_uri: Address of the store that holds it; None for `MLFLOW_TRACKING_URI`, and
            without that for `sqlite:///mlflow.db` in the current folder.

    Raises:
        StudyError: If there is no such study, or several are called so.
        UnavailableError: If the store does not answer.
    """
    client = tracking_store.connect_to_existing(tracking_uri)
    return Study(client, records.choose(client, None, name), tracking_uri)


def list_studies(*, tracking_uri: str | None = None) -> pandas.DataFrame:
    """List the studies of a store, the latest first.

    Args:
        tracking_uri: See `open_study`.

    Returns:
        A row for each study: `study`, `study_id`, `state`, `experiment`, `began` (UTC),
        `owner`, `objective`, `best` (its best score so far) and `run_id`.

    Raises:
        UnavailableError: If the store does not answer.
    """
    client = tracking_store.connect_to_existing(tracking_uri)
    experiments = history.experiments(client)
    rows = []
    for run in history.studies(client, experiments):
        facts = history.read_study(run)
        rows.append(
            {
                "study": facts.name,
                "study_id": facts.study_id,
                "state": state_of(facts),
                "experiment": experiments[facts.experiment_id],
                "began": pandas.Timestamp(facts.began, unit="s", tz="UTC"),
                "owner": facts.owner,
                "objective": facts.objective.name,
                "best": facts.best_score,
                "run_id": facts.run_id,
            }
        )
    columns = ["study", "study_id", "state", "experiment", "began", "owner", "objective"]
    return pandas.DataFrame(rows, columns=[*columns, "best", "run_id"])


def state_of(facts: StudyFacts) -> str:
    """Return the state of a study as its run and, where it is here, its folder tell it."""
    state = STATES[facts.status]
    is_here = state == "running" and records.id_of_folder(facts.name) == facts.study_id
    if is_here and not is_running(EXPERIMENTS_DIR / facts.name):
        return "interrupted"
    return state


def _columns(
    rows: Iterable[Mapping[str, object]], first: tuple[str, ...], last: tuple[str, ...] = ()
) -> list[str]:
    """Return the columns of rows that do not all have the same ones, in the order they come."""
    between = dict.fromkeys(name for row in rows for name in row)
    return [*first, *(name for name in between if name not in (*first, *last)), *last]


def _table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(name))}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in rows
    )
    return f"<strong>{html.escape(title)}</strong><table>{cells}</table>"
