"""The registry: versions of a model, the aliases that mark the one in service, and every move.

The champion's alias moves last, so a process killed on the way leaves the old champion in its
place, and repeating the command completes the move.
"""

import contextlib
import datetime
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from tuner import names, passwords
from tuner.config import aliases
from tuner.errors import ConfigError, ModelError, StudyError
from tuner.runtime import locks
from tuner.tracking import checksums, model_check, model_files, tracking_store
from tuner.tracking.checksums import DESCRIPTION_FILE, DESCRIPTION_TAG, MODEL_FILE, TAG
from tuner.tracking.logged_models import logged_model_id
from tuner.wording import first_line

logger = logging.getLogger(__name__)

MAX_HISTORY = 1000
"""Number of versions in an alias's history; older ones cannot be rolled back to."""

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""Error codes of stores for an alias that does not exist, or whose version is gone."""


@dataclass(frozen=True)
class RolledBack:
    """The result of a rollback.

    Attributes:
        now: The version that is now champion.
        before: The former champion; None if the alias had been removed.
        deleted: Versions that were champion in between, and have since been deleted.
    """

    now: ModelVersion
    before: ModelVersion | None
    deleted: tuple[str, ...]


@dataclass(frozen=True)
class Registry:
    """The versions of one registered model.

    Attributes:
        client: Client of the store that holds them.
        name: Name of the registered model.
        alias: Alias of the version in service.
    """

    client: mlflow.MlflowClient
    name: str
    alias: str = aliases.DEFAULT

    def check(self) -> None:
        """Check that there is a registry, before anything depends on it.

        Raises:
            ConfigError: If the tracking store has none.
        """
        try:
            with tracking_store.probing():
                self.client.search_registered_models(max_results=1)
        except (MlflowException, OSError) as error:
            raise ConfigError(
                f"`registry.name={self.name}` needs a model registry that answers, but: "
                f"{first_line(error)}. Give a store that has one (MLFLOW_REGISTRY_URI or "
                f"tracking.uri), or registry.name=null to do without."
            ) from error

    def register(self, run_id: str) -> ModelVersion:
        """Return the version of a run's model, with its digest; the first call makes it.

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
            with tempfile.TemporaryDirectory() as folder:
                [description] = self._fetch(version, [DESCRIPTION_FILE], Path(folder))
                digests = {
                    DESCRIPTION_TAG: checksums.description_digest(description),
                    # Last, since this tag marks a version as complete.
                    TAG: digest,
                }
            # MLflow's server sets this tag itself. Without it the model's page says "Not
            # registered", and a study that ends would not know that the model is in use.
            link = json.dumps([{"name": self.name, "version": version.version}])
            model_id = logged_model_id(self.client, run_id)
            self.client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: link})
            for tag, value in digests.items():
                self.client.set_model_version_tag(self.name, version.version, tag, value)
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
        with tracking_store.as_default(self.client):
            return self.client.create_model_version(
                self.name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id
            )

    def describe(
        self, version: ModelVersion, description: str, tags: Mapping[str, str | None]
    ) -> None:
        """Set a version's description and tags; a tag of None is removed."""
        self.client.update_model_version(self.name, version.version, description)
        for key, value in tags.items():
            if value is not None:
                self.client.set_model_version_tag(self.name, version.version, key, value)
            elif key in version.tags:
                self.client.delete_model_version_tag(self.name, version.version, key)

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Return a copy of a version's `.keras` file, checked to be the one registered.

        Args:
            version: The version.
            folder: Existing folder for the copy.

        Raises:
            ModelError: If it is gone, or has been altered.
        """
        description, model = self._fetch(version, [DESCRIPTION_FILE, MODEL_FILE], folder)
        title = f"{self.name} version {version.version}"
        differing = checksums.differing(title, version.tags, model, description)
        for file, why in differing.items():
            raise ModelError(
                f"The model of {title} has been altered: its file {file} is not the one that "
                f"was registered ({why})."
            )
        return model

    def _fetch(self, version: ModelVersion, wanted: Sequence[str], folder: Path) -> list[Path]:
        """Return copies of some of a version's files, in the given order.

        Raises:
            ModelError: If they cannot be read.
        """
        what = f"The model of {self.name} version {version.version}"
        try:
            source = self.client.get_model_version_download_uri(self.name, version.version)
        except MlflowException as error:
            raise ModelError(
                f"{what} is gone: MLflow's record of it has been deleted ({first_line(error)})."
            ) from error
        try:
            return [model_files.fetch(self.client, source, file, folder) for file in wanted]
        except model_files.Unreadable as error:
            raise ModelError(
                f"{what} is gone: its files in {passwords.hide(source)} cannot be read "
                f"({error})."
            ) from error

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
        name = f"{self.client.tracking_uri} {self.name}"
        with locks.hold(name, f"the aliases of {self.name}"):
            yield

    def challenge(self, version: ModelVersion) -> None:
        """Mark a version as the challenger."""
        self._set(aliases.challenger_of(self.alias), version)

    def promote(self, version: ModelVersion, why: str) -> None:
        """Make a version champion, and the champion the previous one; `moving` is held."""
        champion = self.holder(self.alias)
        if champion is None or champion.version != version.version:
            history = self._history(champion)
            self._write_history([*history, str(version.version)])
            if champion is not None:
                self._set(aliases.previous_of(self.alias), champion)
            self._note(version, why, champion)
            self._set(self.alias, version)
        name = aliases.challenger_of(self.alias)
        challenger = self.holder(name)
        if challenger is not None and challenger.version == version.version:
            self.client.delete_registered_model_alias(self.name, name)

    def roll_back(self) -> RolledBack:
        """Put the previous champion back; a second call the one before that, and so on.

        Raises:
            StudyError: If there is no earlier champion.
            ModelError: If its files are gone, or have been altered.
        """
        with self.moving():
            champion = self.holder(self.alias)
            history = self._history(champion)
            if not history:
                raise StudyError(f"{self.name} has no {self.alias} to roll back.")
            earlier, deleted = history if champion is None else history[:-1], []
            while earlier and (before := self._version(earlier[-1])) is None:
                deleted.append(earlier.pop())
            if not earlier or before is None:
                gone = f" (deleted: {', '.join(deleted)})" if deleted else ""
                raise StudyError(
                    f"{self.name} has no {self.alias} before version {history[-1]} to roll "
                    f"back to{gone}. To choose a version yourself, set the alias in MLflow."
                )
            with tempfile.TemporaryDirectory() as folder:
                self.download(before, Path(folder))
            self._note(before, "rollback", champion)
            self._set(self.alias, before)
            self._write_history(earlier)
            self._mark_previous(earlier[:-1])
        return RolledBack(before, champion, tuple(deleted))

    def _history(self, champion: ModelVersion | None) -> list[str]:
        """Return the versions that have held an alias, in order; the last is the champion.

        The alias itself is authoritative. It is moved after the history is written and before
        it is cut, and anybody may move it in MLflow, so the history is adjusted to it: versions
        after the champion were never put in service, or have been rolled back.
        """
        try:
            model = self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return []
            raise
        written = model.tags.get(aliases.history_tag(self.alias))
        if champion is None:
            return (written or "").split()
        number = str(champion.version)
        if written is None:
            before = self.holder(aliases.previous_of(self.alias))
            history = [] if before is None else [str(before.version)]
        else:
            history = written.split()
        while number in history and history[-1] != number:
            history.pop()
        if not history or history[-1] != number:
            history.append(number)
        return history

    def _write_history(self, versions: list[str]) -> None:
        self.client.set_registered_model_tag(
            self.name, aliases.history_tag(self.alias), " ".join(versions[-MAX_HISTORY:])
        )

    def _mark_previous(self, earlier: list[str]) -> None:
        """Set the alias `previous` to the version a rollback would restore, or remove it."""
        name = aliases.previous_of(self.alias)
        left = filter(None, map(self._version, reversed(earlier)))
        if (before := next(left, None)) is not None:
            self._set(name, before)
        elif self.holder(name) is not None:
            self.client.delete_registered_model_alias(self.name, name)

    def _version(self, number: str) -> ModelVersion | None:
        """Return a version, or None if it has been deleted."""
        try:
            return self.client.get_model_version(self.name, number)
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise

    def _make(self) -> None:
        try:
            self.client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _set(self, alias: str, version: ModelVersion) -> None:
        self.client.set_registered_model_alias(self.name, alias, version.version)

    def _note(self, version: ModelVersion, why: str, before: ModelVersion | None) -> None:
        """Record the move of the alias on its new version, before the move."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        instead = f" instead of version {before.version}" if before else ""
        key = names.moved_tag(now.replace("+00:00", "Z"))
        said = f"{self.alias}{instead}: {why}"
        self.client.set_model_version_tag(self.name, version.version, key, said[:5000])
