"""Charts of sums and shares: importance, failures, mistakes, time, and models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuner.reports.failures import Reason
from tuner.reports.importance import Importance
from tuner.reports.plotting import (
    BAD,
    OTHER,
    TIED,
    Figure,
    figure,
    plain,
    round_all,
    rounded,
)
from tuner.reports.records import Confusion
from tuner.wording import beginning, shortened

MAX_CLASSES = 200
"""Largest number of classes for which a confusion matrix is drawn; it grows with the square."""

MAX_CELLS_WITH_TEXT = 20
"""Largest number of classes for which the cells of a confusion matrix show their counts."""

_COLOURS_OF_TIME = {
    "training": "#2f7ed8",
    "compiling": "#e8710a",
    "evaluating": "#2a9d5c",
    "building, checkpoints": "#a259c4",
    "waiting": "#b9bfc9",
    "recording": "#c99a06",
    "proposing": "#d14343",
}


def importance(found: Importance) -> Figure:
    """Draw how much each hyperparameter matters, the most important on top."""
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "x": round_all(reversed(found.shares)),
            "y": [plain(name) for name in reversed(found.names)],
            "error_x": {
                "type": "data",
                "array": round_all(reversed(found.spreads)),
                "color": OTHER,
            },
            "marker": {"color": TIED},
            "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
        }
    ]
    drawn = figure(data, "share of the total importance", "")
    drawn["layout"]["xaxis"] |= {"rangemode": "nonnegative", "tickformat": ".0%"}
    return drawn


def failures(found: Sequence[Reason]) -> Figure:
    """Draw how many trials failed for each reason, the first one on top."""
    upwards = list(reversed(list(enumerate(found, 1))))
    counts = [len(reason.trials) for _, reason in upwards]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "x": counts,
            "y": [f"{i}. {plain(beginning(reason.text, 30))}" for i, reason in upwards],
            "marker": {"color": BAD},
            "customdata": [plain(reason.text) for _, reason in upwards],
            "hovertemplate": "%{x}: %{customdata}<extra></extra>",
        }
    ]
    drawn = figure(data, "trials", "")
    drawn["layout"]["xaxis"] |= {"tickformat": "d", "rangemode": "tozero"}
    if max(counts) <= 10:
        drawn["layout"]["xaxis"]["dtick"] = 1
    return drawn


def confusion_matrix(confusion: Confusion) -> Figure:
    """Draw a confusion matrix, with separate scales for its diagonal and its mistakes."""
    num_classes = len(confusion.class_names)
    totals = [max(sum(row), 1) for row in confusion.counts]
    shares = [
        [count / total for count in row]
        for row, total in zip(confusion.counts, totals, strict=True)
    ]
    names = [plain(shortened(name, 16)) for name in confusion.class_names]
    with_text = num_classes <= MAX_CELLS_WITH_TEXT
    data = []
    for is_hit, scale, most in (
        (True, [[0, "#d6e6f7"], [1, "#2f6db5"]], 1.0),
        (
            False,
            [[0, "#fdebd9"], [1, "#e0702a"]],
            max((s for i, row in enumerate(shares) for j, s in enumerate(row) if i != j)),
        ),
    ):
        cells = [
            [s if (i == j) == is_hit and s > 0 else None for j, s in enumerate(row)]
            for i, row in enumerate(shares)
        ]
        texts = [
            ["" if cell is None else count for cell, count in zip(*rows, strict=True)]
            for rows in zip(cells, confusion.counts, strict=True)
        ]
        data.append(
            {
                "type": "heatmap",
                "z": [[rounded(cell, 4) for cell in row] for row in cells],
                "text": texts,
                "zmin": 0,
                "zmax": most or 1.0,
                "colorscale": scale,
                "showscale": False,
                "xgap": 1 if num_classes <= 50 else 0,
                "ygap": 1 if num_classes <= 50 else 0,
                "hoverongaps": False,
                "hovertemplate": "true %{y}, predicted %{x}<br>%{text} images, "
                "%{z:.2%} of the class<extra></extra>",
                **({"texttemplate": "%{text}"} if with_text else {}),
            }
        )
    drawn = figure(data, "predicted class", "true class")
    # By number, since two shortened names may be the same.
    every = -(-num_classes // 40)
    ticks = list(range(0, num_classes, every))
    labels = {"tickvals": ticks, "ticktext": [names[i] for i in ticks], "showgrid": False}
    labels |= {"zeroline": False, "range": [-0.5, num_classes - 0.5]}
    drawn["layout"]["xaxis"] |= labels
    drawn["layout"]["yaxis"] |= {**labels, "range": [num_classes - 0.5, -0.5]}
    for axis in ("xaxis", "yaxis"):
        drawn["layout"][axis]["constrain"] = "domain"
    drawn["layout"]["yaxis"] |= {"scaleanchor": "x"}
    return drawn


def shares_of_time(parts: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw where the time went, a bar per part.

    Args:
        parts: Seconds by part (workers, driver) and activity.
    """
    data = []
    who = list(parts)[::-1]
    names = dict.fromkeys(name for part in parts.values() for name in part)
    for name in names:
        seconds = [parts[one].get(name, 0.0) for one in who]
        totals = [sum(parts[one].values()) or 1.0 for one in who]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "x": round_all(s / total for s, total in zip(seconds, totals, strict=True)),
                "y": who,
                "customdata": round_all(seconds),
                "marker": {"color": _COLOURS_OF_TIME.get(name, OTHER)},
                "hovertemplate": f"{name}: %{{x:.1%}}, %{{customdata:.1f}} s<extra></extra>",
            }
        )
    drawn = figure(data, "", "")
    drawn["layout"] |= {"barmode": "stack"}
    drawn["layout"]["legend"] |= {"traceorder": "normal", "maxheight": 0.6}
    drawn["layout"]["xaxis"] |= {"tickformat": ".0%", "range": [0, 1]}
    return drawn


def accuracies(rows: Sequence[tuple[str, float, tuple[float, float] | None]]) -> Figure:
    """Draw the test accuracies of several models with their 95 % intervals.

    Args:
        rows: Name, accuracy and its interval for each model, the best first.
    """
    down = list(reversed(rows))
    # By number, since two studies may have the same name.
    places, names = list(range(len(down))), [plain(name) for name, _, _ in down]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": round_all(accuracy for _, accuracy, _ in down),
            "y": places,
            "text": names,
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": round_all(i[1] - a if i else 0.0 for _, a, i in down),
                "arrayminus": round_all(a - i[0] if i else 0.0 for _, a, i in down),
                "color": TIED,
            },
            "marker": {"color": TIED, "size": 9},
            "hovertemplate": "%{text}: %{x:.4f}<extra></extra>",
        }
    ]
    drawn = figure(data, "test accuracy, with its 95 % interval", "")
    drawn["layout"]["yaxis"] |= {"tickvals": places, "ticktext": names}
    return drawn
