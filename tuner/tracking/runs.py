"""MLflow runs: the study as a parent, its trials as children, written only by the driver.

Everything goes through `MlflowClient` with explicit run ids, never through the stack of active
runs. A run is found again by the ids of study and trial, so recording twice does no harm.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import mlflow
from mlflow.entities import Run, RunTag
from mlflow.tracking.context.registry import resolve_tags

from tuner import names
from tuner.errors import StudyError
from tuner.outcomes import TrialFailure, TrialPause, TrialResult, is_cut
from tuner.runtime import files
from tuner.runtime.versions import versions
from tuner.tracking import experiment, history, json_tags, project_folder, trial_epochs
from tuner.tracking.data_record import DataRecord
from tuner.tracking.facts import Presence, Repeats, StopRequests, TrialRecord
from tuner.tracking.logged_models import LoggedModels
from tuner.tracking.run_maker import RunMaker
from tuner.tracking.stored_files import StoredFiles
from tuner.tracking.trial_runs import TrialRun, final_metrics, metrics_at
from tuner.trial import Metrics, Values

LIVE_SECONDS = 1.0
"""How far a running trial's curve in MLflow may lag behind its training."""

logger = logging.getLogger(__name__)


def import_ahead() -> None:
    """Import Git and IPython now, as MLflow does to say what a study was started from."""
    resolve_tags()


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
        self._experiment_id = experiment.of_study(client, study_id, experiment_name)
        found = client.get_experiment(self._experiment_id)
        self._models = LoggedModels(client, self._experiment_id, self._tags)
        self._files = StoredFiles(client, found.artifact_location, self._models)
        self._runs = RunMaker(client, self._experiment_id)
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
        self._runs.data = data
        found = history.studies(self.client, [self._experiment_id], self._study_id)
        tags = {
            **json_tags.as_tags(names.SETTINGS, params),
            names.FOLDER: project_folder.shown_here(),
        }
        if found:
            self.run_id = found[0].info.run_id
            self.client.update_run(self.run_id, status="RUNNING")
            # A request to an earlier process, and a winner among fewer trials.
            for tag in {names.STOP, names.FINALISTS} & found[0].data.tags.keys():
                self.client.delete_tag(self.run_id, tag)
            self.client.log_batch(self.run_id, tags=[RunTag(*tag) for tag in tags.items()])
            self._runs.describe(self.run_id, params, found[0].data.params)
        else:
            tags |= resolve_tags() | self._tags | {names.KIND: names.KIND_STUDY}
            tags[names.VERSIONS] = json.dumps(versions())
            # MLflow keeps one profile per data set, whatever share of it a study uses.
            tags[names.DATA_PROFILE] = data.profile
            if identity is not None:
                tags[names.IDENTITY] = identity
            self.run_id = self._runs.make(self._study, tags, params).info.run_id
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
        self._runs.data = DataRecord.of(run)
        self._find_trials()

    def find_run(self, trial_id: str) -> TrialRun | None:
        """Return the run of a trial, refit or finalist, if it has been made.

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
            self._trials[record.trial_id] = TrialRun.of(record)

    def _recorded(self) -> list[TrialRecord]:
        """Return all runs of the study; if a trial has two, the one that counts comes last."""
        found = history.trials(self.client, self._experiment_id, self._study_id, kind=None)
        return sorted(found, key=lambda r: (r.status == "FINISHED", len(r.metrics)))

    def trials(self) -> list[TrialRecord]:
        """Return the records of the study's trials, in the order in which they ended."""
        return history.trials(self.client, self._experiment_id, self._study_id)

    def presence(self, trial_ids: Iterable[str]) -> Presence:
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
        if not trial.has_values(values):
            raise StudyError(
                f"Trial {trial_id} of study {self._study} is recorded in MLflow with other "
                f"values than the study's folder now gives it: its oracle.jsonl has been "
                f"altered. Restore that file, or start over with overwrite=true."
            )
        return trial.finished

    def was_cut(self, trial_id: str) -> bool:
        """Say whether a trial that is recorded can be resumed; see `outcomes.is_cut`."""
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
            trial_id: The oracle's name for it, or the name of its refit or finalist.
            values: The values it is trained with.
            tags: Further facts about it.
            kind: `names.KIND_TRIAL`, `names.KIND_REFIT` or `names.KIND_FINALIST`.
        """
        trial = self._trials.get(trial_id)
        if trial is None:
            run = self._runs.make(
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
        elif self.is_paused(trial_id) and trial.is_ours:
            self.client.update_run(trial.run_id, status="RUNNING")
            self._tag(trial, tags)
        else:
            self._runs.describe(trial.run_id, values, trial.params)
            self._tag(trial, tags)
            # The epochs that an interrupted process has logged should come again unchanged.
            trial.losses = trial_epochs.by_epoch(self.client, trial.run_id, values, names.LOSS)
            trial.num_epochs = max(trial.losses, default=0)
            self.client.update_run(trial.run_id, status="RUNNING")
            trial.model_id = self._models.whole_of(trial.run_id)
            if trial.cut:
                # What it has logged is that of fewer epochs; a registered model stays as it is.
                self._models.drop({trial.run_id})
                trial.model_id, trial.finished = None, None
        trial.step_of_model = trial_epochs.step_of_model(values)
        trial.is_ours = True
        return trial

    def _tag(self, trial: TrialRun, tags: Mapping[str, str]) -> None:
        if not tags:
            return
        self.client.log_batch(trial.run_id, tags=[RunTag(*tag) for tag in tags.items()])

    def has_epoch(self, trial_id: str, epoch: int) -> bool:
        """Say whether the metrics of an epoch of a trial that is open have been recorded."""
        return epoch <= self._trials[trial_id].num_epochs

    def has_repeat(self, trial_id: str, repeat: int) -> bool:
        """Say whether a training of a trial that is open has been recorded to its end."""
        return repeat <= self._trials[trial_id].num_repeats

    def log_repeat(self, trial_id: str, repeat: int, epochs: Sequence[Metrics]) -> None:
        """Record all epochs of one of a trial's trainings, unless they are recorded.

        Args:
            trial_id: A trial that is open.
            repeat: Number of the training, from 1.
            epochs: Its metrics after each epoch.
        """
        if not self.has_repeat(trial_id, repeat):
            trial = self._trials[trial_id]
            trial.add_repeat(repeat, epochs)
            trial.write_pending(self.client)

    def repeats(self, trial_id: str, metric: str) -> Sequence[float]:
        """Return a metric of each training of a finished trial that has several."""
        found = self._trials[trial_id].repeats
        return () if found is None else found.scores(metric)

    def curve(self, trial_id: str, values: Values, metric: str) -> list[float]:
        """Return a metric after each epoch of a trial that has a run."""
        found = trial_epochs.by_epoch(self.client, self.run_of(trial_id), values, metric)
        return list(found.values())

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
            if not trial.agrees(epoch, metrics):
                self._start_over(trial_id)
            return
        trial.add_epoch(epoch, metrics)
        if time.monotonic() - trial.written >= LIVE_SECONDS:
            trial.write_pending(self.client)

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
        new = self._runs.copy(trial.run_id)
        self._models.drop({trial.run_id})
        self.client.delete_run(trial.run_id)
        trial.start_over(new.info.run_id, new.info.artifact_uri)
        for epoch, metrics in sorted(trial.came.items()):
            self.log_epoch(trial_id, epoch, metrics)

    def pause_trial(self, pause: TrialPause) -> None:
        """Record a trial as far as it has got, and end its run for now, as SCHEDULED.

        Args:
            pause: A trial that is open.
        """
        trial = self._log_epochs(pause.trial_id, pause.epochs)
        metrics = final_metrics(pause, trial.seconds)
        trial.add_final(metrics, None)
        trial.seconds = metrics[names.TRIAL_SECONDS]
        trial.write_pending(self.client, {names.CURVE: pause.curve})
        self.client.update_run(trial.run_id, status=names.PAUSED)
        trial.cut, trial.at_rung = True, {**pause.final, **metrics}

    def end_paused(self, trial_id: str, because: str) -> None:
        """End the run of a paused trial as FINISHED, with what it has.

        Args:
            trial_id: The trial.
            because: Why it was not resumed, in words that follow a colon.
        """
        trial = self._trials[trial_id]
        tags = {names.STOPPED: "rung", names.STOPPED_BECAUSE: because}
        self._tag(trial, tags)
        self.client.set_terminated(trial.run_id, "FINISHED")
        trial.finished = trial.at_rung

    def seconds_before(self, trial_id: str) -> float:
        """Return how long a trial has run in workers before it was paused, if it was."""
        trial = self._trials.get(trial_id)
        return 0.0 if trial is None else trial.seconds

    def is_paused(self, trial_id: str) -> bool:
        """Say whether a trial's run is there and the trial is paused in it."""
        trial = self._trials.get(trial_id)
        return trial is not None and trial.cut and trial.finished is None

    def _log_epochs(self, trial_id: str, epochs: Sequence[Metrics]) -> TrialRun:
        """Record all epochs of a trial that are not recorded yet."""
        trial = self._trials[trial_id]
        for epoch, metrics in enumerate(epochs, 1):
            self.log_epoch(trial_id, epoch, metrics)
        if trial.num_epochs > len(epochs):
            trial.came = dict(enumerate(epochs, 1))
            self._start_over(trial_id)
        return trial

    def finish_trial(self, result: TrialResult, with_model: bool = True) -> None:
        """Record a trial's result and its files, and end its run as FINISHED.

        Args:
            result: Result of a trial that is open.
            with_model: Whether to log its model.
        """
        trial = self._log_epochs(result.trial_id, result.epochs)
        # Empty, not left out: the trial may have been stopped before, and resumed.
        tags = {names.CURVE: result.curve, names.STOPPED: result.stopped or ""}
        if result.continued_from is not None:
            tags[names.CONTINUED_FROM] = result.continued_from
        if result.stopped_because or trial.cut:
            tags[names.STOPPED_BECAUSE] = result.stopped_because
        # The trial may also have been stopped before with the weights of another epoch.
        if result.best_epoch is not None or trial.was_restored:
            tags[names.BEST_EPOCH] = str(result.best_epoch or "")
        trial.repeats = Repeats.of(result)
        if trial.repeats is not None:
            tags |= json_tags.as_tags(names.REPEATS, trial.repeats.encode())
        deviations = {names.deviation(n): v for n, v in result.deviations.items()}
        of_model = {**result.final, **deviations}
        trial.was_restored |= result.best_epoch is not None or trial.repeats is not None
        if trial.was_restored:
            trial.pending += metrics_at(trial.step_of_model, of_model)
        model_dir = Path(result.files.model_dir) if with_model else None
        manifest, model_id = self._files.store(trial, result.files.artifacts, model_dir)
        tags[names.FILES] = manifest.encode()
        final = final_metrics(result, trial.seconds)
        trial.add_final(final, model_id)
        trial.write_pending(self.client, tags)
        self.client.set_terminated(trial.run_id, "FINISHED")
        trial.finished = {**of_model, **final}
        trial.cut = is_cut(result.stopped)
        trial.seconds = final[names.TRIAL_SECONDS] if trial.cut else 0.0

    def fail_trial(self, failure: TrialFailure) -> None:
        """Record why a trial failed, and end its run as FAILED, or KILLED if it was stopped."""
        trial = self._trials[failure.trial_id]
        run_id = trial.run_id
        trial.pending += metrics_at(trial.num_epochs, failure.of_model)
        trial.write_pending(self.client)
        self.client.set_tag(run_id, names.ERROR, failure.error[:5000])
        self.client.set_tag(run_id, names.FAILURE, failure.kind)
        if failure.kind == "stopped":
            self.client.set_terminated(run_id, "KILLED")
            return
        if failure.traceback:
            self.client.log_text(run_id, failure.traceback, names.TRACEBACK)
        self.client.set_terminated(run_id, "FAILED")

    def kill_trial(self, trial_id: str) -> None:
        """End the run of a trial that was interrupted, unless all of it is recorded."""
        trial = self._trials[trial_id]
        if trial.finished is not None:
            return
        trial.write_pending(self.client)
        self.client.set_terminated(trial.run_id, "KILLED")

    def drop_models(self, trial_ids: Iterable[str]) -> None:
        """Remove the logged models of some trials, except those that the registry has."""
        self._models.drop({self._trials[trial_id].run_id for trial_id in trial_ids})

    def log_study(self, metrics: Metrics, tags: Mapping[str, str]) -> None:
        """Record the study's progress on its run: its best trial, its time."""
        self.client.log_batch(
            self.run_id,
            metrics_at(len(self._trials), metrics),
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def stop_requests(self) -> StopRequests:
        """Return what people have asked of the study and its trials."""
        return history.stop_requests(self.client, self._experiment_id, self._study_id)

    def tell_progress(self, tags: Mapping[str, str]) -> None:
        """Record on the study's run how far it is, for people who look at it."""
        self.client.log_batch(
            self.run_id, tags=[RunTag(key, value) for key, value in tags.items()]
        )

    def log_file(self, path: Path) -> None:
        """Keep a file with the study's run, in place of an earlier one of its name."""
        files.uninterrupted(self.client.log_artifact, self.run_id, str(path))

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

    def used_epochs(self, trial_id: str) -> int | None:
        """Return for how many epochs the model of a finished trial was trained, if known."""
        found = history.trials(
            self.client, self._experiment_id, self._study_id, kind=None, trial_id=trial_id
        )
        return next((t.used_epochs for t in found if t.status == "FINISHED"), None)

    def run_of(self, trial_id: str) -> str:
        """Return the id of a trial's run."""
        return self._trials[trial_id].run_id
