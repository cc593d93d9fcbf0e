"""MLflow runs: the study as a parent, its trials as children, written only by the driver.

Everything goes through `MlflowClient` with explicit run ids, never through the stack of active
runs. A run is found again by the ids of study and trial, so recording twice does no harm.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.tracking.context.registry import resolve_tags

from tuner import names
from tuner.errors import StudyError
from tuner.runtime import files
from tuner.runtime.versions import versions
from tuner.tracking import experiment, history, json_tags, project_folder
from tuner.tracking.history import TrialRecord
from tuner.tracking.logged_models import LoggedModels, artifacts
from tuner.tracking.manifest import Manifest
from tuner.tracking.stored_files import StoredFiles
from tuner.trial import Metrics, TrialFailure, TrialResult, Values

logger = logging.getLogger(__name__)

LIVE_SECONDS = 1.0
"""How far a running trial's curve in MLflow may lag behind its training."""

_BATCH_PARAMS = 100
_BATCH_METRICS = 1000
_MAX_PARAM = 6000
"""Number of characters that MLflow accepts in a param; exact values are in tags."""


@dataclass(frozen=True)
class DataRecord:
    """The data as recorded in MLflow: the fields of a dataset input."""

    name: str
    digest: str
    source: str
    profile: str

    @classmethod
    def of(cls, run: Run) -> DataRecord:
        """Return the data record of a study's or a trial's run."""
        assert run.inputs is not None
        dataset = run.inputs.dataset_inputs[0].dataset
        return cls(dataset.name, dataset.digest, dataset.source, str(dataset.profile))


@dataclass
class TrialRun:
    """The run of one trial, or of its refit.

    Attributes:
        run_id: Id of the run in MLflow.
        artifact_uri: Where its files go.
        kind: `names.KIND_TRIAL` or `names.KIND_REFIT`.
        values: The values it was recorded with, if an earlier process has made it.
        params: Names of the params that it has.
        recorded: Names of the metrics that an earlier process has recorded.
        cut: Whether it was recorded to its end with fewer epochs than its values say, and is
            not yet recorded with more.
        finished: The metrics last logged, if the trial has been recorded to its end and its
            files are intact.
        manifest: The files it has logged, if known.
        num_epochs: Number of epochs whose metrics are recorded or pending.
        losses: The loss after each of these epochs, by epoch.
        came: The metrics that this process has received, by epoch.
        model_id: Id of the model that it has logged, if any.
        pending: Metrics not written yet: one call for several epochs costs no more than a call
            for one.
        written: Monotonic time of the last call.
    """

    run_id: str
    artifact_uri: str
    kind: str = names.KIND_TRIAL
    values: Values | None = None
    params: frozenset[str] = frozenset()
    recorded: frozenset[str] = frozenset()
    cut: bool = False
    finished: Metrics | None = None
    manifest: Manifest | None = None
    num_epochs: int = 0
    losses: dict[int, float] = field(default_factory=dict)
    came: dict[int, Metrics] = field(default_factory=dict)
    model_id: str | None = None
    pending: list[Metric] = field(default_factory=list)
    written: float = field(default_factory=time.monotonic)


class Tracker:
    """The records of one study.

    Args:
        client: Client of the store that holds them.
        experiment_name: Name of the MLflow experiment, which is created if it is missing.
        study: The study's name.
        study_id: The study's id, which distinguishes studies of one name.

    Raises:
        ConfigError: If the experiment has been deleted.
    """

    def __init__(
        self, client: mlflow.MlflowClient, experiment_name: str, study: str, study_id: str
    ) -> None:
        self.client = client
        self._study = study
        self._study_id = study_id
        self._tags = {names.STUDY: study, names.STUDY_ID: study_id}
        self._experiment_id = self._find_experiment(experiment_name)
        found = client.get_experiment(self._experiment_id)
        self._models = LoggedModels(client, self._experiment_id, self._tags)
        self._files = StoredFiles(found.artifact_location, self._models.by_run)
        self._data: DataRecord | None = None
        self._trials: dict[str, TrialRun] = {}
        self.run_id = ""

    def open_study(
        self,
        params: Mapping[str, object],
        data: DataRecord,
        artifacts: Sequence[Path],
        identity: str | None = None,
    ) -> None:
        """Find the study's run and those of its trials, or make a run for the study.

        If the study's run was deleted, its trials are put under the new one.

        Args:
            params: The resolved configuration, flat.
            data: The data that the study searches on.
            artifacts: Files to keep with the run; settings are replaced by the latest.
            identity: What the study was started with, for a tag.
        """
        self._data = data
        found = history.studies(self.client, [self._experiment_id], self._study_id)
        tags = {
            **json_tags.as_tags(names.SETTINGS, params),
            names.FOLDER: project_folder.shown_here(),
        }
        if found:
            self.run_id = found[0].info.run_id
            self.client.update_run(self.run_id, status="RUNNING")
            if names.STOP in found[0].data.tags:
                # A request to an earlier process.
                self.client.delete_tag(self.run_id, names.STOP)
            self.client.log_batch(self.run_id, tags=[RunTag(*tag) for tag in tags.items()])
            self._describe(self.run_id, params, found[0].data.params)
        else:
            tags |= resolve_tags() | self._tags | {names.KIND: names.KIND_STUDY}
            tags[names.VERSIONS] = json.dumps(versions())
            # MLflow keeps one profile per data set, whatever share of it a study uses.
            tags[names.DATA_PROFILE] = data.profile
            if identity is not None:
                tags[names.IDENTITY] = identity
            self.run_id = self._create_run(self._study, tags, params).info.run_id
        self._find_trials()
        self._take_for_unfinished_what_is_damaged(self._trials)
        kept = {f.path: f.file_size for f in self.client.list_artifacts(self.run_id)}
        for path in artifacts:
            if kept.get(path.name) != path.stat().st_size or path.suffix == ".yaml":
                files.uninterrupted(self.client.log_artifact, self.run_id, str(path))
        run = self.client.get_run(self.run_id)
        # The first time, the experiment's own folder and those above it are new too.
        self._files.sync([run.info.artifact_uri], is_first=True)

    def join_study(self, run: Run) -> None:
        """Open a study's run without changing it, to record something more under it."""
        self.run_id = run.info.run_id
        self._data = DataRecord.of(run)
        self._find_trials()

    def find_run(self, trial_id: str) -> TrialRun | None:
        """Return the run of a trial, or of its refit, if it has been made.

        A run whose files are damaged or gone counts as unfinished.
        """
        found = self._trials.get(trial_id)
        if found is not None:
            self._take_for_unfinished_what_is_damaged({trial_id: found})
        return found

    def _take_for_unfinished_what_is_damaged(self, trials: Mapping[str, TrialRun]) -> None:
        """Mark finished trials with damaged files as unfinished; this reads every file."""
        finished = {i: trial for i, trial in trials.items() if trial.finished is not None}
        for trial_id in self._files.damaged(finished):
            trials[trial_id].finished = None

    def _find_trials(self) -> None:
        """Find the runs that earlier processes have made, wherever MLflow shows them."""
        for record in self._recorded():
            if record.parent != self.run_id:
                self.client.set_tag(record.run_id, names.PARENT, self.run_id)
            self._trials[record.trial_id] = _found_run(record)

    def _recorded(self) -> list[TrialRecord]:
        """Return all runs of the study; if a trial has two, the one that counts comes last."""
        found = [
            record
            for kind in (names.KIND_TRIAL, names.KIND_REFIT)
            for record in history.trials(self.client, self._experiment_id, self._study_id, kind)
        ]
        return sorted(found, key=lambda r: (r.status == "FINISHED", len(r.metrics)))

    def presence(self, trial_ids: Iterable[str]) -> history.Presence:
        """Return what has become of the records of trials that have finished."""
        return history.presence(self.client, self._experiment_id, self._study_id, trial_ids)

    def finished(self, trial_id: str, values: Values) -> Metrics | None:
        """Return the metrics of a trial that an earlier process has recorded to its end.

        Raises:
            StudyError: If it was recorded with other values.
        """
        trial = self._trials.get(trial_id)
        if trial is None:
            return None
        if trial.values is not None and _texts(trial.values) != _texts(values):
            raise StudyError(
                f"Trial {trial_id} of study {self._study} is recorded in MLflow with other "
                f"values than the study's folder now gives it: its oracle.jsonl has been "
                f"altered. Restore that file, or start over with overwrite=true."
            )
        return trial.finished

    def was_cut(self, trial_id: str) -> bool:
        """Say whether a finished trial was stopped early by a person or by the time."""
        return self._trials[trial_id].cut

    def open_trial(
        self,
        trial_id: str,
        values: Values,
        tags: Mapping[str, str],
        kind: str = names.KIND_TRIAL,
    ) -> TrialRun:
        """Find a trial's run, or make it, and set it to RUNNING.

        Args:
            trial_id: The oracle's name for it, or the name of its refit.
            values: The values it is trained with.
            tags: Further facts about it.
            kind: `names.KIND_TRIAL` or `names.KIND_REFIT`.
        """
        trial = self._trials.get(trial_id)
        if trial is None:
            run = self._create_run(
                # The trial comes first: MLflow's tables cut off the end of long names.
                f"{trial_id} {self._study}",
                {
                    **tags,
                    **json_tags.as_tags(names.VALUES, values),
                    **self._tags,
                    names.KIND: kind,
                    names.TRIAL: trial_id,
                    names.PARENT: self.run_id,
                },
                values,
            )
            trial = TrialRun(run.info.run_id, run.info.artifact_uri, kind)
            self._trials[trial_id] = trial
        else:
            self._describe(trial.run_id, values, trial.params)
            # The epochs that an interrupted process has logged should come again unchanged.
            trial.losses = history.losses(self.client, trial.run_id)
            trial.num_epochs = max(trial.losses, default=0)
            self.client.update_run(trial.run_id, status="RUNNING")
            trial.model_id = self._models.whole_of(trial.run_id)
            if trial.cut:
                # What it has logged is that of fewer epochs; a registered model stays as it is.
                self._models.drop({trial.run_id})
                trial.model_id, trial.finished = None, None
        return trial

    def log_epoch(self, trial_id: str, epoch: int, metrics: Metrics) -> None:
        """Record one epoch's metrics, unless an interrupted process has done so before.

        Args:
            trial_id: A trial that is open.
            epoch: Number of the epoch, from 1.
            metrics: The epoch's metrics, as Keras names them.
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
        """Give a trial a new run, since its run holds the metrics of a different training.

        MLflow cannot take back a recorded metric. Training again can give different results if
        the checkpoints were removed or damaged and the machine or a version has changed.
        """
        trial = self._trials[trial_id]
        logger.warning(
            "Trial %s was trained again with other results than an interrupted process had "
            "recorded; run %s is deleted, and a new one takes its place.",
            trial_id,
            trial.run_id,
        )
        old = self.client.get_run(trial.run_id)
        tags = {
            key: value
            for key, value in old.data.tags.items()
            if key.startswith("tuner.") or key == names.PARENT
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
        # Tags are sent with the metrics, or alone if there are none.
        for i in range(0, max(len(trial.pending), bool(tags)), _BATCH_METRICS):
            batch = trial.pending[i : i + _BATCH_METRICS]
            self.client.log_batch(trial.run_id, batch, tags=run_tags if i == 0 else ())
        trial.pending = []
        trial.written = time.monotonic()

    def finish_trial(self, result: TrialResult, with_model: bool = True) -> None:
        """Record a trial's result and its files, and end its run as FINISHED.

        Args:
            result: Result of a trial that is open.
            with_model: Whether to log its model.
        """
        trial = self._trials[result.trial_id]
        for epoch, metrics in enumerate(result.epochs, 1):
            self.log_epoch(result.trial_id, epoch, metrics)
        if trial.num_epochs > len(result.epochs):
            trial.came = dict(enumerate(result.epochs, 1))
            self._start_over(result.trial_id)
        num_epochs = len(result.epochs)
        # Empty, not left out: the trial may have been stopped before, and resumed.
        tags = {names.CURVE: result.curve, names.STOPPED: result.stopped or ""}
        if result.continued_from is not None:
            tags[names.CONTINUED_FROM] = result.continued_from
        model_dir = Path(result.files.model_dir) if with_model else None
        model_id = self._store_files(trial, result.files.artifacts, model_dir, num_epochs, tags)
        final = {
            **result.test,
            names.TRAIN_SECONDS: result.train_seconds,
            names.COMPILE_SECONDS: result.compile_seconds,
            names.EVALUATE_SECONDS: result.evaluate_seconds,
            names.TRIAL_SECONDS: result.seconds,
            names.NUM_PARAMETERS: result.num_parameters,
            names.EPOCHS_TRAINED: len(result.epochs) - result.epochs_reused,
            names.EPOCHS_REUSED: result.epochs_reused,
        }
        # A process killed just before it ended the run may already have recorded them.
        new = {name: value for name, value in final.items() if name not in trial.recorded}
        trial.pending += _metrics(new, step=num_epochs, model_id=model_id)
        self._write_pending(trial, tags)
        self.client.set_terminated(trial.run_id, "FINISHED")
        trial.finished = {**result.epochs[-1], **final}
        trial.cut = _is_cut(result.stopped)

    def _store_files(
        self,
        trial: TrialRun,
        paths: Sequence[str],
        model_dir: Path | None,
        num_epochs: int,
        tags: dict[str, str],
    ) -> str | None:
        """Copy a trial's files to the store and sync them to disk; return the model's id.

        Files that an interrupted process copied may not be on disk, so all are copied again.

        Args:
            trial: The trial's run.
            paths: The artifacts.
            model_dir: The model's folder, if it is logged.
            num_epochs: The step at which the model is logged.
            tags: Receives the tag with the manifest of the files.
        """
        store = artifacts(self.client, trial.artifact_uri)
        for path in paths:
            files.uninterrupted(store.log_artifact, path)
        logged = None
        if model_dir is not None:
            logged = self._models.begin(trial.run_id, model_dir, trial.model_id)
        tags[names.FILES] = Manifest.of(paths, model_dir).encode()
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
        self.client.set_tag(run_id, names.ERROR, failure.error[:5000])
        self.client.set_tag(run_id, names.FAILURE, failure.kind)
        if failure.kind == "stopped":
            self.client.set_terminated(run_id, "KILLED")
            return
        self.client.log_text(run_id, failure.traceback, names.TRACEBACK)
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
        """Record the study's progress on its run: its best trial, its time."""
        self.client.log_batch(
            self.run_id,
            _metrics(metrics, step=len(self._trials)),
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def stop_requests(self) -> history.StopRequests:
        """Return what people have asked of the study and its trials."""
        return history.stop_requests(self.client, self._experiment_id, self._study_id)

    def close_study(self, status: str) -> None:
        """End the study's run as FINISHED, FAILED or KILLED.

        A request that was retried because the server did not answer may have made a trial's run
        twice. The twin to which nothing was logged is deleted; nothing else ever is.
        """
        for record in self._recorded():
            known = self._trials.get(record.trial_id)
            is_twin = known is not None and known.run_id != record.run_id
            is_bare = record.is_bare and record.status == "RUNNING"
            if is_twin and is_bare and not self.client.list_artifacts(record.run_id):
                self.client.delete_run(record.run_id)
        self.client.set_terminated(self.run_id, status)

    def withdraw(self) -> None:
        """Delete the runs of a study in which no trial has ended.

        `mlflow runs restore` undoes that. Does nothing if no run has been made.
        """
        runs = [record.run_id for record in self._recorded()]
        for run_id in [*runs, self.run_id] if self.run_id else ():
            self.client.delete_run(run_id)

    def sync_study(self) -> None:
        """Sync to disk what was logged with the study's run since it was opened."""
        self._files.sync([self.client.get_run(self.run_id).info.artifact_uri])

    def finished_trials(self) -> dict[str, Metrics]:
        """Return the metrics of all finished trials, by trial id."""
        return {
            trial_id: trial.finished
            for trial_id, trial in self._trials.items()
            if trial.finished is not None and trial.kind == names.KIND_TRIAL
        }

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
        """Return the experiment that holds the study; otherwise find or make the one named."""
        # A study stays in its experiment, even if new studies go to another one now.
        ids = history.experiments(self.client)
        if found := history.studies(self.client, ids, self._study_id):
            return str(found[0].info.experiment_id)
        return experiment.find(self.client, name)

    def _create_run(
        self, name: str, tags: Mapping[str, str], params: Mapping[str, object]
    ) -> Run:
        run: Run = self.client.create_run(self._experiment_id, tags=dict(tags), run_name=name)
        self._describe(run.info.run_id, params, ())
        return run

    def _describe(
        self, run_id: str, params: Mapping[str, object], recorded: Container[str]
    ) -> None:
        """Record a run's params and data, unless a process that was killed has done so."""
        items = [Param(key, _text(v)) for key, v in params.items() if key not in recorded]
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
            context = [InputTag(names.DATASET_CONTEXT, "training")]
            # An input that exists already stays as it is.
            self.client.log_inputs(run_id, [DatasetInput(dataset, context)])


def _is_cut(stopped: str | None) -> bool:
    return stopped in ("user", "time")


def _found_run(record: TrialRecord) -> TrialRun:
    return TrialRun(
        record.run_id,
        record.artifact_uri,
        record.kind,
        values=record.values,
        params=record.params,
        # A trial that is resumed after it was cut records all of them again, at a later step.
        recorded=frozenset() if _is_cut(record.stopped) else frozenset(record.metrics),
        cut=_is_cut(record.stopped),
        finished=record.metrics if record.status == "FINISHED" else None,
        manifest=record.manifest,
    )


def _text(value: object) -> str:
    """Return a value as text of a length that MLflow accepts."""
    text = str(value)
    return text if len(text) <= _MAX_PARAM else f"{text[: _MAX_PARAM - 1]}…"


def _texts(values: Values) -> dict[str, str]:
    return {name: _text(value) for name, value in values.items()}


def _is_same(recorded: float, value: float) -> bool:
    """Say whether a recorded value is this one; databases cannot hold infinity."""
    if math.isnan(recorded) or math.isnan(value):
        return math.isnan(recorded) and math.isnan(value)
    most = sys.float_info.max
    return math.isclose(recorded, max(-most, min(value, most)), rel_tol=1e-9)


def _metrics(metrics: Metrics, step: int, model_id: str | None = None) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(key, value, now, step, model_id=model_id) for key, value in metrics.items()]
