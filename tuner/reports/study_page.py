"""The content of a report on one study, from top to bottom."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from tuner.evaluation.ties import Ties
from tuner.names import (
    COMPILE_SECONDS,
    EVALUATE_SECONDS,
    TRAIN_SECONDS,
    TRIAL_SECONDS,
    WORKER_SECONDS,
    seconds_spent,
)
from tuner.reports import charts, finalists, overview, rungs, summaries
from tuner.reports.coordinates import MAX_AXES, SPREAD_FROM, parallel_coordinates
from tuner.reports.failures import TOLD, reasons
from tuner.reports.importance import Importance, find_importance
from tuner.reports.page import Chart, Page, Section, Table
from tuner.reports.records import Details, OnDrawings, StudyRecord
from tuner.reports.trade_offs import trade_offs
from tuner.trial import Stopped
from tuner.wording import duration, plural

NUM_FAULTS = 5
"""Number of pairs of classes that are listed, those confused most often."""

MAX_REASONS = 15
"""Number of reasons for failures that are listed, the most frequent ones."""

MAX_STOPPED = 15
"""Number of trials that are listed as stopped early, or as pruned, the best ones."""

MAX_SLICES = 12
"""Number of hyperparameters with their own slice, the most important ones."""

_STATES = {
    "FINISHED": "finished",
    "RUNNING": "still running, or killed without notice: the results so far",
    "KILLED": "interrupted: the results until then",
    "FAILED": "ended by an error: the results until then",
}


def study_page(study: StudyRecord, details: Details, drawings: OnDrawings | None) -> Page:
    """Put together the report of a study.

    Args:
        study: A study with at least one finished trial.
        details: Details of its trials.
        drawings: Accuracy of the best model on drawings, if measured.
    """
    tied = overview.find_ties(study)
    importance = find_importance(study)
    order = importance.names if isinstance(importance, Importance) else study.varied
    began = datetime.datetime.fromtimestamp(study.began)
    by = f" by {study.owner}" if study.owner else ""
    return Page(
        title=f"Study {study.name}",
        lead=f"Started on {began:%d %B %Y at %H:%M}{by}, {_STATES[study.status]}.",
        cards=list(overview.cards(study, details, drawings)),
        sections=[
            overview.best_trial(study, tied, details),
            *finalists.section(study),
            overview.best_trials(study, tied),
            history(study, tied),
            *trade_offs(study),
            curves(study, details),
            *rungs.section(study, details),
            *_coordinates(study, order),
            *_importance(study, importance, order, tied),
            *_durations(study, tied),
            *_stopped(study, "early", "What stopped early"),
            *_stopped(study, "pruned", "What was pruned"),
            *failures(study),
            *_mistakes(details),
            *_time(study),
            overview.what_was_searched(study),
            overview.reproduction(study, details),
        ],
    )


def history(study: StudyRecord, tied: Ties | None) -> Section:
    """Show each trial's score, in the order in which they ended."""
    return Section(
        "How the search went", charts=[Chart("history", charts.history(study, tied))]
    )


def curves(study: StudyRecord, details: Details) -> Section:
    """Show the learning curves that have been read."""
    text = []
    drawn = sum(trial.trial_id in details.curves for trial in study.finished)
    if left_out := len(study.finished) - drawn:
        text.append(
            f"The chart shows {drawn} of the finished trials, the best ones among them; not "
            f"shown: {left_out:,}."
        )
    if max(map(len, details.curves.values()), default=0) > charts.MAX_CURVE_POINTS:
        text.append(f"Up to {charts.MAX_CURVE_POINTS} epochs of each curve are drawn.")
    if any(trial.repeats is not None for trial in study.finished):
        text.append("Of a trial that was trained several times, the first training is shown.")
    chart = Chart("curves", charts.learning_curves(study, details), height=420)
    return Section("Learning curves", text, [chart])


def _coordinates(study: StudyRecord, order: Sequence[str]) -> Iterator[Section]:
    if not study.varied or len(study.finished) < 2:
        return
    figure = parallel_coordinates(study, order)
    num_axes = len(figure["data"][0]["dimensions"])
    text = [
        "Each line is a trial. Drag along an axis to see only the trials that pass there, and "
        "tap the axis to see all again. Drag a name to move its axis."
    ]
    if len(study.finished) > SPREAD_FROM:
        text.append(
            "Where values repeat, lines are spread a little to show how many there are."
        )
    if len(order) > MAX_AXES - 1:
        text.append(f"Not shown: {', '.join(order[MAX_AXES - 1 :])}.")
    chart = Chart("coordinates", figure, height=420, min_width=90 * num_axes)
    yield Section("All trials and their values", text, [chart])


def _importance(
    study: StudyRecord, found: Importance | str, order: Sequence[str], tied: Ties | None
) -> Iterator[Section]:
    title = "Which hyperparameters matter"
    if isinstance(found, str):
        yield Section(title, [found])
    else:
        text = [
            f"A random forest was trained to predict {study.objective.name} from the values. "
            f"It explains {found.explained:.0%} of the variance between trials that it has not "
            f"seen. Then the values of one hyperparameter at a time are shuffled: the worse "
            f"the forest predicts, the longer the bar (permutation importance; the thin line "
            f"is the standard deviation over shuffles). This holds only for this space and "
            f"these trials."
        ]
        height = 110 + 26 * len(found.names)
        yield Section(title, text, [Chart("importance", summaries.importance(found), height)])
    if not order:
        return
    text = []
    if len(order) > MAX_SLICES:
        text.append(f"Not shown: {', '.join(order[MAX_SLICES:])}.")
    if len(study.finished) > charts.MAX_SLICE_POINTS:
        text.append(
            f"Each chart shows {charts.MAX_SLICE_POINTS} trials: the best, and random others."
        )
    yield Section(
        f"{study.objective.name} by each hyperparameter",
        text,
        [
            Chart(f"slice-{i}", charts.slice_of(study, name, tied), height=260)
            for i, name in enumerate(order[:MAX_SLICES])
        ],
    )


def _durations(study: StudyRecord, tied: Ties | None) -> Iterator[Section]:
    figure = charts.durations(study, tied)
    if len(figure["data"]) > 1:
        text = ["No trial is both faster and better than one on the green line."]
        yield Section("Time against accuracy", text, [Chart("durations", figure)])


def _stopped(study: StudyRecord, why: Stopped, title: str) -> Iterator[Section]:
    stopped = [t for t in study.ranked if t.stopped == why]
    if not stopped:
        return
    spared = sum(int(str(t.values["epochs"])) - (t.num_epochs or 0) for t in stopped)
    text = [
        f"{len(stopped):,} of {plural(len(study.finished), 'finished trial')} ended before "
        f"their last epoch, which spared {plural(spared, 'epoch')}."
    ]
    if len(stopped) > MAX_STOPPED:
        text.append(f"The best {MAX_STOPPED} of them are listed.")
    rows = [
        (
            overview.link(study, t.trial_id, t.run_id),
            f"{t.num_epochs} of {t.values['epochs']}",
            t.stopped_because,
        )
        for t in stopped[:MAX_STOPPED]
    ]
    table = Table(("trial", "after epoch", "because"), rows)
    yield Section(title, text, tables=[table])


def failures(study: StudyRecord) -> Iterator[Section]:
    """Say why trials failed, if any did."""
    found = reasons(study.trials)
    if not found:
        return
    text = ["A failed trial's run in MLflow has its traceback as error.txt."]
    if len(found) > MAX_REASONS:
        rest = sum(len(reason.trials) for reason in found[MAX_REASONS:])
        text.append(f"Trials that failed for other reasons: {rest:,}.")
    shown = found[:MAX_REASONS]
    rows = []
    for i, reason in enumerate(shown, 1):
        first = reason.trials[0]
        kind = TOLD.get(reason.kind or "", "")
        rows.append(
            (
                f"{i}.",
                f"{len(reason.trials):,}",
                kind,
                overview.link(study, first.trial_id, first.run_id),
                f"{first.error}",
            )
        )
    chart = Chart("failures", summaries.failures(shown), height=100 + 30 * len(shown))
    table = Table(("", "trials", "kind", "example", "its message"), rows)
    yield Section("What failed", text, [chart], [table])


def _mistakes(details: Details) -> Iterator[Section]:
    if details.confusion is not None:
        matrix = details.confusion
        num_classes = len(matrix.class_names)
        faults = [(true, taken, str(n)) for true, taken, n in matrix.worst(NUM_FAULTS)]
        tables = [Table(("true class", "predicted", "images"), faults)] if faults else []
        if num_classes <= summaries.MAX_CLASSES:
            drawn = [Chart("confusion", summaries.confusion_matrix(matrix), height=520)]
            text = [
                "The best trial's predictions for the test images; the most frequent mistakes "
                "are listed below."
            ]
        else:
            drawn, text = [], [f"{num_classes:,} classes are too many to draw here."]
        yield Section("What the best model confuses", text, drawn, tables)
    if details.mistakes is not None:
        yield Section("Its worst mistakes", picture=details.mistakes)


def _time(study: StudyRecord) -> Iterator[Section]:
    timed = [t.metrics for t in study.finished if TRIAL_SECONDS in t.metrics]
    if not timed:
        return

    def total(name: str) -> float:
        return sum(metrics.get(name, 0.0) for metrics in timed)

    workers = {
        "training": total(TRAIN_SECONDS),
        "compiling": total(COMPILE_SECONDS),
        "evaluating": total(EVALUATE_SECONDS),
    }
    workers["building, checkpoints"] = max(total(TRIAL_SECONDS) - sum(workers.values()), 0.0)
    parts = {"workers": workers}
    metrics = study.metrics
    if WORKER_SECONDS in metrics:
        busy = sum(workers.values())
        workers["waiting"] = max(metrics[WORKER_SECONDS] - busy, 0.0)
        driver = {
            "waiting": metrics.get(seconds_spent("waiting"), 0.0),
            "recording": metrics.get(seconds_spent("recording"), 0.0),
            "proposing": metrics.get(seconds_spent("proposing"), 0.0),
        }
        driver["other"] = max(metrics["seconds"] - sum(driver.values()), 0.0)
        parts["driver"] = driver
    text = [
        "Workers train, compile, evaluate (which includes drawing and saving the model), and "
        "wait for a trial or for their own start; failed trials count as waiting. Meanwhile "
        "the driver waits for them, records in MLflow and asks the oracle."
    ]
    rows = [
        (who, name, duration(seconds), f"{seconds / max(sum(part.values()), 1e-9):.1%}")
        for who, part in parts.items()
        for name, seconds in part.items()
    ]
    chart = Chart("time", summaries.shares_of_time(parts), height=160 + 55 * len(parts))
    yield Section(
        "Where the time went", text, [chart], [Table(("who", "what", "time", "share"), rows)]
    )
