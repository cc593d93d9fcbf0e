"""Commands as they are printed: each can be pasted into a shell as it is."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tuner import passwords
from tuner.config.overrides import key_of
from tuner.escapes import visible

_typed: dict[str, str] = {}
_options: list[str] = []


def remember(options: Sequence[str], typed: Iterable[tuple[str, str]]) -> None:
    """Remember how this command was given, to print it again.

    Args:
        options: Options that select the configuration, such as `--config-dir=own`.
        typed: For each override, the form that Hydra reads and the form that was typed.
    """
    _options[:] = options
    _typed.clear()
    _typed.update(typed)


def arguments() -> list[str]:
    """Return this command's arguments as typed; in a sweep, those of this study.

    Passwords are hidden.
    """
    from hydra.core.hydra_config import HydraConfig

    overrides = HydraConfig.get().overrides
    hydras = [o for o in overrides.hydra if key_of(o) != "hydra.mode"]
    given = [*_options, *(as_typed(override) for override in [*hydras, *overrides.task])]
    return [passwords.hide_override(argument) for argument in given]


def as_typed(override: str) -> str:
    """Return an override as typed, where Hydra reads it in another form."""
    return _typed.get(override, override)


def sweep() -> str | None:
    """Return this command with `-m`, which runs one study per value.

    Returns:
        None if the command is not a search.
    """
    if Path(sys.argv[0]).stem != "search":
        return None
    given = [passwords.hide_override(argument) for argument in _typed.values()]
    return of_module("tuner.search", ["-m", *_options, *given])


def of_module(module: str, arguments: Iterable[str], python: str | None = None) -> str:
    """Return a command that runs a module, such as `python -m tuner.search study=first`.

    Args:
        module: The module.
        arguments: Arguments of the command.
        python: How to call Python; None for this environment's.
    """
    return " ".join([python or program("python"), "-m", module, *map(word, arguments)])


def resume(given: Iterable[str], study: str | None, python: str | None = None) -> str:
    """Return the command that resumes a study, or runs it again elsewhere.

    Args:
        given: The arguments it was started with, as `arguments` returned them.
        study: The study's name if it was made up; None if it is among the arguments.
        python: How to call Python; None for this environment's.
    """
    # overwrite=true has been obeyed: repeating it would delete the study.
    kept = [argument for argument in given if key_of(argument) != "overwrite"]
    named = [] if study is None else [f"study={study}"]
    return of_module("tuner.search", [*kept, *named], python)


def word(text: str) -> str:
    """Return text as one word of a shell command, with escapes for unprintable characters."""
    if visible(text) == text:
        return shlex.quote(text)
    shown = (
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\'" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{''.join(shown)}'"


def program(name: str) -> str:
    """Return what to type to run a program of this environment: its name, or its path.

    Args:
        name: Name of the program, such as `mlflow`.
    """
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and Path(found).parent == here.parent:
        return name
    is_below = here.is_relative_to(Path.cwd())
    return shlex.quote(str(here.relative_to(Path.cwd()) if is_below else here))
