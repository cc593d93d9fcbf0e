"""One message for each error that ends a command: what happened, and what to do about it.

Glassy's own errors say so themselves. Hydra's quote their input, passwords included, so they
are reworded; errors of Python, the system and libraries are followed by advice where we have
some.
"""

import dataclasses
import pickle
import re
import shlex
import traceback

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from tuner import passwords
from tuner.config import printed_commands
from tuner.config.compose import unknown_key
from tuner.config.overrides import key_of, quote
from tuner.errors import ConfigError, GlassyError, SearchFailed
from tuner.escapes import message, visible

TRACEBACK_HINT = "HYDRA_FULL_ERROR=1 before the command shows the traceback."

# By the name of the package that defines the class: no big library is imported for a message.
_OF_LIBRARIES = {
    "mlflow": "MLflow refused. Check that `tracking.uri` is the store you mean and that it "
    "answers, and give the same command again.",
    "sqlalchemy": "The tracking store's database refused. Check that it answers and that "
    "no other program locks it, and give the same command again.",
    "requests": "A server did not answer as expected. Check the address and the network, and "
    "give the same command again.",
    "urllib3": "A server did not answer as expected. Check the address and the network, and "
    "give the same command again.",
}

_OF_PYTHON: tuple[tuple[type[Exception], str], ...] = (
    (
        RecursionError,
        "Something is nested too deeply, such as folders that link to each other or a "
        "configuration that refers to itself. Flatten it.",
    ),
    (
        UnicodeError,
        "A name or a text cannot be read or written in this encoding. Rename the file or "
        "folder that is named, or set PYTHONUTF8=1.",
    ),
    (
        ImportError,
        "A library could not be imported. Reinstall the project (pip install .), and check "
        "that the memory limit is high enough (ulimit -v).",
    ),
    (
        OSError,
        "The system refused. Check that the file, folder or address exists and that you may "
        "use it, and give the same command again.",
    ),
)


def is_foreseen(error: Exception) -> bool:
    """Whether an error is a user's mistake, or one that Glassy raises on purpose."""
    return isinstance(error, GlassyError | HydraException | OmegaConfBaseException)


def exit_status(error: Exception) -> int:
    """Return the status that a command ends with: 2 for a user's mistake, else 1."""
    if isinstance(error, GlassyError):
        return error.exit_status
    return 2 if is_foreseen(error) else 1


def worded(error: Exception) -> str:
    """Return an error as one message for a terminal, without passwords."""
    if isinstance(error, GlassyError):
        text = str(error)
    elif is_foreseen(error):
        text = _of_hydra(error)
    else:
        text = _unforeseen(error)
    return message(passwords.hide(text))


def shown_traceback(error: Exception) -> str:
    """Return an error's traceback, without passwords."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return passwords.hide("\n".join(map(visible, lines)))


@dataclasses.dataclass(frozen=True)
class Failure:
    """An error that ends a command in another process.

    Attributes:
        kind: Its class: one of ours, or what Python or a library has raised.
        text: Its message, as a command would print it.
        error: The error itself, pickled, if it is not ours and that can be done.
    """

    kind: type[GlassyError]
    text: str
    error: bytes | None = None

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Return what another process needs to raise an error."""
        if isinstance(error, GlassyError):
            return cls(type(error), worded(error))
        if is_foreseen(error):
            return cls(ConfigError, worded(error))
        error.add_note(f"In the study's process:\n{shown_traceback(error)}")
        try:
            pickled = pickle.dumps(error)
            pickle.loads(pickled)
        # Any exception: a class may need arguments that it does not keep.
        except Exception:
            pickled = None
        return cls(SearchFailed, worded(error), pickled)

    def as_error(self) -> Exception:
        """Return the error, to be raised in this process."""
        if self.error is not None:
            raised: Exception = pickle.loads(self.error)
            return raised
        # Its class may compose its text of other arguments.
        error = self.kind.__new__(self.kind)
        error.args = (self.text,)
        return error


def _unforeseen(error: Exception) -> str:
    """Word an error of a library or the system: its class, its message, what to do."""
    said = next((line for line in str(error).splitlines() if line.strip()), "").strip()
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    notes = getattr(error, "__notes__", [])
    return " ".join([f"{what.rstrip('.')}.", _advice(error), *notes, TRACEBACK_HINT])


def _advice(error: Exception) -> str:
    packages = [kind.__module__.partition(".")[0] for kind in type(error).__mro__]
    for package, advice in _OF_LIBRARIES.items():
        if package in packages:
            return advice
    for kind, advice in _OF_PYTHON:
        if isinstance(error, kind):
            return advice
    return (
        "This is unexpected: a bug in Glassy or in a library that it calls. Please report it."
    )


def _of_hydra(error: Exception) -> str:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        # The option itself may contain slashes.
        start = len("hydra/") if error.missing_cfg_file.startswith("hydra/") else 0
        end = error.missing_cfg_file.index("/", start)
        group, option = error.missing_cfg_file[:end], error.missing_cfg_file[end + 1 :]
        return f"`{group}` must be one of {', '.join(error.options)}, but got {option!r}."
    if isinstance(error, OverrideParseException):
        return _unreadable(printed_commands.as_typed(str(error.override)))
    ambiguous = re.compile(r"\s*Ambiguous value for argument '(.*?)'\n1\. ", re.DOTALL)
    if found := ambiguous.match(str(error)):
        return _several(printed_commands.as_typed(found[1]))
    cause = error.__cause__
    if isinstance(error, ConfigCompositionException) and isinstance(
        cause, ConfigAttributeError | ConfigKeyError
    ):
        key = str(cause.full_key)
        if OmegaConf.is_dict(cause.parent_node):
            known = [str(k) for k in cause.parent_node if k != "hydra"]
            return unknown_key(key, key.rpartition(".")[2], known) + _addition(key, str(error))
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _unreadable(override: str) -> str:
    """Word that an override is not in Hydra's grammar, and show one that is."""
    key, equals, value = override.partition("=")
    if not equals or not re.fullmatch(r"[+~]{0,2}[\w.$/@:-]+", key, re.ASCII):
        return f"`{override}` cannot be read as key=value. {_HELP}"
    said = f"`{override}` cannot be read as key=value; put quotes around text"
    if key_of(key).startswith("space."):
        return f"{said}, and close brackets and braces, as in {shlex.quote(f'{key}=[a,b]')}."
    return f"{said}: {printed_commands.word(f'{key}={quote(value)}')}"


def _several(override: str) -> str:
    """Word that an override has several values where one is taken, and show what works."""
    key, _, value = override.partition("=")
    said = f"`{override}` is more than one value."
    as_list = printed_commands.word(f"{key}=[{value}]")
    if key_of(key).startswith("space."):
        return f"{said} For a choice among them: {as_list}"
    as_text = printed_commands.word(f"{key}={quote(value)}")
    each = printed_commands.sweep()
    in_turn = "" if each is None else f" For one study each: {each}."
    return f"{said} For a list: {as_list}. For text: {as_text}.{in_turn}"


def _addition(key: str, said: str) -> str:
    """Show how to add a key of the user's own, where an unknown key may be meant as one."""
    found = re.search(r"To append to your config use \+(.*)", said, re.DOTALL)
    if found is None or not key.startswith(("space.", "model.", "data.")):
        return ""
    override = printed_commands.as_typed(found[1])
    return f" To add a key of your own function: {printed_commands.word(f'+{override}')}"


_HELP = "Give each setting as key=value; --help shows the keys."
