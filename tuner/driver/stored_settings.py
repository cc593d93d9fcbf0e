"""The settings in a study's folder: its resolved configuration, and what it was made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tuner import passwords
from tuner.config.compose import flatten, to_dict
from tuner.config.schema import StudyConfig
from tuner.curves.identity import NOT_SETTINGS
from tuner.driver import remains
from tuner.errors import StudyError
from tuner.names import CONFIG, OVERRIDES
from tuner.runtime import files


def write(folder: Path, config: StudyConfig, overrides: Sequence[str]) -> None:
    """Write a study's settings.

    Args:
        folder: The study's folder.
        config: Its configuration.
        overrides: The command line's arguments.
    """
    files.write(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(_settings(config))))
    files.write(folder / OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(list(overrides))))


def overrides(folder: Path) -> list[str]:
    """Return what a study was asked for on the command line."""
    return [str(line) for line in OmegaConf.load(folder / OVERRIDES)]


def flat(folder: Path) -> dict[str, Any] | None:
    """Return the stored configuration, flat; None if its file is missing or empty.

    Raises:
        StudyError: If it cannot be read.
    """
    path = folder / CONFIG
    if remains.is_blank(path):
        return None
    try:
        stored: Any = OmegaConf.to_container(OmegaConf.load(path))
        return flatten(stored)
    except Exception as error:
        # Any exception: OmegaConf passes on what the YAML parser or its own grammar raises.
        raise StudyError(
            f"{path} is damaged, so it is unknown whether study={folder.name} is the same "
            f"study: restore the file (MLflow has a copy among the artifacts of the study's "
            f"run), or give overwrite=true to delete the study's folder."
        ) from error


def flat_now(config: StudyConfig) -> dict[str, Any]:
    """Return a configuration as `flat` would once it is stored."""
    return flatten(_settings(config))


def _settings(config: StudyConfig) -> dict[str, Any]:
    # Hidden here too, so that a study can be resumed when a password has changed.
    settings: dict[str, Any] = passwords.without(to_dict(config))
    return {k: v for k, v in settings.items() if k not in NOT_SETTINGS}
