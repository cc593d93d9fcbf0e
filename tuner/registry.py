"""The registry: versions of a model, the aliases that say which is in service, and every move.

The champion's alias moves last, so whatever is killed on the way leaves the old champion in its
place, and doing it again completes the move.
"""

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from tuner import model_check, store
from tuner.checksums import MODEL_FILE, TAG, sha256_of
from tuner.errors import ConfigError, ModelError, StudyError
from tuner.logged_models import artifacts, logged_model_id

CHALLENGER = "challenger"
"""Alias of the version that was judged last, unless it is champion."""

PREVIOUS = "previous"
"""Alias of the version that was champion before."""

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What stores call an alias that is not there, or whose version is gone."""


@dataclass(frozen=True)
class Registry:
    """The versions of one registered model.

    Attributes:
        client: Of the store they are in.
        name: The registered model's.
        alias: Of the version in service.
    """

    client: mlflow.MlflowClient
    name: str
    alias: str = "champion"

    def check(self) -> None:
        """Ask whether there is a registry, before anything depends on it.

        Raises:
            ConfigError: If the tracking store has none.
        """
        try:
            with store.probing():
                self.client.search_registered_models(max_results=1)
        except (MlflowException, OSError) as error:
            raise ConfigError(
                f"`registry.name={self.name}` needs a model registry that answers, but: "
                f"{str(error).splitlines()[0]} Give a store that has one "
                f"(MLFLOW_REGISTRY_URI, else tracking.uri); registry.name=null does without."
            ) from error

    def register(self, run_id: str) -> ModelVersion:
        """Return the version of a run's model, with its digest; it is made, once.

        Raises:
            StudyError: If the run has logged no model.
            ModelError: If the model's file is gone, or is not the one that the run logged.
        """
        version = self.find(run_id)
        known = None if version is None else version.tags.get(TAG)
        digest = model_check.digest_of_model(self.client, run_id, known)
        if version is None:
            self._make()
            version = self._make_version(run_id)
        if TAG not in version.tags or digest != version.tags[TAG]:
            # MLflow's server does it itself; without it the model's page says "Not registered",
            # and a study that ends would not know that the model is in use.
            link = json.dumps([{"name": self.name, "version": version.version}])
            model_id = logged_model_id(self.client, run_id)
            self.client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: link})
            self.client.set_model_version_tag(self.name, version.version, TAG, digest)
            version = self.client.get_model_version(self.name, version.version)
        return version

    def find(self, run_id: str) -> ModelVersion | None:
        """Return the version of a run's model, if there is one."""
        for version in self.client.search_model_versions(f"run_id = '{run_id}'"):
            if version.name == self.name:
                return version
        return None

    def _make_version(self, run_id: str) -> ModelVersion:
        model_id = logged_model_id(self.client, run_id)
        with store.as_default(self.client):
            return self.client.create_model_version(
                self.name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id
            )

    def describe(
        self, version: ModelVersion, description: str, tags: Mapping[str, str]
    ) -> None:
        """Say what a version is."""
        self.client.update_model_version(self.name, version.version, description)
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version.version, key, value)

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Return a copy of a version's `.keras` file, which is the one that was registered.

        Args:
            version: Whose.
            folder: Existing; gets the copy.

        Raises:
            ModelError: If it is gone, or has been altered.
        """
        try:
            source = self.client.get_model_version_download_uri(self.name, version.version)
            files = artifacts(self.client, source)
            path = Path(files.download_artifacts(MODEL_FILE, str(folder)))
        except (MlflowException, OSError) as error:
            raise ModelError(
                f"The model of {self.name} version {version.version} is gone: its files, or "
                f"MLflow's record of it, have been deleted ({str(error).splitlines()[0]})."
            ) from error
        if version.tags.get(TAG, found := sha256_of(path)) != found:
            raise ModelError(
                f"The model of {self.name} version {version.version} has been altered: its "
                f"file {MODEL_FILE} is not the one that was registered."
            )
        return path

    def holder(self, alias: str) -> ModelVersion | None:
        """Return the version that has an alias, if any."""
        try:
            return self.client.get_model_version_by_alias(self.name, alias)
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise

    @contextlib.contextmanager
    def moving(self) -> Iterator[None]:
        """Let no other process of this user on this machine move the aliases meanwhile."""
        key = hashlib.sha256(f"{self.client.tracking_uri} {self.name}".encode()).hexdigest()
        # Of one's own, since nobody may write to another user's file there.
        path = Path(tempfile.gettempdir()) / f"glassy-{os.geteuid()}-{key[:16]}.lock"
        # It stays: whoever waits for a file that is removed waits for another one.
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def challenge(self, version: ModelVersion) -> None:
        """Mark a version as the challenger."""
        self.client.set_registered_model_alias(self.name, CHALLENGER, version.version)

    def promote(self, version: ModelVersion, why: str) -> None:
        """Make a version champion, and the champion the previous one; `moving` is held."""
        champion = self.holder(self.alias)
        if champion is not None and champion.version != version.version:
            self._set(PREVIOUS, champion)
        if champion is None or champion.version != version.version:
            self._note(version, why, champion)
            self._set(self.alias, version)
        challenger = self.holder(CHALLENGER)
        if challenger is not None and challenger.version == version.version:
            self.client.delete_registered_model_alias(self.name, CHALLENGER)

    def roll_back(self) -> tuple[ModelVersion, ModelVersion]:
        """Put the previous champion back, and make the champion the previous one.

        Returns:
            The version that is champion now, and the one that was.

        Raises:
            StudyError: If there is none to put back.
            ModelError: If its files are gone.
        """
        with self.moving():
            champion, previous = self.holder(self.alias), self.holder(PREVIOUS)
            if champion is None:
                raise StudyError(f"{self.name} has no {self.alias} that could be rolled back.")
            if previous is None or previous.version == champion.version:
                raise StudyError(
                    f"{self.name} has had no {self.alias} before version {champion.version} "
                    f"that could be put back: the alias `{PREVIOUS}` names no other version."
                )
            with tempfile.TemporaryDirectory() as folder:
                self.download(previous, Path(folder))
            self._note(previous, "rollback", champion)
            self._set(self.alias, previous)
            self._set(PREVIOUS, champion)
        return previous, champion

    def _make(self) -> None:
        try:
            self.client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _set(self, alias: str, version: ModelVersion) -> None:
        self.client.set_registered_model_alias(self.name, alias, version.version)

    def _note(self, version: ModelVersion, why: str, before: ModelVersion | None) -> None:
        """Record a move on the version that moves, before it does."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        instead = f" instead of version {before.version}" if before else ""
        key = f"tuner.moved.{now.replace('+00:00', 'Z')}"
        said = f"{self.alias}{instead}: {why}"
        self.client.set_model_version_tag(self.name, version.version, key, said[:5000])
