"""Charts of trials: the search's history, learning curves, durations, and values."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from tuner.evaluation.ties import Ties
from tuner.names import TEST_ACCURACY, TRIAL_SECONDS
from tuner.reports.plotting import (
    BEST,
    OTHER,
    RUNNING,
    TIED,
    Figure,
    figure,
    plain,
    round_all,
    rounded,
    shown,
)
from tuner.reports.records import Details, StudyRecord
from tuner.reports.scales import categories, key_of, numbers_of
from tuner.tracking.facts import TrialRecord
from tuner.trial import Value, number

MAX_SVG_POINTS = 1000
"""Largest number of points drawn as shapes by the browser; more are drawn by WebGL."""

MAX_HOVER_VALUES = 1000
"""Largest number of trials for which pointing at one shows all its values."""

MAX_CURVE_POINTS = 100
"""Number of epochs that are drawn of a learning curve, evenly spread."""

MAX_SLICE_POINTS = 500
"""Number of trials in each slice: a quarter of them are the best, the others are random."""

MAX_TICK_LETTERS = 36
"""Number of letters that fit along the axis of a slice, 310 pixels wide on a phone."""

NUM_MARKED = 5
"""Number of learning curves with their own colours."""

_MARKED = (BEST, "#2f7ed8", "#2a9d5c", "#a259c4", "#c99a06")


def history(study: StudyRecord, ties: Ties | None) -> Figure:
    """Draw each trial's score, in the order in which they ended, and the best so far."""
    best = best_so_far(study)
    numbers = {trial.trial_id: i for i, trial in enumerate(study.finished, 1)}
    data = [
        {
            **points_of(study, trials),
            "x": [numbers[trial.trial_id] for trial in trials],
            "y": round_all(study.score(trial) for trial in trials),
            "name": name,
            "marker": {"color": colour, "size": size, "symbol": symbol},
        }
        for name, trials, colour, size, symbol in _groups(study, ties)
        if trials
    ]
    data.append(
        {
            "type": _kind(len(best)),
            "mode": "lines",
            "x": list(range(1, len(best) + 1)),
            "y": round_all(best),
            "name": "best so far",
            "line": {"color": BEST, "width": 2, "shape": "hv"},
            "hoverinfo": "skip",
        }
    )
    drawn = figure(data, "trials, in the order in which they ended", study.objective.name)
    count_on_axis(drawn, len(study.finished))
    return drawn


def best_so_far(study: StudyRecord) -> list[float]:
    """Return the best score after each finished trial, in the order in which they ended.

    Trials that break a constraint change nothing; if no trial meets them, all count.
    """
    aside = -math.inf if study.objective.direction == "max" else math.inf
    return study.objective.best_so_far(
        study.score(trial) if study.meets(trial) or not study.eligible else aside
        for trial in study.finished
    )


def learning_curves(study: StudyRecord, details: Details) -> Figure:
    """Draw the objective after each epoch, the best trials and those that run marked."""
    marked = [t for t in study.ranked if t.trial_id in details.curves][:NUM_MARKED]
    running = [t.trial_id for t in study.running if details.curves.get(t.trial_id)]
    names = {trial.trial_id for trial in marked}.union(running)
    # One trace for all others, with gaps between them: hundreds of traces would be slow.
    xs: list[int | None] = []
    ys: list[float | None] = []
    texts: list[str] = []
    for trial_id, curve in details.curves.items():
        if trial_id not in names and curve:
            epochs = _thinned(len(curve))
            xs += [*(epoch + 1 for epoch in epochs), None]
            ys += [*round_all(curve[epoch] for epoch in epochs), None]
            texts += [f"trial {trial_id}"] * (len(epochs) + 1)
    kind = _kind(len(xs))
    data: list[Figure] = []
    if xs:
        data.append(
            {
                "type": kind,
                "mode": "lines+markers",
                "x": xs,
                "y": ys,
                "text": texts,
                "name": "others",
                "opacity": 0.55,
                "line": {"color": OTHER, "width": 1},
                "marker": {"color": OTHER, "size": 3},
            }
        )
    for colour, trial in reversed(list(zip(_MARKED, marked, strict=False))):
        curve = details.curves[trial.trial_id]
        epochs = _thinned(len(curve))
        data.append(
            {
                "type": kind,
                "mode": "lines+markers",
                "x": [epoch + 1 for epoch in epochs],
                "y": round_all(curve[epoch] for epoch in epochs),
                "name": f"trial {trial.trial_id}",
                "line": {"color": colour, "width": 2.5 if trial is study.best else 1.5},
                "marker": {"color": colour, "size": 5},
            }
        )
    data += [
        _growing(kind, trial_id, details.curves[trial_id], is_first=i == 0)
        for i, trial_id in enumerate(running)
    ]
    drawn = figure(data, "epoch", study.objective.name)
    drawn["layout"]["legend"]["traceorder"] = "reversed"
    count_on_axis(drawn, max((len(curve) for curve in details.curves.values()), default=1))
    return drawn


def _growing(kind: str, trial_id: str, curve: Sequence[float], is_first: bool) -> Figure:
    """Return the curve of a trial that runs, with the trial's name where it grows."""
    epochs = _thinned(len(curve))
    return {
        "type": kind,
        "mode": "lines+markers+text",
        "x": [epoch + 1 for epoch in epochs],
        "y": round_all(curve[epoch] for epoch in epochs),
        "text": [*[""] * (len(epochs) - 1), plain(trial_id)],
        "textposition": "top center",
        "textfont": {"color": RUNNING},
        "cliponaxis": False,
        "name": "unfinished",
        "legendgroup": "unfinished",
        "showlegend": is_first,
        "hovertemplate": f"trial {plain(trial_id)}<br><b>%{{y:.4f}}</b><extra></extra>",
        "line": {"color": RUNNING, "width": 2, "dash": "dot"},
        "marker": {"color": RUNNING, "size": 4},
    }


def count_on_axis(drawn: Figure, most: int) -> None:
    """Put whole numbers on an axis of counts, which Plotly would subdivide."""
    if most <= 20:
        drawn["layout"]["xaxis"]["dtick"] = 1 if most <= 10 else 2


def durations(study: StudyRecord, ties: Ties | None) -> Figure:
    """Draw time against test accuracy, and the front that no other trial beats in both."""

    def place(trial: TrialRecord) -> tuple[float, float]:
        return trial.metrics[TRIAL_SECONDS], trial.metrics[TEST_ACCURACY]

    data = []
    for name, trials, colour, size, symbol in _groups(study, ties):
        timed = _timed(trials)
        if timed:
            data.append(
                {
                    **points_of(study, timed),
                    "x": round_all(place(trial)[0] for trial in timed),
                    "y": round_all(place(trial)[1] for trial in timed),
                    "name": name,
                    "marker": {"color": colour, "size": size, "symbol": symbol},
                }
            )
    front = pareto_front([place(trial) for trial in _timed(study.finished)])
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": round_all(seconds for seconds, _ in front),
            "y": round_all(accuracy for _, accuracy in front),
            "name": "Pareto front",
            "line": {"color": "#2a9d5c", "width": 2, "shape": "hv"},
            "hoverinfo": "skip",
        }
    )
    drawn = figure(data, "seconds per trial", "test accuracy")
    seconds = [place(trial)[0] for trial in _timed(study.finished)]
    if seconds and max(seconds) > 20 * max(min(seconds), 1e-9):
        drawn["layout"]["xaxis"]["type"] = "log"
    return drawn


def pareto_front(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (cost, worth) that no other point beats in both, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, worth in sorted(places, key=lambda place: (place[0], -place[1])):
        if not front or worth > front[-1][1]:
            front.append((cost, worth))
    return front


def slice_of(study: StudyRecord, name: str, ties: Ties | None) -> Figure:
    """Draw the objective against one hyperparameter."""
    having = [trial for trial in study.ranked if name in trial.values]
    best, others = having[: MAX_SLICE_POINTS // 4], having[MAX_SLICE_POINTS // 4 :]
    num_others = min(len(others), MAX_SLICE_POINTS - len(best))
    chosen = {t.trial_id for t in [*best, *random.Random(0).sample(others, num_others)]}
    data = []
    values = [trial.values[name] for trial in having]
    numbers, called = numbers_of(values), categories(values)

    def axis_value(value: Value) -> Value:
        return plain(called[key_of(value)]) if numbers is None else rounded(number(value))

    for group, members, colour, size, symbol in _groups(study, ties):
        trials = [trial for trial in members if trial.trial_id in chosen]
        if trials:
            data.append(
                {
                    **points_of(study, trials),
                    "type": "scatter",
                    "x": [axis_value(trial.values[name]) for trial in trials],
                    "y": round_all(study.score(trial) for trial in trials),
                    "name": group,
                    "marker": {"color": colour, "size": size - 1, "symbol": symbol},
                    "showlegend": False,
                }
            )
    drawn = figure(data, plain(name), "")
    axis = drawn["layout"]["xaxis"]
    if numbers is None:
        order = [plain(text) for text in called.values()]
        axis |= {"type": "category", "categoryorder": "array", "categoryarray": order}
    elif study.is_log(name):
        axis |= {"type": "log", "tickformat": "~g"}
        if max(numbers) >= 10 * min(numbers):
            axis["dtick"] = 1
    elif len(set(numbers)) <= 12:
        axis |= {"tickvals": _apart(sorted(set(numbers)))}
    drawn["layout"]["margin"] |= {"t": 8}
    return drawn


def _apart(options: Sequence[Value]) -> Sequence[Value]:
    """Leave out values whose labels would overlap in a slice, but not the last one."""
    longest = max(len(shown(option)) for option in options)
    every = math.ceil(len(options) * (longest + 2) / MAX_TICK_LETTERS)
    return [option for i, option in enumerate(reversed(options)) if i % every == 0][::-1]


def _groups(
    study: StudyRecord, ties: Ties | None
) -> list[tuple[str, list[TrialRecord], str, int, str]]:
    """Return name, trials, colour, size and symbol: others first, the best on top."""
    best = study.best
    # Where finalists have decided, the search's best is another one of those tied with it.
    tied = {study.ranked[0].trial_id, *(ties.trial_ids if ties else ())} - {best.trial_id}
    alike = [t for t in study.finished if t.trial_id in tied]
    size = 6 if len(study.finished) <= MAX_SVG_POINTS else 4
    rest = [t for t in study.finished if t is not best and t.trial_id not in tied]
    others = [t for t in rest if study.meets(t)]
    broken = [t for t in rest if not study.meets(t)]
    return [
        ("breaks a constraint", broken, OTHER, size, "x-thin-open"),
        ("other trials", others, OTHER, size, "circle"),
        ("indistinguishable from the best", alike, TIED, 7, "circle"),
        (study.best_is, [best], BEST, 13, "star"),
    ]


def points_of(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure:
    """Return the settings that all scatter plots of trials share."""
    with_values = len(study.finished) <= MAX_HOVER_VALUES
    texts = [
        f"trial {plain(trial.trial_id)}"
        + ("".join(_line(study, trial, name) for name in study.varied) if with_values else "")
        for trial in trials
    ]
    return {
        "type": _kind(len(study.finished)),
        "mode": "markers",
        "text": texts,
        "hovertemplate": "%{text}<br><b>%{y:.4f}</b><extra></extra>",
    }


def _line(study: StudyRecord, trial: TrialRecord, name: str) -> str:
    if name not in trial.values:
        return ""
    return f"<br>{plain(name)} {plain(shown(trial.values[name]))}"


def _timed(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    needed = {TRIAL_SECONDS, TEST_ACCURACY}
    return [trial for trial in trials if needed <= trial.metrics.keys()]


def _kind(num_points: int) -> str:
    return "scatter" if num_points <= MAX_SVG_POINTS else "scattergl"


def _thinned(num_epochs: int) -> list[int]:
    """Return the indices of the epochs to draw; the last one is always among them."""
    every = math.ceil(num_epochs / MAX_CURVE_POINTS)
    return sorted({*range(0, num_epochs, every or 1), num_epochs - 1}) if num_epochs else []
