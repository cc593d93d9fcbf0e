"""Parallel coordinates: all finished trials as lines through their values."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import Any

from tuner.reports.plotting import Figure, plain, rounded, shown
from tuner.reports.records import StudyRecord
from tuner.reports.scales import categories, key_of, numbers_of

MAX_AXES = 14
"""Number of axes that are distinguishable on a screen, including the objective's."""

SPREAD_FROM = 100
"""Number of trials above which lines that would hide each other are spread a little."""

_COLOURS = [[0, "#9aa3b2"], [0.6, "#4c8fd6"], [1, "#e8710a"]]


def parallel_coordinates(study: StudyRecord, names: Sequence[str]) -> Figure:
    """Draw every finished trial as a line through its values and its score.

    Args:
        study: A study with at least one finished trial.
        names: Hyperparameters, the most important first; as many as fit are drawn.
    """
    scores = [rounded(study.score(trial)) for trial in study.finished]
    axes = [_axis(study, name) for name in names[: MAX_AXES - 1]]
    axes.append({"label": study.objective.name, "values": scores})
    ranked = sorted(score for score in scores if score is not None)
    # Leave out the worst tenth, or a few hopeless trials would give all others one colour.
    low, high = ranked[len(ranked) // 10], ranked[-1]
    if study.objective.direction == "min":
        low, high = ranked[0], ranked[-1 - len(ranked) // 10]
    trace: dict[str, Any] = {
        "type": "parcoords",
        "dimensions": axes,
        "line": {
            "color": scores,
            "colorscale": _COLOURS,
            "reversescale": study.objective.direction == "min",
            "cmin": low,
            "cmax": high if high > low else low + 1e-9,
        },
        "labelangle": -25,
        "labelside": "top",
    }
    return {"data": [trace], "layout": {"margin": {"l": 72, "r": 56, "t": 76, "b": 24}}}


def _axis(study: StudyRecord, name: str) -> Figure:
    """Return the axis of one hyperparameter, with a place for trials that do not have it."""
    present = [trial.values[name] for trial in study.finished if name in trial.values]
    axis: Figure = {"label": plain(name)}
    numbers = numbers_of(present)
    if numbers is None:
        called = categories(present)
        order = list(called)
        there = [float(order.index(key_of(value))) for value in present]
        ticks = {float(i): plain(text) for i, text in enumerate(called.values())}
    else:
        is_log = study.is_log(name)
        there = [math.log10(number) if is_log else number for number in numbers]
        ticks = _ticks(sorted(set(numbers)), is_log)
    low, high = min(there), max(there)
    if len(there) < len(study.finished):
        low -= 0.15 * ((high - low) or 1.0)
        ticks = {low: "none", **ticks}
    following = iter(there)
    places = [next(following) if name in t.values else low for t in study.finished]
    if len(places) > SPREAD_FROM:
        places, margin = _spread(places)
        low, high = low - margin, high + margin
    axis["values"] = [rounded(place) for place in places]
    axis["range"] = [rounded(low), rounded(high if high > low else low + 1)]
    axis["tickvals"] = [rounded(place) for place in ticks]
    axis["ticktext"] = list(ticks.values())
    return axis


def _spread(places: list[float]) -> tuple[list[float], float]:
    """Spread points randomly around the place they share, by no more than a margin."""
    distinct = sorted(set(places))
    if len(distinct) < 2 or 2 * len(distinct) > len(places):
        return places, 0.0
    nearest = min(b - a for a, b in itertools.pairwise(distinct))
    margin = 0.2 * nearest
    drawn = random.Random(0)
    return [place + drawn.uniform(-margin, margin) for place in places], margin


def _ticks(options: list[float], is_log: bool) -> dict[float, str]:
    """Return places and texts of an axis's ticks: all values if they are few."""
    low, high = options[0], options[-1]
    if is_log:
        exponents = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        marks = {low, high, *(10.0**exponent for exponent in exponents)}
        return {math.log10(mark): shown(mark) for mark in sorted(marks)}
    if len(options) > 10:
        options = [low + (high - low) * i / 5 for i in range(6)]
    return {option: shown(option) for option in options}
