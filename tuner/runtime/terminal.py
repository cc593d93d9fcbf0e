"""Standard output and error: streams that print any character, and consoles without markup."""

import codecs
import io
import sys

from rich.console import Console

_ERRORS = "glassy-readable"

_PLAIN = {"·": ".", "…": "...", "“": '"', "”": '"'}
"""Replacements for Glassy's own characters beyond ASCII, for terminals that lack them."""


def prepare_streams() -> None:
    """Make standard output and error print replacements for what their encoding cannot hold."""
    codecs.register_error(_ERRORS, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def console(soft_wrap: bool = False) -> Console:
    """Return a console that prints text as it is.

    If another program reads the output, lines are not broken.

    Args:
        soft_wrap: Whether to leave wrapping to the terminal; otherwise tables are fitted.
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
