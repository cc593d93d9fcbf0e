"""Groups failed trials by the cause of their failure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.reports.records import BROKEN
from tuner.tracking.facts import TrialRecord

TOLD = {
    "infeasible": "values that cannot work",
    "error": "an exception",
    "fatal": "no values can work",
    "stopped": "time was up",
}
"""The meanings of the kinds of failures."""

_LENGTH = 160

# Messages that differ only in numbers have one reason.
_NUMBER = re.compile(r"\b(?:nan|inf)\b|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Reason:
    """Trials that failed for one reason: the common text of their messages, and their kind."""

    text: str
    kind: str | None
    trials: Sequence[TrialRecord]


def reasons(trials: Sequence[TrialRecord]) -> list[Reason]:
    """Group failed trials by reason, the most frequent first.

    Trials that broke a constraint before they were trained have not failed.
    """
    groups: dict[tuple[str, str | None], list[TrialRecord]] = {}
    for trial in trials:
        has_failed = trial.status in ("FAILED", "KILLED") and trial.failure != BROKEN
        if trial.error is not None and has_failed:
            text = _NUMBER.sub("#", trial.error)[:_LENGTH]
            groups.setdefault((text, trial.failure), []).append(trial)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [Reason(text, kind, failed) for (text, kind), failed in ordered]
