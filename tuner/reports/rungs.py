"""The rungs of a search that pauses trials: who reached them, and who was resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tuner.reports.charts import MAX_SVG_POINTS
from tuner.reports.page import Chart, Section, Table
from tuner.reports.plotting import BEST, OTHER, TIED, Figure, figure, round_all
from tuner.reports.records import Details, StudyRecord
from tuner.tracking.facts import TrialRecord
from tuner.wording import plural


def section(study: StudyRecord, details: Details) -> Iterator[Section]:
    """Show how trials climbed, if they were paused at rungs.

    Args:
        study: A study with at least one finished trial.
        details: The learning curves that are drawn.
    """
    reached = {
        trial.trial_id: trial.num_epochs
        for trial in study.finished
        if trial.num_epochs is not None
    }
    paused = {reached[t.trial_id] for t in study.finished if t.stopped == "rung"}
    if not paused:
        return
    most = max(int(str(trial.values["epochs"])) for trial in study.finished)
    rungs = sorted(paused | {most})
    counts = [sum(epochs >= rung for epochs in reached.values()) for rung in rungs]
    trained = sum(reached.values())
    text = [
        f"{plural(len(reached), 'trial')} trained {plural(trained, 'epoch')}, "
        f"{trained / (len(reached) * most):.0%} of what all would have trained in full."
    ]
    rows = [
        (plural(rung, "epoch"), f"{count:,}", f"{after:,}" if rung < most else "")
        for rung, count, after in zip(rungs, counts, [*counts[1:], 0], strict=True)
    ]
    yield Section(
        "How trials climbed",
        text,
        [Chart("rungs", chart(study, details, rungs), height=360)],
        [Table(("rung", "reached by", "resumed"), rows)],
    )


def chart(study: StudyRecord, details: Details, rungs: Sequence[int]) -> Figure:
    """Draw the objective at each rung that a trial has reached.

    Args:
        study: The study.
        details: The learning curves that are drawn.
        rungs: Numbers of epochs, in ascending order.
    """
    drawn = [t for t in study.ranked if t.trial_id in details.curves]
    groups: list[tuple[str, str, float, list[TrialRecord]]] = [
        ("paused", OTHER, 1.0, [t for t in drawn if t.stopped == "rung"]),
        ("reached the last rung", TIED, 1.5, [t for t in drawn if t.stopped != "rung"]),
        ("the best", BEST, 2.5, drawn[:1]),
    ]
    data = []
    for name, colour, width, trials in groups:
        xs: list[int | None] = []
        ys: list[float | None] = []
        texts: list[str] = []
        for trial in trials:
            curve = details.curves[trial.trial_id]
            there = [rung for rung in rungs if rung <= len(curve)]
            xs += [*there, None]
            ys += [*round_all(curve[rung - 1] for rung in there), None]
            texts += [f"trial {trial.trial_id}"] * (len(there) + 1)
        data.append(
            {
                "type": "scatter" if len(xs) <= MAX_SVG_POINTS else "scattergl",
                "mode": "lines+markers",
                "x": xs,
                "y": ys,
                "text": texts,
                "name": name,
                "line": {"color": colour, "width": width},
                "marker": {"color": colour, "size": 5},
            }
        )
    found = figure(data, "epochs", study.objective.name)
    ticks = {"type": "log", "tickvals": list(rungs), "ticktext": list(map(str, rungs))}
    found["layout"]["xaxis"] |= ticks
    return found
