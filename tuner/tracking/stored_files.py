"""The files of a study's runs: stored, synced to disk, and checked for damage.

Syncing and checking cover only files on this machine: a server or a bucket that has confirmed
a file is trusted.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import mlflow

from tuner.runtime import files
from tuner.tracking.logged_models import LoggedModels, artifacts
from tuner.tracking.manifest import Manifest, damage, local_folder
from tuner.tracking.trial_runs import TrialRun
from tuner.wording import plural

logger = logging.getLogger(__name__)


class _Run(Protocol):
    """Facts about a run's files."""

    @property
    def run_id(self) -> str: ...
    @property
    def artifact_uri(self) -> str: ...
    @property
    def manifest(self) -> Manifest | None: ...


class StoredFiles:
    """The files of the runs of one experiment.

    Args:
        client: Client of the store that holds the runs.
        uri: Address of the experiment's artifacts.
        models: The models that the runs log.
    """

    def __init__(self, client: mlflow.MlflowClient, uri: str, models: LoggedModels) -> None:
        self._client = client
        self._folder = local_folder(uri)
        self._models = models

    def store(
        self, trial: TrialRun, paths: Sequence[str], model_dir: Path | None
    ) -> tuple[Manifest, str | None]:
        """Copy a trial's files to the store and sync them to disk.

        Files that an interrupted process copied may not be on disk, so all are copied again.

        Args:
            trial: The trial's run.
            paths: The artifacts.
            model_dir: The model's folder, which is moved, if it is logged.

        Returns:
            The manifest of the files, and the model's id.
        """
        store = artifacts(self._client, trial.artifact_uri)
        for path in paths:
            files.uninterrupted(store.log_artifact, path)
        logged = None
        if model_dir is not None:
            logged = self._models.begin(trial.run_id, model_dir, trial.model_id)
        manifest = Manifest.of(paths, model_dir)
        uris = [trial.artifact_uri]
        if logged is not None and model_dir is not None:
            self._models.upload(logged, model_dir)
            uris.append(logged.artifact_location)
        self.sync(uris)
        if logged is None:
            return manifest, None
        if trial.model_id is None:
            self._models.complete(logged, trial.run_id, trial.num_epochs)
        return manifest, str(logged.model_id)

    def sync(self, uris: Sequence[str], is_first: bool = False) -> None:
        """Sync everything at some addresses to disk, with the folders made for it.

        Args:
            uris: Addresses of artifacts.
            is_first: Whether the experiment's folder, and those above it, may be new.
        """
        folders = [folder for uri in uris if (folder := local_folder(uri)) is not None]
        for top in dict.fromkeys(self._top(folder, is_first) for folder in folders):
            files.sync_trees([f for f in folders if self._top(f, is_first) == top], top)

    def _top(self, folder: Path, is_first: bool) -> Path:
        if is_first:
            return Path(folder.anchor)
        if self._folder is not None and folder.is_relative_to(self._folder):
            return self._folder
        return folder.parent.parent

    def damaged(self, finished: Mapping[str, _Run]) -> list[str]:
        """Return the finished trials whose files are damaged or gone.

        Args:
            finished: Runs of finished trials, by the trials' ids.
        """
        if self._folder is None or not finished:
            return []
        models = self._models.by_run()
        found = {}
        for trial_id, run in finished.items():
            artifacts = local_folder(run.artifact_uri)
            logged = models.get(run.run_id)
            # A model that was not kept no longer has a record, so it is not missing.
            model = None if logged is None else local_folder(logged.artifact_location)
            if artifacts is not None:
                found[trial_id] = damage(run.manifest, artifacts, model)
        said = [f"{trial_id}: {what}" for trial_id, what in found.items() if what is not None]
        if said:
            logger.warning(
                "Files of %s are damaged or gone, so the same training makes them again: %s.",
                plural(len(said), "finished trial"),
                "; ".join(said[:5]) + ("; …" if len(said) > 5 else ""),
            )
        return [trial_id for trial_id, what in found.items() if what is not None]
