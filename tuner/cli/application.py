"""What every command shares: a Hydra application that reports an error in one message.

Hydra reports a user's mistake as a shortened traceback with exit status 1. Here a mistake is
one message with exit status 2, a failure one message with 1, and `HYDRA_FULL_ERROR=1` shows the
traceback of either.
"""

import argparse
import contextlib
import functools
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from tuner import passwords
from tuner.cli import faults
from tuner.config import printed_commands
from tuner.config.hydra_patches import (
    replace_hyperparameters_whole,
    write_sweeps_without_passwords,
)
from tuner.config.overrides import quoted, text_keys, with_open_keys
from tuner.errors import (
    ConfigError,
    GlassyError,
    NoMemory,
    NoRoom,
    refusal_to_write,
    wants_memory,
)
from tuner.runtime import gc_pauses, interrupt, streams, surroundings, terminal
from tuner.wording import plural

INTERRUPTED = 130
"""Exit status after Ctrl-C, SIGTERM or SIGHUP, as shells have it (128 + SIGINT)."""

_PACKAGE = Path(__file__).parents[1]
# In a wheel it is inside the package, in a clone next to it.
CONF_DIR = next(
    folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir()
)

_WHICH_CONFIG = ("config_path", "config_dir", "config_name")
"""Hydra's options that say which configuration a command is about."""


def run(
    command: Callable[[DictConfig], int | None], config_name: str, schema: type
) -> NoReturn:
    """Compose the configuration from `conf/` and `sys.argv`, run a command, and exit.

    Args:
        command: Takes the composed configuration. An exception it raises sets the exit status;
            otherwise what it returns does (None: 0).
        config_name: File in `conf/`, without its suffix. Commands that take no groups have
            theirs in `conf/commands/`, where `model=` is a key and not a group's option.
        schema: The configuration's schema; it says which values are text.
    """
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    statuses: list[int] = []

    def end(status: int) -> None:
        if not status:
            return
        statuses.append(status)
        # Of several studies (`-m`) one that fails does not keep the others from running.
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            sys.exit(status)

    @functools.wraps(command)
    def ended(composed: DictConfig) -> None:
        end(command(composed) or 0)

    try:
        call(ended, config_name, schema, lambda error: end(_say(error, wants_traceback)))
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        try:
            sys.exit(_say(error, wants_traceback))
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
    finally:
        gc_pauses.keep_all()
    if statuses:
        print(f"{plural(len(statuses), 'job')} failed; see above.", file=sys.stderr)
    sys.exit(max(statuses, default=0))


def call(
    command: Callable[[DictConfig], None],
    config_name: str,
    schema: type,
    on_failure: Callable[[Exception], None],
) -> None:
    """Prepare this process, compose the configuration from `sys.argv`, and run a command.

    Args:
        command: See `run`.
        config_name: See `run`.
        schema: See `run`.
        on_failure: Given an exception that the command raises; those of composing are raised.
    """
    # Makes Hydra raise instead of printing and exiting by itself.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    streams.mend()
    surroundings.prepare()
    terminal.prepare_streams()
    interrupt.install()
    replace_hyperparameters_whole()
    write_sweeps_without_passwords()

    @functools.wraps(command)
    def task(composed: DictConfig) -> None:
        try:
            surroundings.check()
            command(composed)
        except Exception as error:
            # Here, since Hydra would print all overrides before it.
            on_failure(error)

    config_path = CONF_DIR / config_name
    application = hydra.main(str(config_path.parent), config_path.name, version_base="1.3")(
        task
    )
    with _read_command_line(schema):
        application()


@contextlib.contextmanager
def _read_command_line(schema: type) -> Iterator[None]:
    """Put the typed arguments into the form that Hydra reads, and remember them."""
    typed = sys.argv[1:]
    passwords.remember([argument for argument in typed if "=" in argument])
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign,assignment]
    arguments = parser.parse_intermixed_args(typed)
    is_sweep = arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides
    keys = text_keys(schema)
    read = [quoted(with_open_keys(o), keys, is_sweep) for o in arguments.overrides]
    options, overrides = [], list(arguments.overrides)
    for argument in typed:
        if overrides and argument == overrides[0]:
            del overrides[0]
        else:
            options.append(argument)
    sys.argv[1:] = [*read, *options]
    printed_commands.remember(
        [
            f"--{name.replace('_', '-')}={getattr(arguments, name)}"
            for name in _WHICH_CONFIG
            if getattr(arguments, name) is not None
        ],
        zip(read, arguments.overrides, strict=True),
    )
    with _hiding_output(arguments):
        yield


@contextlib.contextmanager
def _hiding_output(arguments: argparse.Namespace) -> Iterator[None]:
    """Hide passwords in what Hydra itself prints for `--cfg`, `--info` and `--help`."""
    if not (arguments.cfg or arguments.info or arguments.help or arguments.hydra_help):
        yield
        return
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        sys.stdout.write(passwords.hide(printed.getvalue()))


def _refuse(said: str) -> NoReturn:
    """Take the place of argparse's exit, which prints what it was given."""
    raise ConfigError(f"The command line cannot be read: {said}. --help shows what is allowed.")


def _say(error: Exception, wants_traceback: bool) -> int:
    """Say what is wrong, and return the exit status for it.

    Raises:
        KeyboardInterrupt: If that is what caused the error.
    """
    error = understood(error)
    if isinstance(error, BrokenPipeError) and _has_no_reader():
        return 1
    said = faults.shown_traceback if wants_traceback else faults.worded
    prefix = "" if wants_traceback else "Error: "
    with contextlib.suppress(OSError):
        print(f"{prefix}{said(error)}", file=sys.stderr, flush=True)
    return faults.exit_status(error)


def understood(error: Exception) -> Exception:
    """Return an error, or the one of ours that says what it means.

    Raises:
        KeyboardInterrupt: If that is what caused the error.
    """
    if interrupt.is_cause_of(error):
        raise KeyboardInterrupt from error
    if (refusal := refusal_to_write(error)) is not None:
        return NoRoom(refusal)
    if not isinstance(error, GlassyError) and wants_memory(error):
        return NoMemory(error)
    return error


def _has_no_reader() -> bool:
    """Whether the output goes to a program that has ended, as in `… | head`."""
    try:
        output = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    watched = select.poll()
    watched.register(output, 0)
    if not any(event & select.POLLERR for _, event in watched.poll(0)):
        return False
    # Python must not try to write the rest at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True
