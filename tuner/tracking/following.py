"""A recorded study that is read again and again while it runs, at little cost.

Each reading asks for the study's run, for the trials that run and for those that have ended
since: three requests, however many trials there are. All trials are read at first, and when the
study begins or ends. A running trial's curve is read when its metrics have changed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import mlflow
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from tuner.tracking import history, tracking_store, trial_epochs
from tuner.tracking.facts import StudyFacts, TrialRecord
from tuner.trial import Metrics

SLACK = 10.0
"""Seconds by which runs may be written later than the time at which they say they ended."""

CURVE_SECONDS = 10.0
"""Seconds after which a running trial's curve is read again even if no metric has changed: an
epoch may leave all of them as they were."""


class Following:
    """One study, as it was when it was last read.

    Args:
        client: Client of the store that holds it.
        run: The study's run.
        num_curves: Number of finished trials whose curves are read: the best.

    Attributes:
        client: The client.
        facts: The study.
        experiment: Name of its MLflow experiment.
        is_deleted: Whether its run has been deleted; then nothing else is read.
        ended: The trials that have ended, by trial id, in the order in which they did.
        running: The trials that run, by trial id, in their order; the refit may be among them.
        curves: The objective after each epoch, of running trials and of the best, by trial id.
        ended_version: Changes whenever `ended` does.
        curves_version: Changes whenever `curves` does.
    """

    def __init__(self, client: mlflow.MlflowClient, run: Run, num_curves: int) -> None:
        self.client = client
        self.facts: StudyFacts = history.read_study(run)
        self.experiment: str = client.get_experiment(self.facts.experiment_id).name
        self.is_deleted = False
        self.ended: dict[str, TrialRecord] = {}
        self.running: dict[str, TrialRecord] = {}
        self.curves: dict[str, list[float]] = {}
        self.ended_version = 0
        self.curves_version = 0
        self._num_curves = num_curves
        self._session: tuple[str, str, str] | None = None
        self._whole: set[str] = set()
        self._seen: dict[str, tuple[Metrics, float]] = {}

    def read(self) -> None:
        """Read what may have changed.

        Raises:
            UnavailableError: If the store's file has been removed.
            MlflowException: If the store does not answer.
        """
        tracking_store.check_kept(self.client)
        run = self._find_run()
        self.is_deleted = run is None
        if run is None:
            return
        self.facts = history.read_study(run)
        session = (self.facts.run_id, self.facts.status, self.facts.folder)
        is_new, self._session = session != self._session, session
        if is_new or self.facts.status == "RUNNING":
            self._read_trials(is_new)
            self._read_curves()

    def _find_run(self) -> Run | None:
        """Return the study's run, or the one that was made after that was deleted."""
        try:
            run = self.client.get_run(self.facts.run_id)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
        else:
            if run.info.lifecycle_stage == LifecycleStage.ACTIVE:
                return run
        facts = self.facts
        found = history.studies(self.client, [facts.experiment_id], facts.study_id)
        return found[0] if found else None

    def _read_trials(self, is_new: bool) -> None:
        which = (self.client, self.facts.experiment_id, self.facts.study_id)
        running = history.running(*which)
        latest = max((trial.ended for trial in self.ended.values()), default=0.0)
        ended = [] if is_new else history.ended_since(*which, max(latest - SLACK, 0.0))
        found = {trial.trial_id for trial in [*running, *ended]}
        # Runs can be deleted, and a driver that resumes on another machine has another clock.
        reads_all = is_new or not self.running.keys() <= found
        if reads_all:
            ended = [trial for trial in history.trials(*which) if trial.status != "RUNNING"]
        # If a trial has two runs, since a request was sent twice, the fuller one was used.
        ended.sort(key=lambda trial: (trial.status == "FINISHED", len(trial.metrics)))
        new = {trial.trial_id: trial for trial in ended}
        # They were asked for last: a trial of both kinds ran a moment before.
        self.running = {t.trial_id: t for t in running if t.trial_id not in new}
        kept = {} if reads_all else self.ended
        merged = {key: t for key, t in {**kept, **new}.items() if key not in self.running}
        if _marks(merged) != _marks(self.ended):
            ordered = sorted(merged.values(), key=lambda trial: (trial.ended, trial.trial_id))
            self.ended = {trial.trial_id: trial for trial in ordered}
            self.ended_version += 1

    def _read_curves(self) -> None:
        facts, trials = self.facts, self.ended.values()
        best = history.ranked(trials, facts.objective, facts.constraints)[: self._num_curves]
        running = self.running.values()
        curves = {trial.trial_id: self._curve_of(trial) for trial in [*best, *running]}
        self._whole = {trial.run_id for trial in best}
        self._seen = {trial.run_id: self._seen[trial.run_id] for trial in running}
        if curves != self.curves:
            self.curves = curves
            self.curves_version += 1

    def _curve_of(self, trial: TrialRecord) -> list[float]:
        """Return a trial's curve, which is read only if it may have grown."""
        known = self.curves.get(trial.trial_id)
        now = time.monotonic()
        if trial.status == "RUNNING":
            names = trial_epochs.epoch_metrics(trial.metrics)
            each = {name: trial.metrics[name] for name in names}
            metrics, when = self._seen.get(trial.run_id, ({}, -CURVE_SECONDS))
            if known is not None and metrics == each and now - when < CURVE_SECONDS:
                return known
            self._seen[trial.run_id] = (each, now)
        elif known is not None and trial.run_id in self._whole:
            return known
        return trial_epochs.curve(self.client, trial, self.facts.objective.name)


def _marks(trials: Mapping[str, TrialRecord]) -> dict[str, tuple[str, str, float]]:
    """Return what changes when a trial ends; metrics that are no numbers equal nothing."""
    return {key: (trial.run_id, trial.status, trial.ended) for key, trial in trials.items()}
