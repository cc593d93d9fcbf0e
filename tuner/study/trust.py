"""What is taken from a tracking store, and what only the user's own command may say.

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
"""Glassy's own loaders, which run nothing that the configuration says."""

CODE: Mapping[str, tuple[str, ...]] = {
    "data._target_": LOADERS,
    "model._target_": tuple(SPACES),
    "model.custom_objects": (),
}
"""Keys that name code to import, and what each may name whoever says so."""


def read_config(content: bytes, study: str) -> StudyConfig:
    """Return a study's configuration as a store holds it, checked like one that is typed.

    Args:
        content: Of its `config.yaml`.
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
    # Anything: what OmegaConf makes of what somebody has put there.
    except Exception as error:
        is_worded = isinstance(error, GlassyError | plain_yaml.NotPlain)
        why = str(error).rstrip(".") if is_worded else "it is no configuration of a study"
        raise StudyError(
            f"Study {study} cannot be used: its config.yaml in the tracking store is not what "
            f"a search writes ({why}). If it was altered, bring back the one before, from the "
            f"folder experiments/{study} for one."
        ) from error


def check_code(
    settings: StudyConfig, told: Mapping[str, object], study: str, study_id: str
) -> None:
    """Refuse to import what a tracking store names and the user does not.

    Args:
        settings: As they will be used.
        told: What the user's own command says, nested like them.
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
            f"`{key}={name}` is what the tracking store says of study {study}, and a module "
            f"that a store names is imported only if you name it, too: give {key}={name} (it "
            f"must lie in this folder or be installed), or start the command in the folder of "
            f"the search."
        )


def _own_settings(study: str, study_id: str) -> dict[str, Any]:
    """Return the settings of that very study in its folder here; nothing if it is not here."""
    # The name is the store's word, too: it must not lead elsewhere.
    path = study_folder.EXPERIMENTS_DIR / study
    if not NAME_PATTERN.fullmatch(study):
        return {}
    try:
        state = json.loads((path / remains.STATE).read_text(encoding="utf-8"))
        if state["study_id"] != study_id:
            return {}
        return _flat(plain_yaml.read(Path(path, names.CONFIG).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, plain_yaml.NotPlain):
        return {}


def _flat(nested: Mapping[str, object]) -> dict[str, Any]:
    return configuration.flatten(nested)
