"""MLflow runs: the study as a parent, its trials as children, written by the driver alone.

Everything goes through `MlflowClient` with explicit run ids, never through the stack of active
runs. A run is found again by the study's id and the trial's, so recording twice does no harm.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.tracking.context.registry import resolve_tags

from tuner import files
from tuner.environment import versions
from tuner.errors import ConfigError, StudyError
from tuner.logged_models import LoggedModels, artifacts
from tuner.manifest import TAG, Manifest
from tuner.stored_files import StoredFiles
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
        finished: The metrics last logged, if the trial has been recorded to its end and its
            files are whole.
        manifest: What it has logged, if that is known.
        num_epochs: Epochs whose metrics it has, or has pending.
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
    manifest: Manifest | None = None
    num_epochs: int = 0
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
        found = self._find_experiment(experiment)
        self._experiment_id = str(found.experiment_id)
        self._models = LoggedModels(client, self._experiment_id, self._tags)
        self._files = StoredFiles(found.artifact_location, self._models.by_run)
        self._data: DataRecord | None = None
        self._trials: dict[str, TrialRun] = {}
        self.run_id = ""

    def open_study(
        self, params: Mapping[str, Any], data: DataRecord, artifacts: Sequence[Path]
    ) -> None:
        """Find the study's run and those of its trials, or make it.

        Args:
            params: The resolved configuration, flat.
            data: What is searched on.
            artifacts: Files to keep with the run.
        """
        self._data = data
        found = self._search(kind="study")
        if found:
            self.run_id = found[0].info.run_id
            self._trials = self._found("trial")
            self._set_aside_damaged(self._trials)
            self.client.update_run(self.run_id, status="RUNNING")
            self._describe(self.run_id, params, found[0].data.params)
        else:
            tags = resolve_tags() | self._tags | {"tuner.kind": "study"}
            tags["tuner.versions"] = json.dumps(versions())
            # MLflow keeps one profile of a data set, whatever share of it a study takes.
            tags["tuner.data_profile"] = data.profile
            self.run_id = self._create_run(self._study, tags, params).info.run_id
        kept = {f.path: f.file_size for f in self.client.list_artifacts(self.run_id)}
        for path in artifacts:
            if kept.get(path.name) != path.stat().st_size:
                files.uninterrupted(self.client.log_artifact, self.run_id, str(path))
        run = self.client.get_run(self.run_id)
        # The experiment's own folder and those above it are new, too, the first time.
        self._files.sync([run.info.artifact_uri], is_first=True)

    def join_study(self, run: Run) -> None:
        """Take a study's run as it is, to record something more under it."""
        self.run_id = run.info.run_id
        self._data = DataRecord.of(run)

    def find_run(self, kind: str, trial_id: str) -> TrialRun | None:
        """Return the run of that kind and name that an earlier process has made, if any.

        `open_trial` goes on with it.
        """
        found = self._found(kind, trial_id)
        self._set_aside_damaged(found)
        self._trials |= found
        return self._trials.get(trial_id)

    def best_trial(self) -> str | None:
        """Return which trial an earlier process has recorded as the study's best, if any."""
        for run in self._search("study"):
            return run.data.tags.get("tuner.best_trial")
        return None

    def deleted_trials(self) -> frozenset[str]:
        """Return the trials whose runs somebody has deleted in MLflow."""
        runs = self._search("trial", view=ViewType.DELETED_ONLY)
        return frozenset(run.data.tags["tuner.trial"] for run in runs)

    def _found(self, kind: str, trial_id: str | None = None) -> dict[str, TrialRun]:
        """Return the runs of trials, or of what is recorded as they are."""
        # Of two runs of one trial (see `close_study`) the finished one counts.
        found = self._search(kind, trial_id)
        runs = sorted(found, key=lambda run: run.info.status == "FINISHED")
        return {run.data.tags["tuner.trial"]: _found_run(run) for run in runs}

    def _set_aside_damaged(self, trials: Mapping[str, TrialRun]) -> None:
        """Take trials whose files are damaged or gone for ones that have not finished."""
        finished = {i: trial for i, trial in trials.items() if trial.finished is not None}
        for trial_id in self._files.damaged(finished):
            trials[trial_id].finished = None

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
            # The epochs an interrupted process logged are the same ones that come again.
            history = self.client.get_metric_history(trial.run_id, "loss")
            trial.num_epochs = max((metric.step for metric in history), default=0)
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
        if epoch <= trial.num_epochs:
            return
        trial.pending += _metrics(metrics, step=epoch)
        trial.num_epochs = epoch
        if time.monotonic() - trial.written >= LIVE_SECONDS:
            self._write_pending(trial)

    def _write_pending(self, trial: TrialRun, tags: Mapping[str, str] | None = None) -> None:
        run_tags = [RunTag(key, value) for key, value in (tags or {}).items()]
        # Tags go with the metrics, or alone.
        for i in range(0, max(len(trial.pending), bool(tags)), _BATCH_METRICS):
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
        for i in range(trial.num_epochs, len(result.epochs)):
            self.log_epoch(result.trial_id, i + 1, result.epochs[i])
        num_epochs = len(result.epochs)
        tags = {"tuner.curve": result.curve}
        if result.continued_from is not None:
            tags["tuner.continued_from"] = result.continued_from
        model_dir = Path(result.files.model_dir) if with_model else None
        model_id = self._store_files(trial, result.files.artifacts, model_dir, num_epochs, tags)
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
        # A process that was killed just before it ended the run has recorded them.
        new = {name: value for name, value in final.items() if name not in trial.recorded}
        trial.pending += _metrics(new, step=num_epochs, model_id=model_id)
        self._write_pending(trial, tags)
        self.client.set_terminated(trial.run_id, "FINISHED")
        trial.finished = {**result.epochs[-1], **final}

    def _store_files(
        self,
        trial: TrialRun,
        paths: Sequence[str],
        model_dir: Path | None,
        num_epochs: int,
        tags: dict[str, str],
    ) -> str | None:
        """Copy a trial's files to the store and put them on disk; return the model's id.

        What an interrupted process has copied may not be on disk, so all is copied again.

        Args:
            trial: Whose they are.
            paths: The artifacts.
            model_dir: The model, if it is logged.
            num_epochs: The step that the model is of.
            tags: Gets the one that tells whole files from damaged ones.
        """
        store = artifacts(self.client, trial.artifact_uri)
        for path in paths:
            files.uninterrupted(store.log_artifact, path)
        logged = None
        if model_dir is not None:
            logged = self._models.begin(trial.run_id, model_dir, trial.model_id)
        tags[TAG] = Manifest.of(paths, model_dir).encode()
        uris = [trial.artifact_uri]
        if logged is not None and model_dir is not None:
            self._models.upload(logged, model_dir)
            uris.append(logged.artifact_location)
        self._files.sync(uris)
        if logged is None:
            return None
        if trial.model_id is None:
            self._models.complete(logged, trial.run_id, num_epochs)
        return str(logged.model_id)

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

    def sync_study(self) -> None:
        """Put what was logged with the study's run since it was opened on disk."""
        self._files.sync([self.client.get_run(self.run_id).info.artifact_uri])

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

    def _find_experiment(self, name: str) -> Experiment:
        found: Experiment | None = self.client.get_experiment_by_name(name)
        if found is None:
            made: Experiment = self.client.get_experiment(self.client.create_experiment(name))
            return made
        if found.lifecycle_stage != "active":
            raise ConfigError(
                f"`tracking.experiment={name}` has been deleted in MLflow: restore it there "
                f"(mlflow experiments restore -x {found.experiment_id}), or give another name."
            )
        return found

    def _search(
        self, kind: str, trial_id: str | None = None, view: int = ViewType.ACTIVE_ONLY
    ) -> list[Run]:
        query = (
            f"tags.`tuner.study_id` = '{self._tags['tuner.study_id']}' "
            f"and tags.`tuner.kind` = '{kind}'"
        )
        if trial_id is not None:
            query += f" and tags.`tuner.trial` = '{trial_id}'"
        runs: list[Run] = []
        token = None
        while token != "":
            page = self.client.search_runs(
                [self._experiment_id], query, view, 1000, page_token=token
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
        manifest=Manifest.decode(run.data.tags.get(TAG)),
    )


def _metrics(metrics: Metrics, step: int, model_id: str | None = None) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(key, value, now, step, model_id=model_id) for key, value in metrics.items()]
