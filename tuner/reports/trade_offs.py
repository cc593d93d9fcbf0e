"""The part of a report on several objectives: which trials no other beats in all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tuner.constraints import shown
from tuner.reports import overview
from tuner.reports.charts import points_of
from tuner.reports.page import Chart, Link, Section, Table
from tuner.reports.plotting import BEST, OTHER, TIED, Figure, figure, round_all
from tuner.reports.plotting import shown as value_shown
from tuner.reports.records import StudyRecord
from tuner.tracking import history
from tuner.tracking.facts import TrialRecord
from tuner.trial import Objective
from tuner.wording import plural

MAX_ROWS = 20
"""Number of trials of the front that are listed, the best by the first objective."""

_ORDERS = 20
"""From how many times its smallest value on an axis shows orders of magnitude."""


def trade_offs(study: StudyRecord) -> Iterator[Section]:
    """Draw and list the Pareto front of a study with several objectives."""
    if not study.objective.others or not study.finished:
        return
    front = history.on_front(study.trials, study.objective, study.constraints)
    names = ", ".join(one.name for one in study.objective.all)
    text = [
        f"{plural(len(front), 'trial')} of {plural(len(study.finished), 'finished trial')} "
        f"{'is' if len(front) == 1 else 'are'} on the Pareto front of {names}: no other "
        f"trial is at least as good in all of these and better in one. The grey ones are "
        f"dominated. The best trial is the best by {study.objective.name}."
    ]
    if len(front) > MAX_ROWS:
        text.append(f"The best {MAX_ROWS} by {study.objective.name} are listed.")
    charts = [
        Chart(f"front-{other.name}", _chart(study, front, other))
        for other in study.objective.others
    ]
    head = ("trial", *(one.name for one in study.objective.all), *study.varied)
    rows = [_row(study, trial) for trial in front[:MAX_ROWS]]
    tables = [Table(head, rows)] if rows else []
    yield Section("The Pareto front", text, charts, tables)


def _row(study: StudyRecord, trial: TrialRecord) -> Sequence[str | Link]:
    return (
        overview.link(study, trial.trial_id, trial.run_id),
        *(shown(one.name, trial.metrics[one.name]) for one in study.objective.all),
        *(
            value_shown(trial.values[name]) if name in trial.values else ""
            for name in study.varied
        ),
    )


def _chart(study: StudyRecord, front: Sequence[TrialRecord], other: Objective) -> Figure:
    """Draw the first objective against another one."""
    on_front = {trial.trial_id for trial in front}
    has_all = [t for t in study.finished if other.name in t.metrics]
    beaten = [t for t in has_all if study.meets(t) and t.trial_id not in on_front]
    broken = [t for t in has_all if not study.meets(t)]
    data = [
        _trace(study, trials, other, name, marker)
        for name, trials, marker in (
            (
                "breaks a constraint",
                broken,
                {"color": OTHER, "size": 7, "symbol": "x-thin-open"},
            ),
            ("dominated", beaten, {"color": OTHER, "size": 6, "opacity": 0.55}),
            ("Pareto front", front, {"color": TIED, "size": 9}),
            (study.best_is, [study.best], {"color": BEST, "size": 13, "symbol": "star"}),
        )
        if trials
    ]
    if len(study.objective.others) == 1:
        data.insert(-1, _line(study, front, other))
    drawn = figure(data, other.name, study.objective.name)
    places = [t.metrics[other.name] for t in has_all]
    if min(places) > 0 and max(places) > _ORDERS * min(places):
        drawn["layout"]["xaxis"] |= {"type": "log", "tickformat": "~s", "dtick": 1}
    return drawn


def _trace(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    other: Objective,
    name: str,
    marker: Figure,
) -> Figure:
    return {
        **points_of(study, trials),
        "x": round_all(trial.metrics[other.name] for trial in trials),
        "y": round_all(study.score(trial) for trial in trials),
        "hovertemplate": f"%{{text}}<br>{other.name} %{{x}}<br><b>%{{y:.4f}}</b>"
        "<extra></extra>",
        "name": name,
        "marker": marker,
    }


def _line(study: StudyRecord, front: Sequence[TrialRecord], other: Objective) -> Figure:
    """Return the steps below which (or beyond which) no trial is."""
    ordered = sorted(front, key=lambda t: (t.metrics[other.name], study.score(t)))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": round_all(trial.metrics[other.name] for trial in ordered),
        "y": round_all(study.score(trial) for trial in ordered),
        "line": {
            "color": TIED,
            "width": 1.5,
            "shape": "hv" if other.direction == "min" else "vh",
        },
        "hoverinfo": "skip",
        "showlegend": False,
    }
