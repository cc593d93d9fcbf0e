"""Charts of several searches: the best score so far, against trials and against time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from tuner.names import TRIAL_SECONDS
from tuner.reports.charts import best_so_far, count_on_axis
from tuner.reports.page import Chart
from tuner.reports.plotting import BEST, TIED, Figure, figure, plain, round_all
from tuner.reports.records import StudyRecord

MAX_LINES = 10
"""Number of searches that are drawn in one chart, the best ones."""

MAX_MARKED = 50
"""Largest number of trials of a search for which each is marked on its line."""

_COLOURS = (
    BEST, TIED, "#2a9d5c", "#a259c4", "#c99a06", "#d14343", "#12a5b8", "#8b93a1", "#7a5c3e",
    "#d462a6",
)  # fmt: skip

_UNITS = ((3 * 3600, 3600, "hours"), (180, 60, "minutes"), (0, 1, "seconds"))
"""Units of time: the least number of seconds that they are used for, and how many one has."""


def comparable(studies: Sequence[StudyRecord]) -> list[list[StudyRecord]]:
    """Return groups of at least two finished searches that improve one metric on one data set.

    Args:
        studies: The studies; those without a finished trial are left out.

    Returns:
        The groups; in each, the search with the best score comes first.
    """
    groups: dict[tuple[str, str], list[StudyRecord]] = {}
    for study in studies:
        if study.finished and study.data is not None:
            groups.setdefault((study.data.digest, study.objective.name), []).append(study)
    return [
        sorted(group, key=lambda study: study.objective.rank(study.score(study.ranked[0]), "0"))
        for group in groups.values()
        if len(group) > 1
    ]


def charts(group: Sequence[StudyRecord], name: str) -> list[Chart]:
    """Draw how the searches of a group went, on one axis each.

    Args:
        group: Searches that can be compared, the best first.
        name: Beginning of the charts' names, unique in the page.
    """
    drawn = group[:MAX_LINES]
    return [Chart(f"{name}-trials", _by_trials(drawn)), *_by_time(drawn, name)]


def _by_trials(group: Sequence[StudyRecord]) -> Figure:
    most = max(len(study.finished) for study in group)
    lines = [(study, list(range(1, len(study.finished) + 1))) for study in group]
    drawn = _drawn(lines, "finished trials")
    count_on_axis(drawn, most)
    return drawn


def _by_time(group: Sequence[StudyRecord], name: str) -> Iterator[Chart]:
    spent = [
        list(itertools.accumulate(trial.metrics[TRIAL_SECONDS] for trial in study.finished))
        for study in group
        if all(TRIAL_SECONDS in trial.metrics for trial in study.finished)
    ]
    if len(spent) < len(group):
        return
    longest = max(seconds[-1] for seconds in spent)
    _, per_unit, unit = next(entry for entry in _UNITS if longest >= entry[0])
    scaled = [[seconds / per_unit for seconds in row] for row in spent]
    lines = list(zip(group, scaled, strict=True))
    yield Chart(f"{name}-time", _drawn(lines, f"{unit} that its trials took, added up"))


def _drawn(lines: Sequence[tuple[StudyRecord, Sequence[float]]], x: str) -> Figure:
    best = "<b>%{y:.4f}</b><extra></extra>"
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(places) <= MAX_MARKED else "lines",
            "x": round_all(places),
            "y": round_all(best_so_far(study)),
            "name": plain(study.name),
            "line": {"color": colour, "width": 2, "shape": "hv"},
            "marker": {"color": colour, "size": 5},
            "hovertemplate": f"{plain(study.name)}<br>%{{x:.4~g}}: {best}",
        }
        # The best one on top.
        for colour, (study, places) in reversed(list(zip(_COLOURS, lines, strict=False)))
    ]
    drawn = figure(data, x, f"best {lines[0][0].objective.name} so far")
    drawn["layout"]["legend"]["traceorder"] = "reversed"
    return drawn
