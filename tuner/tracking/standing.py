"""The present state of a study that has ended: its runs, its version, the version's aliases.

What was true when the study ended may no longer be: runs get deleted, versions removed, aliases
moved. So nothing about it is repeated without looking it up again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mlflow
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from tuner import names
from tuner.config.printed_commands import of_module
from tuner.errors import UnavailableError, UserError
from tuner.tracking import history, tracking_store
from tuner.tracking.facts import StudyFacts
from tuner.tracking.history import restore


@dataclass(frozen=True)
class Standing:
    """A trial's version in the registry, as it is now.

    Attributes:
        name: Name of the registered model.
        version: Number of the trial's version.
        aliases: All aliases of this version.
    """

    name: str
    version: str
    aliases: tuple[str, ...]

    def __str__(self) -> str:
        """Describe it in a few words."""
        return f"{self.name} version {self.version}, {self.role}"

    @property
    def role(self) -> str:
        """Its present role, such as `champion`."""
        return " and ".join(self.aliases) or "without an alias"


def registered_as(name: str, version: str, alias: str, has_it: bool) -> str:
    """Word the outcome for a challenger."""
    return f"Registered as {name} version {version}, {'now' if has_it else 'not'} {alias}."


def find(client: mlflow.MlflowClient, run_ids: Iterable[str]) -> Standing | None:
    """Return the present state of a trial's version; None if the registry has none.

    Args:
        client: Client of the store.
        run_ids: Runs that it may have been registered from, the one that counts first.
    """
    try:
        for run_id in run_ids:
            if found := list(client.search_model_versions(f"run_id = '{run_id}'")):
                latest = max(found, key=lambda version: int(version.version))
                aliases = client.get_model_version(latest.name, latest.version).aliases
                return Standing(latest.name, str(latest.version), tuple(sorted(aliases)))
    except MlflowException:
        # The store has no registry, or the version is being removed right now.
        return None
    return None


def summary(uri: str | None, study_id: str, alias: str, lines: Sequence[str]) -> list[str]:
    """Return the closing lines of a finished study, or what has changed since.

    Args:
        uri: Address of its store, as configured.
        study_id: The study's id.
        alias: The alias for which its best model was a candidate.
        lines: Its closing lines.
    """
    try:
        client = tracking_store.connect_to_existing(uri)
    except (UserError, UnavailableError) as error:
        return [f"Its summary cannot be checked, so it is not repeated: {error}"]
    said = next((line for line in lines if line.startswith("Registered as ")), None)
    changes, before = _changes(client, study_id, alias, said), list(lines)
    if not changes:
        return ["Its summary:", *before]
    return ["Since it ended, its records have changed:", *(f"  {line}" for line in changes)]


def _changes(
    client: mlflow.MlflowClient, study_id: str, alias: str, said: str | None
) -> list[str]:
    """Return what has changed since a study's closing lines."""
    found = history.studies(client, history.experiments(client), study_id, ViewType.ALL)
    if not found:
        return [
            "MLflow no longer has a record of this study. To search again, give the same "
            "command with overwrite=true."
        ]
    changes = []
    run, facts = found[0], history.read_study(found[0])
    if (when := run.data.tags.get(names.DELETED)) is not None:
        command = of_module("tuner.delete", [f"study={facts.name}"])
        return [
            f"It was deleted by tuner.delete ({when}), but for this folder. To remove that, "
            f"too: {command}. To search again, give the same command with overwrite=true."
        ]
    if run.info.lifecycle_stage != "active":
        changes.append(_restored_by("The study's run", facts.run_id))
    if facts.best_model is not None:
        changes += _of_best(client, facts, facts.best_model, alias, said)
    return changes


def _of_best(
    client: mlflow.MlflowClient, facts: StudyFacts, trial_id: str, alias: str, said: str | None
) -> list[str]:
    changes = []
    place = facts.experiment_id, facts.study_id
    if not history.trials(client, *place, None, trial_id):
        deleted = history.trials(client, *place, None, trial_id, ViewType.DELETED_ONLY)
        what = f"The run of its best trial ({trial_id})"
        gone = f"{what} is gone from MLflow."
        changes.append(_restored_by(what, deleted[-1].run_id) if deleted else gone)
    if said is None:
        return changes
    judged = facts.judged_trial or trial_id
    standing = find(client, history.judged_runs(client, facts, judged, ViewType.ALL))
    if standing is None:
        changes.append(f"Its summary says: {said} That version is no longer in the registry.")
    elif said != registered_as(
        standing.name, standing.version, alias, alias in standing.aliases
    ):
        changes.append(f"Its best model is {standing}.")
    if changes and (holder := _holder(client, standing, alias)):
        changes.append(holder)
    return changes


def _holder(client: mlflow.MlflowClient, standing: Standing | None, alias: str) -> str | None:
    """Say which other version holds an alias now."""
    if standing is None or alias in standing.aliases:
        return None
    try:
        version = client.get_model_version_by_alias(standing.name, alias)
    except MlflowException:
        return f"No version of {standing.name} is {alias}."
    return f"Version {version.version} of {standing.name} is {alias}."


def _restored_by(what: str, run_id: str) -> str:
    return f"{what} was deleted in MLflow; to bring it back: {restore(run_id)}"
