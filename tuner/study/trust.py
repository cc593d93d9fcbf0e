"""Decides what a tracking store may say, and what only the user's own command may.

Whoever can write to a store can write a study's configuration there. So it is read as plain
data: nothing in it is resolved, and no module that it names is imported, unless the command
names that module too, or the study's own folder here does.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tuner import names
from tuner.config import compose as configuration
from tuner.config.checks import NAME_PATTERN
from tuner.config.schema import StudyConfig
from tuner.driver import remains, study_folder
from tuner.errors import ConfigError, GlassyError, StudyError
from tuner.models import SPACES
from tuner.tracking import plain_yaml

LOADERS = (
    "tuner.datasets.digits.load",
    "tuner.datasets.fashion_mnist.load",
    "tuner.datasets.image_folder.load",
    "tuner.datasets.mnist.load",
    "tuner.datasets.npz.load",
)
"""Glassy's own loaders, which run no code that the configuration names."""

CODE: Mapping[str, tuple[str, ...]] = {
    "data._target_": LOADERS,
    "model._target_": tuple(SPACES),
    "model.custom_objects": (),
}
"""Keys that name code to import, each with the names that are always allowed."""


def read_config(content: bytes, study: str) -> StudyConfig:
    """Return a study's configuration from a store, checked like one that is typed.

    Args:
        content: Content of its `config.yaml`.
        study: The study's name, for the message.

    Raises:
        StudyError: If it is not what Glassy writes.
    """
    try:
        stored = plain_yaml.read(content)
        for key, text in plain_yaml.texts(stored):
            if "${" in text:
                raise plain_yaml.NotPlain(f"`{key}` holds an interpolation, {text!r}")
        return configuration.load(OmegaConf.create(stored))
    # Any exception: OmegaConf may fail in many ways on what somebody has put there.
    except Exception as error:
        is_worded = isinstance(error, GlassyError | plain_yaml.NotPlain)
        why = str(error).rstrip(".") if is_worded else "it is not a study's configuration"
        raise StudyError(
            f"Study {study} cannot be used: its config.yaml in the tracking store is not what "
            f"a search writes ({why}). If it was altered, restore the original, for example "
            f"from the folder experiments/{study}."
        ) from error


def check_code(
    settings: StudyConfig, told: Mapping[str, object], study: str, study_id: str
) -> None:
    """Refuse to import a module that a tracking store names and the user does not.

    Args:
        settings: The settings that will be used.
        told: The settings of the user's own command, nested like them.
        study: The study's name.
        study_id: Its id, as the store has it.

    Raises:
        ConfigError: It says which key to give.
    """
    wanted, given = _flat(configuration.to_dict(settings)), _flat(told)
    here = None
    for key, built_in in CODE.items():
        name = wanted.get(key)
        is_used = key != "model._target_" or settings.registry.refit
        if name is None or not is_used or name in built_in or given.get(key) == name:
            continue
        here = _own_settings(study, study_id) if here is None else here
        if here.get(key) == name:
            continue
        raise ConfigError(
            f"`{key}={name}` comes from the tracking store's record of study {study}, and a "
            f"module that a store names is imported only if you name it too: give {key}={name} "
            f"(it must lie in this folder or be installed), or run the command in the folder "
            f"of the search."
        )


def own_folder(study: str, study_id: str) -> Path | None:
    """Return the folder of this very study, if it is here.

    Args:
        study: The study's name, as the store has it.
        study_id: Its id, likewise.
    """
    # The name comes from the store too: it must not lead to another folder.
    path = study_folder.EXPERIMENTS_DIR / study
    if not NAME_PATTERN.fullmatch(study):
        return None
    try:
        state = json.loads((path / remains.STATE).read_text(encoding="utf-8"))
        return path if state["study_id"] == study_id else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _own_settings(study: str, study_id: str) -> dict[str, Any]:
    """Return the settings of this very study from its folder here; empty if it is not here."""
    if (path := own_folder(study, study_id)) is None:
        return {}
    try:
        return _flat(plain_yaml.read(Path(path, names.CONFIG).read_bytes()))
    except (OSError, ValueError, TypeError, AttributeError, plain_yaml.NotPlain):
        return {}


def _flat(nested: Mapping[str, object]) -> dict[str, Any]:
    return configuration.flatten(nested)
