"""Commands as they are printed: pasted into a shell, each does what it says."""

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
        options: Those that say which configuration is meant, such as `--config-dir=own`.
        typed: For each override what Hydra reads, and what was typed.
    """
    _options[:] = options
    _typed.clear()
    _typed.update(typed)


def arguments() -> list[str]:
    """Return what this command was given, as it was typed: in a sweep, what this study was.

    Passwords are hidden.
    """
    from hydra.core.hydra_config import HydraConfig

    overrides = HydraConfig.get().overrides
    hydras = [o for o in overrides.hydra if key_of(o) != "hydra.mode"]
    given = [*_options, *(as_typed(override) for override in [*hydras, *overrides.task])]
    return [passwords.hide_override(argument) for argument in given]


def as_typed(override: str) -> str:
    """Return an override as it was typed, where Hydra reads it in another form."""
    return _typed.get(override, override)


def sweep() -> str | None:
    """Return this command with `-m`, which runs a study for each of several values.

    Returns:
        None where the command searches nothing.
    """
    if Path(sys.argv[0]).stem != "search":
        return None
    given = [passwords.hide_override(argument) for argument in _typed.values()]
    return of_module("tuner.search", ["-m", *_options, *given])


def of_module(module: str, arguments: Iterable[str], python: str | None = None) -> str:
    """Return a command that runs a module, such as `python -m tuner.search study=first`.

    Args:
        module: The module.
        arguments: Those of the command.
        python: What to call Python by; None for that of this environment.
    """
    return " ".join([python or program("python"), "-m", module, *map(word, arguments)])


def resume(given: Iterable[str], study: str | None, python: str | None = None) -> str:
    """Return the command that resumes a study, or runs it again elsewhere.

    Args:
        given: What it was begun with, as `arguments` returned it.
        study: Its name, where that was made up; None where it is among what was given.
        python: What to call Python by; None for that of this environment.
    """
    # What was thrown away before must not be thrown away again.
    kept = [argument for argument in given if key_of(argument) != "overwrite"]
    named = [] if study is None else [f"study={study}"]
    return of_module("tuner.search", [*kept, *named], python)


def word(text: str) -> str:
    """Return text as one word of a shell's command, with escapes for what cannot be shown."""
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
        name: Such as `mlflow`.
    """
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and Path(found).parent == here.parent:
        return name
    is_below = here.is_relative_to(Path.cwd())
    return shlex.quote(str(here.relative_to(Path.cwd()) if is_below else here))
