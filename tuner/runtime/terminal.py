"""Standard output and error: streams that take every character, and consoles without markup."""

import codecs
import io
import sys

from rich.console import Console

_ERRORS = "glassy-readable"

_PLAIN = {"·": ".", "…": "...", "“": '"', "”": '"'}
"""What Glassy itself prints beyond ASCII, for terminals that cannot."""


def prepare_streams() -> None:
    """Let standard output and error print what their encoding cannot hold some other way."""
    codecs.register_error(_ERRORS, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def console(soft_wrap: bool = False) -> Console:
    """Return a console that prints text as it is.

    Where another program reads it, it breaks no line.

    Args:
        soft_wrap: Whether to leave long lines to the terminal; tables are fitted where not.
    """
    made = Console(highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)
    if not made.is_terminal:
        made.width = 10_000
    return made


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    shown = (
        _PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in text
    )
    return "".join(shown), error.end
