"""Composes a configuration from `conf/` in a process that is no command."""

import functools
from collections.abc import Sequence

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from tuner.cli import faults
from tuner.cli.application import CONF_DIR
from tuner.config.overrides import quoted, text_keys, with_open_keys
from tuner.config.schema import StudyConfig
from tuner.errors import ConfigError


def study(overrides: Sequence[str]) -> DictConfig:
    """Compose a study's configuration, as `python -m tuner.search` does from its arguments.

    Args:
        overrides: What the command takes, such as `search=tpe`.

    Raises:
        ConfigError: If one cannot be read, or names what does not exist.
    """
    return _composed(tuple(overrides)).copy()


# Composing takes 0.2 s, and simulations come by the hundred.
@functools.lru_cache(maxsize=64)
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    keys = text_keys(StudyConfig)
    read = [quoted(with_open_keys(override), keys) for override in overrides]
    # A command is a Hydra application, of which there can be only one at a time.
    the_only = GlobalHydra.instance()
    command, the_only.hydra = the_only.hydra, None
    try:
        with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return hydra.compose("config", read)
    except HydraException as error:
        raise ConfigError(faults.worded(error)) from error
    finally:
        the_only.hydra = command
