"""MLflow runs: the study as a parent, its trials as children, written by the driver alone.

Everything goes through `MlflowClient` with explicit run ids, never through the stack of active
runs. A run is found again by the study's id and the trial's, so recording twice does no harm.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.tracking.context.registry import resolve_tags

from tuner.environment import versions
from tuner.errors import ConfigError, StudyError
from tuner.logged_models import LoggedModels, artifacts
from tuner.trial import Metrics, TrialFailure, TrialResult, Values

logger = logging.getLogger(__name__)

LIVE_SECONDS = 1.0
"""How far a running trial's curve in MLflow may be behind its training."""

_PARENT_TAG = "mlflow.parentRunId"
_BATCH_PARAMS = 100
_BATCH_METRICS = 1000


@dataclass(frozen=True)
class DataRecord:
    """What MLflow is told of the data: a dataset input's fields."""

    name: str
    digest: str
    source: str
    profile: str

    @classmethod
    def of(cls, run: Run) -> DataRecord:
        """Return what a run of a study or a trial was recorded with."""
        assert run.inputs is not None
        dataset = run.inputs.dataset_inputs[0].dataset
        return cls(dataset.name, dataset.digest, dataset.source, str(dataset.profile))


@dataclass
class TrialRun:
    """The run of one trial.

    Attributes:
        run_id: MLflow's.
        artifact_uri: Where its files go.
        params: The values it was recorded with, if an earlier process has made it.
        recorded: Names of the metrics that an earlier process has recorded.
        finished: The metrics last logged, if the trial has been recorded to its end.
        num_epochs: Epochs whose metrics it has, or has pending.
        losses: The loss after each of them, by epoch.
        came: The metrics that this process has been told, by epoch.
        model_id: Of the model that it has logged, if any.
        pending: Metrics not written yet: one call for several epochs costs no more than for
            one.
        written: Monotonic time of the last call.
    """

    run_id: str
    artifact_uri: str
    params: Mapping[str, str] | None = None
    recorded: frozenset[str] = frozenset()
    finished: Metrics | None = None
    num_epochs: int = 0
    losses: dict[int, float] = field(default_factory=dict)
    came: dict[int, Metrics] = field(default_factory=dict)
    model_id: str | None = None
    pending: list[Metric] = field(default_factory=list)
    written: float = field(default_factory=time.monotonic)


class Tracker:
    """The records of one study.

    Args:
        client: Of the store they are kept in.
        experiment: MLflow's group of runs; made when missing.
        study: The study's name.
        study_id: What tells it from another study of that name.

    Raises:
        ConfigError: If the experiment has been deleted.
    """

    def __init__(
        self, client: mlflow.MlflowClient, experiment: str, study: str, study_id: str
    ) -> None:
        self.client = client
        self._study = study
        self._tags = {"tuner.study": study, "tuner.study_id": study_id}
        self._experiment_id = self._find_experiment(experiment)
        self._models = LoggedModels(client, self._experiment_id, self._tags)
        self._data: DataRecord | None = None
        self._trials: dict[str, TrialRun] = {}
        self.run_id = ""

    def open_study(
        self,
        params: Mapping[str, Any],
        data: DataRecord,
        artifacts: Sequence[Path],
        identity: str | None = None,
    ) -> None:
        """Find the study's run and those of its trials, or make it.

        Args:
            params: The resolved configuration, flat.
            data: What is searched on.
            artifacts: Files to keep with the run; of settings, those that were told last.
            identity: What the study is begun with, for a tag.
        """
        self._data = data
        found = self._search(kind="study")
        if found:
            self.run_id = found[0].info.run_id
            self._trials = self._found("trial")
            self.client.update_run(self.run_id, status="RUNNING")
            self._describe(self.run_id, params, found[0].data.params)
        else:
            tags = resolve_tags() | self._tags | {"tuner.kind": "study"}
            tags["tuner.versions"] = json.dumps(versions())
            # MLflow keeps one profile of a data set, whatever share of it a study takes.
            tags["tuner.data_profile"] = data.profile
            if identity is not None:
                tags["tuner.identity"] = identity
            self.run_id = self._create_run(self._study, tags, params).info.run_id
        kept = {file.path for file in self.client.list_artifacts(self.run_id)} if found else ()
        for path in artifacts:
            if path.name not in kept or path.suffix == ".yaml":
                self.client.log_artifact(self.run_id, str(path))

    def join_study(self, run: Run) -> None:
        """Take a study's run as it is, to record something more under it."""
        self.run_id = run.info.run_id
        self._data = DataRecord.of(run)

    def find_run(self, kind: str, trial_id: str) -> TrialRun | None:
        """Return the run of that kind and name that an earlier process has made, if any.

        `open_trial` goes on with it.
        """
        self._trials |= self._found(kind)
        return self._trials.get(trial_id)

    def _found(self, kind: str) -> dict[str, TrialRun]:
        """Return the runs of trials, or of what is recorded as they are."""
        # Of two runs of one trial (see `close_study`) the finished one counts.
        runs = sorted(self._search(kind), key=lambda run: run.info.status == "FINISHED")
        return {run.data.tags["tuner.trial"]: _found_run(run) for run in runs}

    def finished(self, trial_id: str, values: Values) -> Metrics | None:
        """Return the metrics of a trial that an earlier process has recorded to its end.

        Raises:
            StudyError: If it was recorded with other values.
        """
        trial = self._trials.get(trial_id)
        if trial is None:
            return None
        given = {name: str(value) for name, value in values.items()}
        # A run whose process was killed as it made it may lack some.
        if not (trial.params or {}).items() <= given.items():
            raise StudyError(
                f"Trial {trial_id} of study {self._study} is recorded in MLflow with other "
                f"values than the study's folder now gives it: its oracle.jsonl has been "
                f"altered. Put back what was there, or start afresh with overwrite=true."
            )
        return trial.finished

    def open_trial(self, trial_id: str, values: Values, tags: Mapping[str, str]) -> TrialRun:
        """Find a trial's run, or make it; it is RUNNING then."""
        trial = self._trials.get(trial_id)
        if trial is None:
            run = self._create_run(
                f"{self._study} {trial_id}",
                {
                    **self._tags,
                    "tuner.kind": "trial",
                    "tuner.trial": trial_id,
                    _PARENT_TAG: self.run_id,
                    **tags,
                },
                values,
            )
            trial = TrialRun(run.info.run_id, run.info.artifact_uri)
            self._trials[trial_id] = trial
        else:
            self._describe(trial.run_id, values, trial.params or {})
            # The epochs an interrupted process logged should be the same ones that come again.
            history = self.client.get_metric_history(trial.run_id, "loss")
            trial.losses = {metric.step: metric.value for metric in history}
            trial.num_epochs = max(trial.losses, default=0)
            trial.model_id = self._models.whole_of(trial.run_id)
            self.client.update_run(trial.run_id, status="RUNNING")
        return trial

    def log_epoch(self, trial_id: str, epoch: int, metrics: Metrics) -> None:
        """Record one epoch's metrics, unless an interrupted process has done so before.

        Args:
            trial_id: A trial that is open.
            epoch: Counted from 1.
            metrics: As Keras names them.
        """
        trial = self._trials[trial_id]
        trial.came[epoch] = metrics
        if epoch <= trial.num_epochs:
            known, loss = trial.losses.get(epoch), metrics.get("loss")
            if known is not None and loss is not None and not _is_same(known, loss):
                self._start_over(trial_id)
            return
        trial.pending += _metrics(metrics, step=epoch)
        trial.num_epochs = epoch
        trial.losses[epoch] = metrics.get("loss", math.nan)
        if time.monotonic() - trial.written >= LIVE_SECONDS:
            self._write_pending(trial)

    def _start_over(self, trial_id: str) -> None:
        """Give a trial a new run, since what its run has recorded is of another training.

        A metric that MLflow has recorded cannot be taken back. The training can differ after
        its checkpoints were removed or damaged, on another machine or with other versions.
        """
        trial = self._trials[trial_id]
        logger.warning(
            "Trial %s was trained anew with other results than an interrupted process had "
            "recorded; run %s is deleted, and another one takes its place.",
            trial_id,
            trial.run_id,
        )
        old = self.client.get_run(trial.run_id)
        tags = {
            key: value
            for key, value in old.data.tags.items()
            if key.startswith("tuner.") or key == _PARENT_TAG
        }
        new = self._create_run(str(old.info.run_name), tags, old.data.params)
        self._models.drop({trial.run_id})
        self.client.delete_run(trial.run_id)
        trial.run_id, trial.artifact_uri = new.info.run_id, new.info.artifact_uri
        trial.recorded, trial.model_id = frozenset(), None
        trial.pending, trial.num_epochs, trial.losses = [], 0, {}
        for epoch, metrics in sorted(trial.came.items()):
            self.log_epoch(trial_id, epoch, metrics)

    def _write_pending(self, trial: TrialRun, tags: Mapping[str, str] | None = None) -> None:
        run_tags = [RunTag(key, value) for key, value in (tags or {}).items()]
        for i in range(0, len(trial.pending), _BATCH_METRICS):
            batch = trial.pending[i : i + _BATCH_METRICS]
            self.client.log_batch(trial.run_id, batch, tags=run_tags if i == 0 else ())
        trial.pending = []
        trial.written = time.monotonic()

    def finish_trial(self, result: TrialResult, with_model: bool = True) -> None:
        """Record a trial's result and its files, and end its run as FINISHED.

        Args:
            result: Of a trial that is open.
            with_model: Whether its model is logged.
        """
        trial = self._trials[result.trial_id]
        for epoch, metrics in enumerate(result.epochs, 1):
            self.log_epoch(result.trial_id, epoch, metrics)
        if trial.num_epochs > len(result.epochs):
            trial.came = dict(enumerate(result.epochs, 1))
            self._start_over(result.trial_id)
        files = artifacts(self.client, trial.artifact_uri)
        for path in result.files.artifacts:
            files.log_artifact(path)
        final = {
            **result.test,
            "train_seconds": result.train_seconds,
            "compile_seconds": result.compile_seconds,
            "evaluate_seconds": result.evaluate_seconds,
            "trial_seconds": result.seconds,
            "num_parameters": result.num_parameters,
            "epochs_trained": len(result.epochs) - result.epochs_reused,
            "epochs_reused": result.epochs_reused,
        }
        tags = {"tuner.curve": result.curve}
        if result.continued_from is not None:
            tags["tuner.continued_from"] = result.continued_from
        num_epochs = len(result.epochs)
        model_id = None
        if with_model:
            model_id = trial.model_id or self._models.log(
                trial.run_id, Path(result.files.model_dir), num_epochs
            )
        # A process that was killed just before it ended the run has recorded them.
        new = {name: value for name, value in final.items() if name not in trial.recorded}
        trial.pending += _metrics(new, step=num_epochs, model_id=model_id)
        self._write_pending(trial, tags)
        self.client.set_terminated(trial.run_id, "FINISHED")
        trial.finished = {**result.epochs[-1], **final}

    def fail_trial(self, failure: TrialFailure) -> None:
        """Record why a trial failed, and end its run as FAILED, or KILLED if it was stopped."""
        trial = self._trials[failure.trial_id]
        run_id = trial.run_id
        self._write_pending(trial)
        self.client.set_tag(run_id, "tuner.error", failure.error[:5000])
        self.client.set_tag(run_id, "tuner.failure", failure.kind)
        if failure.kind == "stopped":
            self.client.set_terminated(run_id, "KILLED")
            return
        self.client.log_text(run_id, failure.traceback, "error.txt")
        self.client.set_terminated(run_id, "FAILED")

    def kill_trial(self, trial_id: str) -> None:
        """End the run of a trial that was interrupted, unless all of it is recorded."""
        trial = self._trials[trial_id]
        if trial.finished is not None:
            return
        self._write_pending(trial)
        self.client.set_terminated(trial.run_id, "KILLED")

    def drop_models(self, trial_ids: Iterable[str]) -> None:
        """Remove the logged models of some trials, except those that the registry has."""
        self._models.drop({self._trials[trial_id].run_id for trial_id in trial_ids})

    def log_study(self, metrics: Metrics, tags: Mapping[str, str]) -> None:
        """Record on the study's run how far it is: its best trial, its time."""
        self.client.log_batch(
            self.run_id,
            _metrics(metrics, step=len(self._trials)),
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def close_study(self, status: str) -> None:
        """End the study's run as FINISHED, FAILED or KILLED.

        A request that was sent again, because a server went away before it had answered, may
        have made a run twice; the one that nothing was logged to is deleted.
        """
        known = {trial.run_id for trial in self._trials.values()}
        for run in self._search(kind="trial"):
            if run.info.run_id not in known:
                self.client.delete_run(run.info.run_id)
        self.client.set_terminated(self.run_id, status)

    def finished_trials(self) -> dict[str, Metrics]:
        """Return the metrics of all finished trials, by trial id."""
        return {i: t.finished for i, t in self._trials.items() if t.finished is not None}

    def metrics(self, trial_id: str) -> Metrics:
        """Return the metrics of a finished trial.

        Raises:
            KeyError: If the trial has no finished run.
        """
        finished = self._trials[trial_id].finished
        if finished is None:
            raise KeyError(trial_id)
        return finished

    def run_of(self, trial_id: str) -> str:
        """Return the id of a trial's run."""
        return self._trials[trial_id].run_id

    def _find_experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return str(self.client.create_experiment(name))
        if found.lifecycle_stage != "active":
            raise ConfigError(
                f"`tracking.experiment={name}` has been deleted in MLflow: restore it there "
                f"(mlflow experiments restore -x {found.experiment_id}), or give another name."
            )
        return str(found.experiment_id)

    def _search(self, kind: str) -> list[Run]:
        query = (
            f"tags.`tuner.study_id` = '{self._tags['tuner.study_id']}' "
            f"and tags.`tuner.kind` = '{kind}'"
        )
        runs: list[Run] = []
        token = None
        while token != "":
            page = self.client.search_runs(
                [self._experiment_id], query, ViewType.ACTIVE_ONLY, 1000, page_token=token
            )
            runs.extend(page)
            token = page.token or ""
        return runs

    def _create_run(self, name: str, tags: Mapping[str, Any], params: Mapping[str, Any]) -> Run:
        run: Run = self.client.create_run(self._experiment_id, tags=dict(tags), run_name=name)
        self._describe(run.info.run_id, params, {})
        return run

    def _describe(
        self, run_id: str, params: Mapping[str, Any], recorded: Mapping[str, str]
    ) -> None:
        """Record what a run is of, as far as a process that was killed has not done so."""
        items = [Param(key, str(v)) for key, v in params.items() if key not in recorded]
        for i in range(0, len(items), _BATCH_PARAMS):
            self.client.log_batch(run_id, params=items[i : i + _BATCH_PARAMS])
        if self._data is not None:
            dataset = Dataset(
                name=self._data.name,
                digest=self._data.digest,
                source_type="code",
                source=self._data.source,
                profile=self._data.profile,
            )
            context = [InputTag("mlflow.data.context", "training")]
            # What is there already stays as it is.
            self.client.log_inputs(run_id, [DatasetInput(dataset, context)])


def _found_run(run: Run) -> TrialRun:
    metrics = dict(run.data.metrics)
    return TrialRun(
        run.info.run_id,
        run.info.artifact_uri,
        params=dict(run.data.params),
        recorded=frozenset(metrics),
        finished=metrics if run.info.status == "FINISHED" else None,
    )


def _is_same(recorded: float, value: float) -> bool:
    """Say whether a store has recorded a value: databases hold no infinity."""
    if math.isnan(recorded) or math.isnan(value):
        return math.isnan(recorded) and math.isnan(value)
    most = sys.float_info.max
    return math.isclose(recorded, max(-most, min(value, most)), rel_tol=1e-9)


def _metrics(metrics: Metrics, step: int, model_id: str | None = None) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(key, value, now, step, model_id=model_id) for key, value in metrics.items()]
