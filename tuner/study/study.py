"""A recorded study as Python sees it: its trials and curves as tables, its best model."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pandas
from mlflow.entities import Run

from tuner import names
from tuner.driver.study_folder import EXPERIMENTS_DIR, id_of_folder, is_running
from tuner.evaluation.racing import Race
from tuner.runtime import cards
from tuner.runtime.cards import Series
from tuner.study import records, tables
from tuner.tracking import epochs_file, history, tracking_store, trial_card, trial_epochs
from tuner.tracking.epochs_file import Epochs
from tuner.tracking.facts import StudyFacts, TrialRecord
from tuner.trial import Metrics, Objective, Values

if TYPE_CHECKING:
    from tuner.classifier.safe_loading import Classifier
    from tuner.models.custom_objects import CustomObjects

_NUM_SIDE_BY_SIDE = 8
"""Number of requests at a time where MLflow is asked for curves."""

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
        score: The objective of its model.
        metrics: The last value of every metric that was recorded for its model.
        run_id: Id of the run in MLflow that has its model: its own or, if it has won against
            other finalists, that of its median seed.
    """

    trial_id: str
    values: Values
    score: float
    metrics: Metrics
    run_id: str
    _study: Study = field(repr=False, compare=False)

    @property
    def curve(self) -> pandas.DataFrame:
        """Its learning curve: a row for each `epoch`, and a column for each metric."""
        return self._study._curves([self._record()]).drop(columns="trial")

    def load(self, *, custom_objects: CustomObjects = None) -> Classifier:
        """Load its model; see `tuner.load`.

        Args:
            custom_objects: What the model may hold besides Keras's own layers.

        Raises:
            UserError: If its model was not logged, or cannot be loaded safely.
        """
        from tuner.classifier.safe_loading import load

        return load(
            f"runs:/{self.run_id}/model",
            tracking_uri=self._study.tracking_uri,
            custom_objects=custom_objects,
        )

    def _repr_html_(self) -> str:
        study = self._study
        rows = [
            *trial_card.score(study.objective.name, self.score, study._num_validation),
            *trial_card.test_accuracy(self.metrics),
            *trial_card.values(self.values),
            ("run_id", self.run_id),
        ]
        [(_, epochs)] = study._epochs([self._record()])
        picture = trial_card.curve(epochs, study.objective.name)
        return cards.card(f"Trial {self.trial_id} of study {study.name}", rows, picture)

    def _record(self) -> TrialRecord:
        return history.read_trial(self._study._client.get_run(self.run_id))


class Study:
    """A recorded study, read anew each time: it may still be running.

    Args:
        client: Client of the store that holds it.
        run: MLflow's run of it.
    """

    def __init__(self, client: mlflow.MlflowClient, run: Run) -> None:
        self._client = client
        self._run_id = str(run.info.run_id)
        self._facts = history.read_study(run)

    @property
    def name(self) -> str:
        """The study's name."""
        return self._facts.name

    @property
    def tracking_uri(self) -> str:
        """Address of the store that holds it."""
        return str(self._client.tracking_uri)

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

        Columns are `trial`, `state`, `stopped` (why it has fewer epochs than its values say, in
        words; missing if it has all), one for each hyperparameter and metric, and `run_id`.
        A value that a trial does not have is missing. Metrics are float64; hyperparameters are
        int64, float64 (also whole numbers of which some are missing), bool or text, and
        `object` only where one choice mixes these.
        """
        return tables.of_trials(self._trials())

    @property
    def front(self) -> pandas.DataFrame:
        """The rows of `trials` on the Pareto front, the best by the first objective first.

        No other trial that meets the constraints is at least as good in all objectives and
        better in one. With one objective these are the best trials.
        """
        facts = self._facts
        on_front = history.on_front(self._trials(), facts.objective, facts.constraints)
        return tables.of_trials(on_front)

    @property
    def curves(self) -> pandas.DataFrame:
        """The learning curves: a row for each epoch of each trial.

        Columns are `trial`, `epoch` (int64, from 1), and one for each metric that is measured
        after every epoch, float64. They come from the study's folder if that is here, else from
        a file that the study has left in MLflow at its end. For other trials, such as running
        ones, MLflow is asked for each metric.
        """
        return self._curves(self._trials())

    @property
    def best(self) -> Trial | None:
        """The best finished trial that meets the constraints; None without any.

        It is the one that has won by new seeds, if finalists were trained, and its model that
        of its median seed. Otherwise it is the one that the search ranks first, the earlier of
        two that tie.
        """
        return self._best_of(self._trials())

    @property
    def finalists(self) -> pandas.DataFrame:
        """The trainings of the best trials with new seeds, a row each, in the order they ended.

        Columns are `trial` (whose values it has), `seed` (int64), `state`, one for each metric,
        and `run_id`. Those of an earlier choice, before the study was extended, are among them.
        """
        facts = self._facts
        kind = names.KIND_FINALIST
        found = history.trials(self._client, facts.experiment_id, facts.study_id, kind)
        return tables.of_finalists(found)

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
        trials, objective = self._trials(), self.objective
        best = self._best_of(trials)
        counts = Counter(trial.status.lower() for trial in trials)
        said = ", ".join(f"{count} {status}" for status, count in counts.items())
        rows: trial_card.Rows = [("state", self.state), ("trials", said or "none")]
        if best is not None:
            rows.append(("best trial", best.trial_id))
            if (race := self._race()) is not None:
                rows.append(("with new seeds", str(race)))
            rows += trial_card.score(objective.name, best.score, self._num_validation)
            rows += trial_card.test_accuracy(best.metrics)
            rows += trial_card.values(best.values)
        met = self._facts.constraints.are_met
        scores = [
            trial.metrics[objective.name]
            for trial in history.finished(trials, objective)
            if met(trial.metrics)
        ]
        best_so_far = objective.best_so_far(scores)
        picture = cards.chart(
            [Series("best so far", best_so_far), Series(objective.name, scores, False)], "trial"
        )
        return cards.card(f"Study {self.name}", rows, picture)

    def _best_of(self, trials: Sequence[TrialRecord]) -> Trial | None:
        ranked = history.ranked(trials, self.objective, self._facts.constraints)
        if not ranked:
            return None
        best = self._winner(trials) or ranked[0]
        score = best.metrics[self.objective.name]
        trial_id = best.finalist_of or best.trial_id
        return Trial(trial_id, best.values, score, best.metrics, best.run_id, self)

    def _winner(self, trials: Sequence[TrialRecord]) -> TrialRecord | None:
        """Return the run of the winner's median seed, if it has been recorded."""
        race = self._race()
        if race is None or race.winner not in {trial.trial_id for trial in trials}:
            return None
        place = self._facts.experiment_id, self._facts.study_id
        name = names.finalist_name(race.winner, race.median)
        found = history.trials(self._client, *place, names.KIND_FINALIST, name)
        return next((run for run in found if run.status == "FINISHED"), None)

    def _race(self) -> Race | None:
        """Return the finalists' scores, if they decide now."""
        return history.read_study(self._client.get_run(self._run_id)).race

    @property
    def _num_validation(self) -> int | None:
        """Number of validation images, if it was recorded."""
        data = self._facts.data
        return None if data is None else data.num_scored

    def _curves(self, trials: Sequence[TrialRecord]) -> pandas.DataFrame:
        return tables.of_curves(self._epochs(trials))

    def _epochs(self, trials: Sequence[TrialRecord]) -> list[tuple[str, Epochs]]:
        """Return the metrics of trials after each epoch, with the trials' names."""
        known = self._epochs_file()
        asked = [t for t in trials if not _is_known(t, known.get(t.run_id))]
        # In parallel, since most of the time is spent waiting for the store's answers.
        with ThreadPoolExecutor(_NUM_SIDE_BY_SIDE) as threads:
            answers = threads.map(functools.partial(trial_epochs.epochs, self._client), asked)
            known |= zip([t.run_id for t in asked], answers, strict=True)
        return [(t.trial_id, known[t.run_id]) for t in trials]

    def _epochs_file(self) -> dict[str, Epochs]:
        """Return the epochs of the trials that have ended, by run."""
        facts = self._facts
        if id_of_folder(facts.name) == facts.study_id:
            path = EXPERIMENTS_DIR / facts.name / names.EPOCHS
            content = path.read_bytes() if path.exists() else None
        else:
            content = history.read_file(self._client, self._run_id, names.EPOCHS)
        return epochs_file.read(content or b"")

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
    return Study(client, records.choose(client, None, name))


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
    found = [history.read_study(run) for run in history.studies(client, experiments)]
    began = [pandas.Timestamp(facts.began, unit="s", tz="UTC") for facts in found]
    scores = [facts.best_score for facts in found]
    return pandas.DataFrame(
        {
            "study": tables.text(facts.name for facts in found),
            "study_id": tables.text(facts.study_id for facts in found),
            "state": tables.text(map(state_of, found)),
            "experiment": tables.text(experiments[facts.experiment_id] for facts in found),
            "began": pandas.Series(began, dtype="datetime64[us, UTC]"),
            "owner": tables.text(facts.owner for facts in found),
            "objective": tables.text(facts.objective.name for facts in found),
            "best": np.array([np.nan if score is None else score for score in scores], float),
            "run_id": tables.text(facts.run_id for facts in found),
        }
    )


def state_of(facts: StudyFacts) -> str:
    """Return the state of a study as its run and, where it is here, its folder tell it."""
    state = STATES[facts.status]
    is_here = state == "running" and id_of_folder(facts.name) == facts.study_id
    if is_here and not is_running(EXPERIMENTS_DIR / facts.name):
        return "interrupted"
    return state


def _is_known(trial: TrialRecord, epochs: Epochs | None) -> bool:
    """Say whether the metrics of a trial's model are those that MLflow has."""
    last, shown = trial.best_epoch, trial.metrics
    if trial.repeats is not None:
        last, shown = trial.repeats.epochs[0], trial.repeats.finals[0]
    if epochs is None or len(epochs.values) < (last or 0):
        return False
    return epochs.after(last).items() <= shown.items()
