"""What every command shares: a Hydra application that says errors in one message.

Hydra reports a user's mistake as a shortened traceback with exit status 1. Here a mistake is
one message with exit status 2, a failure one message with 1, and `HYDRA_FULL_ERROR=1` shows the
traceback of either.
"""

import functools
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from tuner import garbage, interrupt, streams, surroundings
from tuner.config import unknown_key
from tuner.errors import GlassyError, NoMemory, NoRoom, refusal_to_write, wants_memory
from tuner.merging import replace_hyperparameters_whole

INTERRUPTED = 130
"""Exit status after Ctrl-C, SIGTERM or SIGHUP, as shells have it (128 + SIGINT)."""

CONF_DIR = Path(__file__).parent.parent / "conf"


def run(command: Callable[[DictConfig], None], config_name: str) -> NoReturn:
    """Compose the configuration from `conf/` and `sys.argv`, run a command, and exit.

    Args:
        command: Takes the composed configuration; what it raises becomes the exit status.
        config_name: File in `conf/`, without its ending. Commands that take no groups have
            theirs in `conf/commands/`, where `model=` is a key and not a group's option.
    """
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    # Makes Hydra raise instead of printing and exiting by itself.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    streams.mend()
    surroundings.prepare()
    interrupt.install()
    replace_hyperparameters_whole()

    @functools.wraps(command)
    def task(composed: DictConfig) -> None:
        try:
            surroundings.check()
            command(composed)
        except Exception as error:
            if interrupt.is_cause_of(error):
                raise KeyboardInterrupt from error
            if not isinstance(error, GlassyError) and wants_memory(error):
                _exit(NoMemory(error), wants_traceback)
            if (refusal := refusal_to_write(error)) is not None:
                _exit(NoRoom(refusal), wants_traceback)
            _exit(error, wants_traceback)

    config_path = CONF_DIR / config_name
    application = hydra.main(str(config_path.parent), config_path.name, version_base="1.3")(
        task
    )
    try:
        application()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (HydraException, OmegaConfBaseException) as error:
        _exit(error, wants_traceback)
    finally:
        garbage.keep_all()
    sys.exit(0)


def program(name: str) -> str:
    """Return what to type to run a program of this environment: its name, or its path.

    Args:
        name: Such as `mlflow`.
    """
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and Path(found).parent == here.parent:
        return name
    is_below = here.is_relative_to(Path.cwd())
    return shlex.quote(str(here.relative_to(Path.cwd()) if is_below else here))


def _exit(error: Exception, wants_traceback: bool) -> NoReturn:
    """Say what is wrong, and exit: here, since Hydra would print all overrides before it.

    Among them may be a password.
    """
    is_expected = isinstance(error, GlassyError | HydraException | OmegaConfBaseException)
    if wants_traceback or not is_expected:
        traceback.print_exc()
    else:
        print(f"Error: {_message(error)}", file=sys.stderr)
    if isinstance(error, GlassyError):
        sys.exit(error.exit_status)
    sys.exit(2 if is_expected else 1)


def _message(error: Exception) -> str:
    """Word an error for a person: Glassy's own as they are, Hydra's without its details."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"`{group}` must be one of {', '.join(error.options)}, but got {option!r}."
    if isinstance(error, OverrideParseException):
        return (
            f"`{error.override}` cannot be read as key=value; put quotes around brackets, "
            f"braces and spaces."
        )
    cause = error.__cause__
    if isinstance(error, ConfigCompositionException) and isinstance(
        cause, ConfigAttributeError | ConfigKeyError
    ):
        key = str(cause.full_key)
        if OmegaConf.is_dict(cause.parent_node):
            known = [str(k) for k in cause.parent_node if k != "hydra"]
            return unknown_key(key, key.rpartition(".")[2], known)
    return str(error).strip()
