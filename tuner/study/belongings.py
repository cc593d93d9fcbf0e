"""What belongs to a recorded study: its runs, models, versions, files and folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tuner import names
from tuner.config.checks import NAME_PATTERN
from tuner.curves.identity import plain_store
from tuner.driver import remains
from tuner.driver.study_folder import EXPERIMENTS_DIR, StudyFolder, id_of_folder
from tuner.errors import StudyError
from tuner.study import records
from tuner.tracking import history, project_folder, tracking_store
from tuner.tracking.logged_models import LoggedModels
from tuner.tracking.manifest import local_folder


@dataclass(frozen=True)
class Place:
    """Where a study is.

    Attributes:
        name: The study's name.
        study_id: The study's id; empty if nothing of it knows that any more.
        run: MLflow's run of it, which may have been deleted; None if there is none.
        folder: Its folder here; None if it is not here.
    """

    name: str
    study_id: str
    run: Run | None
    folder: Path | None


@dataclass(frozen=True)
class Belongings:
    """Everything that belongs to one study.

    Attributes:
        name: The study's name.
        folder: Its folder here; None if it is not here.
        own: The study's own runs, deleted ones too. There is one, but for a run that was made
            twice, or one that somebody has deleted before the study was resumed.
        others: The runs of its trials, finalists and refits, deleted ones too.
        models: The models that these runs have logged.
        versions: The versions in the registry that were made of these models.
        foreign: Addresses of files of these runs and models that are not the study's to
            remove; see `is_foreign`.
    """

    name: str
    folder: Path | None
    own: Sequence[Run] = ()
    others: Sequence[Run] = ()
    models: Sequence[LoggedModel] = ()
    versions: Sequence[ModelVersion] = ()
    foreign: frozenset[str] = frozenset()

    @property
    def active(self) -> Sequence[Run]:
        """The runs that MLflow still shows."""
        return [r for r in (*self.own, *self.others) if r.info.lifecycle_stage == "active"]

    @property
    def num_trials(self) -> int:
        """Number of trials that MLflow still shows."""
        return sum(run.data.tags[names.KIND] == names.KIND_TRIAL for run in self.active)

    @cached_property
    def run_bytes(self) -> int | None:
        """Size of the runs' files; None if they are not on this machine."""
        return self._bytes(str(run.info.artifact_uri) for run in (*self.own, *self.others))

    @cached_property
    def model_bytes(self) -> int | None:
        """Size of the models' files; None if they are not on this machine."""
        return self._bytes(str(model.artifact_location) for model in self.models)

    @cached_property
    def curve_bytes(self) -> int:
        """Size of the checkpoints."""
        return 0 if self.folder is None else _size_below(self.folder / remains.CURVES)

    @cached_property
    def folder_bytes(self) -> int:
        """Size of the rest of what Glassy has written into the folder."""
        if self.folder is None:
            return 0
        ours = filter(remains.is_ours, self.folder.iterdir())
        return sum(map(_size_below, ours)) - self.curve_bytes

    @property
    def kept(self) -> Sequence[str]:
        """Names of what is in the folder and not Glassy's."""
        entries = () if self.folder is None else sorted(self.folder.iterdir())
        return [entry.name for entry in entries if not remains.is_ours(entry)]

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left to delete."""
        left = self.active or self.models or self.versions or self.run_bytes
        return self.folder is None and not left

    def _bytes(self, uris: Iterable[str]) -> int | None:
        total = 0
        for uri in uris:
            if uri not in self.foreign:
                if (folder := local_folder(uri)) is None:
                    return None
                total += _size_below(folder)
        return total


def locate(client: mlflow.MlflowClient, uri: str | None, wanted: str) -> Place:
    """Find a study, also one whose deletion was interrupted.

    Args:
        client: Client of the store that holds it.
        uri: Address of that store, as configured.
        wanted: The study's name, or the beginning of its id.

    Raises:
        ConfigError: If there is no study at all.
        StudyError: If there is none of that name, more than one, or if it was recorded in
            another store.
    """
    folder = EXPERIMENTS_DIR / wanted
    here = id_of_folder(wanted)
    if here is None and remains.is_half_deleted(folder):
        return Place(wanted, "", None, folder)
    experiments = history.experiments(client)
    if here is not None:
        found = history.studies(client, experiments, here, ViewType.ALL)
        if not found:
            _check_store(folder, uri)
        return Place(wanted, here, found[0] if found else None, folder)
    active = history.studies(client, experiments)
    if not any(_is_meant(run, wanted) for run in active):
        for run in history.studies(client, experiments, view=ViewType.DELETED_ONLY):
            place = _place_of(run)
            if _is_meant(run, wanted) and not gather(client, place).is_gone:
                return place
    return _place_of(records.choose(client, None, wanted))


def gather(client: mlflow.MlflowClient, place: Place) -> Belongings:
    """Find everything that belongs to a study."""
    if place.run is None:
        return Belongings(place.name, place.folder)
    facts = history.read_study(place.run)
    runs = history.runs_of(client, facts.experiment_id, facts.study_id, ViewType.ALL)
    logged = LoggedModels(client, facts.experiment_id, {names.STUDY_ID: facts.study_id})
    models = logged.every()
    owners = {str(run.info.artifact_uri): run.info.run_id for run in runs}
    owners |= {str(model.artifact_location): model.model_id for model in models}
    database = tracking_store.sqlite_path(client.tracking_uri)
    home = client.get_experiment(facts.experiment_id).tags.get(names.FOLDER)
    own = [run for run in runs if run.data.tags.get(names.KIND) == names.KIND_STUDY]
    return Belongings(
        name=facts.name,
        folder=place.folder,
        own=own,
        others=[run for run in runs if run not in own],
        models=models,
        versions=_versions(client, runs, models),
        foreign=frozenset(u for u, i in owners.items() if is_foreign(u, i, database, home)),
    )


def _place_of(run: Run) -> Place:
    facts = history.read_study(run)
    # The name comes from the store: it must not lead to another folder.
    is_here = (
        NAME_PATTERN.fullmatch(facts.name) is not None
        and id_of_folder(facts.name) == facts.study_id
    )
    folder = EXPERIMENTS_DIR / facts.name if is_here else None
    return Place(facts.name, facts.study_id, run, folder)


def _versions(
    client: mlflow.MlflowClient, runs: Sequence[Run], models: Sequence[LoggedModel]
) -> list[ModelVersion]:
    run_ids = {run.info.run_id for run in runs}
    sources = {f"models:/{model.model_id}" for model in models}
    try:
        every = list(history.pages(client.search_model_versions))
    except MlflowException:
        # The store has no registry.
        return []
    return [v for v in every if v.run_id in run_ids or v.source in sources]


def is_foreign(uri: str, owner: str, database: Path | None, home: str | None) -> bool:
    """Say whether files that a store names are not to be removed with a run or model.

    Whoever can write to a store can name any folder there; and a database that was copied
    without its files still names those of the original.

    Args:
        uri: Address of the files.
        owner: Id of the run or the model.
        database: The store's SQLite file, if it is one.
        home: The folder that this file lay in when the experiment was made, if known.
    """
    folder = local_folder(uri)
    if folder is None:
        return False
    # As MLflow lays them out.
    if folder.parts[-2:] != (owner, "artifacts"):
        return True
    if database is None:
        return False
    now = project_folder.folder_of(database)
    return home != str(now) and not folder.resolve().is_relative_to(now)


def _is_meant(run: Run, wanted: str) -> bool:
    tags = run.data.tags
    is_id = len(wanted) >= records.MIN_ID and tags[names.STUDY_ID].startswith(wanted)
    return tags[names.STUDY] == wanted or is_id


def _check_store(folder: Path, uri: str | None) -> None:
    """Refuse to take a folder for all that there is of a study that another store records."""
    recorded, asked = StudyFolder(folder).state.store, plain_store(uri)
    if recorded not in (None, asked):
        raise StudyError(
            f"The study of {folder} was recorded in {recorded}, not in {asked}: give "
            f"tracking.uri={recorded}."
        )


def _size_below(path: Path) -> int:
    """Return the size in bytes of a file, or of all files below a folder; 0 if it is gone."""
    if not path.is_dir():
        return path.stat().st_size if path.is_file() else 0
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
