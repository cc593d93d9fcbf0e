"""Resolves a model's name to the location of its files and its entry in the registry."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import mlflow
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from tuner import passwords
from tuner.config import aliases
from tuner.config.overrides import key_of
from tuner.config.printed_commands import of_module
from tuner.errors import UserError
from tuner.tracking import history, model_files
from tuner.tracking.logged_models import logged_model_id
from tuner.wording import first_line

REFERENCES = (
    "<name>",
    "models:/<name>@<alias>",
    "models:/<name>/<version>",
    "models:/<model id>",
    "runs:/<run>/model",
)
"""The ways in which a model can be named."""

_ALIAS = re.compile(r"models:/([^/:@]+)@([^/:@]+)")
_VERSION = re.compile(r"models:/([^/:@]+)/([0-9]+)")
_MODEL_ID = re.compile(r"models:/(m-[^/:@]+)")
_RUN = re.compile(r"runs:/([^/:@]+)/model")

# Error codes of stores for a name, alias, version, model or run that does not exist.
_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class FoundModel:
    """A model of the store.

    Attributes:
        reference: Its name in full: `models:/<name>@champion` for a bare name.
        location: Address of its files, for MLflow.
        version: Its version in the registry, if it was named by alias or version.
        run_id: Id of the run that has logged it, if known.
    """

    reference: str
    location: str
    version: ModelVersion | None
    run_id: str | None = None

    @property
    def title(self) -> str:
        """Its name in a sentence, such as `digits-classifier version 3`."""
        if self.version is None:
            return self.reference
        return f"{self.version.name} version {self.version.version}"


def find(client: mlflow.MlflowClient, name: str) -> FoundModel:
    """Look up a model in the store, and in its registry.

    Args:
        client: Client of the store.
        name: One of `REFERENCES`; a bare name means its champion.

    Raises:
        UserError: If the name has none of these forms, or there is no such model; the message
            says which models there are.
    """
    reference = name if ":/" in name else f"models:/{name}@{aliases.DEFAULT}"
    try:
        if match := _ALIAS.fullmatch(reference):
            version = client.get_model_version_by_alias(*match.groups())
        elif match := _VERSION.fullmatch(reference):
            version = client.get_model_version(*match.groups())
        elif match := _MODEL_ID.fullmatch(reference):
            model = client.get_logged_model(match[1])
            run_id = model.source_run_id
            return FoundModel(reference, str(model.artifact_location), None, run_id)
        elif match := _RUN.fullmatch(reference):
            model = client.get_logged_model(logged_model_id(client, match[1]))
            return FoundModel(reference, str(model.artifact_location), None, match[1])
        else:
            raise UserError(
                f"A model must be given as {_either(REFERENCES)}, but got {name!r}."
            )
        location = client.get_model_version_download_uri(version.name, str(version.version))
    except MlflowException as error:
        _explain(client, reference, error)
    return FoundModel(reference, str(location), version, version.run_id)


def only_champion(client: mlflow.MlflowClient, module: str, given: Sequence[str]) -> str:
    """Return the reference of the only champion in the registry.

    A version is champion if it holds the alias `champion`, or another alias that promotions
    have moved (`registry.alias`).

    Args:
        client: Client of the store.
        module: The module that is run, such as `tuner.predict`, for the commands in messages.
        given: Its arguments, as typed.

    Raises:
        UserError: If there is none, or more than one; the message has a command for each
            model that can be used.
    """

    def listed(references: Iterable[str]) -> str:
        kept = [argument for argument in given if key_of(argument) != "model"]
        commands = (of_module(module, [*kept, f"model={name}"]) for name in references)
        return "".join(f"\n  {command}" for command in commands)

    found = history.pages(client.search_registered_models)
    models = sorted(found, key=lambda model: model.name)
    champions = [
        f"models:/{model.name}@{alias}"
        for model in models
        for alias in sorted(model.aliases)
        if alias == aliases.DEFAULT or aliases.history_tag(alias) in model.tags
    ]
    if len(champions) == 1:
        return champions[0]
    if champions:
        raise UserError(
            f"`model` must say which of {len(champions)} champions to use:{listed(champions)}"
        )
    latest = [f"models:/{name}/{number}" for name, number in map(_latest, models) if number]
    if latest:
        raise UserError(
            f"`model` is missing, and no model registered in {_shown(client)} has a champion. "
            f"Promote one (python -m tuner.promote study=<name>), or use the latest version of "
            f"one:{listed(latest)}"
        )
    raise UserError(
        f"No model is registered in {_shown(client)}: run python -m tuner.search first, in "
        f"the same folder."
    )


def _latest(model: RegisteredModel) -> tuple[str, int | None]:
    """Return a registered model's name, and the number of its latest version if it has any."""
    return model.name, max((int(v.version) for v in model.latest_versions), default=None)


def fetch(client: mlflow.MlflowClient, model: FoundModel, file: str, folder: Path) -> Path:
    """Copy one of a model's files into a folder, and return the path of the copy.

    Args:
        client: Client of the store that holds the model.
        model: The model.
        file: Path of the file among the model's files.
        folder: A folder of our own, which nobody else can write to.

    Raises:
        UserError: If it is not there.
    """
    try:
        return model_files.fetch(client, model.location, file, folder)
    except model_files.Unreadable as error:
        raise UserError(
            f"The model {model.reference} cannot be loaded: its file {file} in "
            f"{passwords.hide(model.location)} cannot be read ({error}). Restore its files, or "
            f"give another model."
        ) from error


def _explain(client: mlflow.MlflowClient, reference: str, error: MlflowException) -> NoReturn:
    """Say in one message why there is no such model, and which models there are."""
    intro = f"The model {reference} cannot be loaded:"
    if error.error_code not in _NOT_FOUND:
        raise UserError(
            f"{intro} {_shown(client)} does not answer as a model registry "
            f"({first_line(error)}). Set `tracking.uri` to a store with a registry, or give a "
            f"trial's model as runs:/<run>/model."
        ) from error
    match = _ALIAS.fullmatch(reference) or _VERSION.fullmatch(reference)
    if match is None:
        raise UserError(
            f"{intro} {first_line(error)}. `mlflow ui` shows the runs and their models."
        ) from error
    name, wanted = match.groups()
    try:
        registered = client.get_registered_model(name)
    except MlflowException:
        known = ", ".join(_registered(client)) or "none"
        raise UserError(
            f"{intro} {_shown(client)} has no registered model {name}. Give "
            f"models:/<name>@champion or models:/<name>/<version>; registered here: {known}."
        ) from error
    held = registered.aliases
    known = ", ".join(sorted(held)) or "none"
    if "@" not in reference:
        missing = f"there is no version {wanted}"
    elif wanted in held:
        missing = f"its alias {wanted} stands for version {held[wanted]}, which is gone"
    else:
        missing = f"it has no alias {wanted}"
    _, latest = _latest(registered)
    versions = "It has no versions" if latest is None else f"Its latest version is {latest}"
    raise UserError(f"{intro} {missing}. {versions}; its aliases: {known}.") from error


def _shown(client: mlflow.MlflowClient) -> str:
    return passwords.hide(client.tracking_uri)


def _registered(client: mlflow.MlflowClient) -> list[str]:
    return sorted(model.name for model in history.pages(client.search_registered_models))


def _either(references: tuple[str, ...]) -> str:
    return f"{', '.join(references[:-1])} or {references[-1]}"
