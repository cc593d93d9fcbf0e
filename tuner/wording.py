"""Parts of sentences that messages in many places share."""

import difflib
from collections.abc import Container, Iterable, Mapping, Sequence

from tuner.escapes import visible
from tuner.trial import Value, Values

STOPPED_BECAUSE: Mapping[str, str] = {
    "user": "stopped by hand",
    "pruned": "pruned",
    "rung": "not promoted to the next rung",
    "early": "stopped early",
    "time": "out of time",
}
"""Why a trial has fewer epochs than its values say, in words."""

REPORT_AT = "Report: "
"""Beginning of the line that says where a report lies."""


def shortened(name: str, length: int = 14) -> str:
    """Return a name of at most `length` characters on one line, its middle left out."""
    name = visible(name)
    if len(name) <= length:
        return name
    # Names often differ at the end.
    end = length // 3
    return f"{name[: length - end - 1]}…{name[-end:]}"


def beginning(text: str, length: int) -> str:
    """Return the beginning of a sentence, at most `length` characters long."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def did_you_mean(name: str, known: Iterable[str], form: str = "{}") -> str:
    """Return a sentence that suggests the name that was probably meant, after a space.

    Args:
        name: A name that is not known.
        known: Names that are.
        form: How the suggestion is written, with `{}` for the name.

    Returns:
        Text that is empty where no known name is close.
    """
    close = difflib.get_close_matches(name, list(known), 1)
    return f" Did you mean {form.replace('{}', close[0])}?" if close else ""


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 trial`, `2 trials`, `1,200 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, to be put into a sentence of ours.

    The full stop is removed; an error without a message gives the name of its class.
    """
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(" .")


def searched_first(values: Values, searched: Container[str]) -> Values:
    """Return values with those that were searched before those that were fixed.

    Args:
        values: One point of the space.
        searched: Names of the hyperparameters that differ between trials.
    """
    first = {name: value for name, value in values.items() if name in searched}
    return {**first, **values}


def describe(values: Values) -> str:
    """Write values as they would be typed on the command line."""
    return " ".join(f"{name}={_written(value)}" for name, value in values.items())


def _written(value: Value) -> str:
    if value is None:
        return "null"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def why_fewer(stopped: str, num_epochs: int, planned: int, because: str) -> str:
    """Say after which epoch a trial was stopped, and why.

    Args:
        stopped: Why, as in `TrialResult`.
        num_epochs: Epochs that it has.
        planned: Epochs that its values say.
        because: More on the reason, in words that follow a colon; may be empty.
    """
    said = STOPPED_BECAUSE[stopped]
    # A trial that ended before its last repeat has all epochs.
    if num_epochs != planned:
        said += f" after epoch {num_epochs} of {planned}"
    return f"{said}: {because}" if because else said


def say_changes(changed: Mapping[str, Sequence[object]]) -> str:
    """Write settings that have changed: `search.max_trials=20 (was 10)`.

    Args:
        changed: Each setting before and now, by key.
    """
    return ", ".join(f"{key}={now} (was {before})" for key, (before, now) in changed.items())


def megabytes(size: int) -> str:
    """Write a number of bytes in megabytes: `0 MB`, `under 0.1 MB`, `1,234.5 MB`."""
    if size < 100_000:
        return "under 0.1 MB" if size else "0 MB"
    return f"{size / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """Write a time as a person would: `8 s`, `3:05 min`, `2:14 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def rough_duration(seconds: float) -> str:
    """Write a time that is only estimated: `8 s`, `3 min`, `2.2 h`."""
    if seconds < 59.5:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 59.5 * 60 else f"{seconds / 3600:.1f} h"
