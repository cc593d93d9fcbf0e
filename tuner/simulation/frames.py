"""The tables of a simulated study, made of its records; `Simulated` says what each holds."""

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas

from tuner.outcomes import Outcome, TrialFailure
from tuner.simulation.records import Record
from tuner.trial import Objective

_KINDS = {
    "trial": pandas.StringDtype(na_value=math.nan),
    "values": object,
    "epochs": "int64",
    "repeat": "int64",
}
"""Types of columns that are not float64."""


def of_trials(
    records: Iterable[Record], objective: Objective, hidden: frozenset[str]
) -> pandas.DataFrame:
    """Return the table of `Simulated.trials`.

    Args:
        records: Trials, and finalists, which are left out.
        objective: What the search improves.
        hidden: Values that the table does not show.
    """
    rows = [
        {
            "trial": record.trial_id,
            "values": {n: v for n, v in record.values.items() if n not in hidden},
            **_reached(record.outcome, objective),
            "started": record.started,
            "ended": record.ended,
        }
        for record in records
        if record.seed is None
    ]
    return _table(rows, ("trial", "values", "epochs", "score", "started", "ended"))


def of_finalists(
    records: Iterable[Record], objective: Objective, repeats: Mapping[int, int]
) -> pandas.DataFrame:
    """Return the table of `Simulated.finalists`.

    Args:
        records: Finalists, and trials, which are left out.
        objective: What the search improves.
        repeats: The number of each new seed.
    """
    rows = [
        {
            "trial": record.finalist_of,
            "repeat": repeats[record.seed],
            **_reached(record.outcome, objective),
            "started": record.started,
            "ended": record.ended,
        }
        for record in records
        if record.seed is not None
    ]
    return _table(rows, ("trial", "repeat", "epochs", "score", "started", "ended"))


def of_ends(ends: Iterable[tuple[float, Outcome]], objective: Objective) -> pandas.DataFrame:
    """Return the table of `Simulated.ends`.

    Args:
        ends: Each end and each pause of a trial, with its time.
        objective: What the search improves.
    """
    rows = [
        {"trial": outcome.trial_id, **_reached(outcome, objective), "seconds": seconds}
        for seconds, outcome in ends
    ]
    return _table(rows, ("trial", "epochs", "score", "seconds"))


def _reached(outcome: Outcome | None, objective: Objective) -> dict[str, float]:
    if outcome is None or isinstance(outcome, TrialFailure):
        return {"epochs": 0, "score": math.nan}
    return {"epochs": len(outcome.epochs), "score": outcome.score(objective)}


def _table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> pandas.DataFrame:
    kinds = {name: _KINDS.get(name, "float64") for name in columns}
    return pandas.DataFrame(rows, columns=list(columns)).astype(kinds)
