"""Failed trials by what made them fail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.tracking.history import TrialRecord

TOLD = {
    "infeasible": "values that cannot work",
    "error": "an exception",
    "fatal": "no values can work",
    "stopped": "time was up",
}
"""What the kinds of failures mean."""

_LENGTH = 160

# Messages that differ in a number only, or in a list of them, have one reason.
_NUMBER = re.compile(r"\b(?:nan|inf)\b|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Reason:
    """Trials that failed alike: what their messages have in common, and their kind."""

    text: str
    kind: str | None
    trials: Sequence[TrialRecord]


def reasons(trials: Sequence[TrialRecord]) -> list[Reason]:
    """Put failed trials together by reason, the most frequent first."""
    groups: dict[tuple[str, str | None], list[TrialRecord]] = {}
    for trial in trials:
        if trial.error is not None and trial.status in ("FAILED", "KILLED"):
            text = _NUMBER.sub("#", trial.error)[:_LENGTH]
            groups.setdefault((text, trial.failure), []).append(trial)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [Reason(text, kind, failed) for (text, kind), failed in ordered]
