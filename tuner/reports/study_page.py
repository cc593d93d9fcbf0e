"""What the report of one study says, from top to bottom."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterator, Sequence

from tuner import ties
from tuner.dimensions import Choice, Fixed, Range
from tuner.evaluation import accuracy_interval
from tuner.progress import describe, duration
from tuner.reports import charts, summaries
from tuner.reports.coordinates import MAX_AXES, SPREAD_FROM, parallel_coordinates
from tuner.reports.failures import TOLD, Reason, reasons
from tuner.reports.importance import Importance, find_importance
from tuner.reports.page import Card, Chart, Page, Section, Table
from tuner.reports.plotting import shown
from tuner.reports.records import Details, OnDrawings, StudyRecord
from tuner.ties import Ties

NUM_IN_TABLE = 10
"""Trials that are listed, the best ones."""

NUM_FAULTS = 5
"""Pairs of classes that are listed, those confused most often."""

MAX_SLICES = 12
"""Hyperparameters with a slice of their own, the most important ones."""

_STATES = {
    "FINISHED": "finished",
    "RUNNING": "still running, or killed without a word: what it has so far",
    "KILLED": "interrupted: what it had until then",
    "FAILED": "ended by an error: what it had until then",
}


def study_page(study: StudyRecord, details: Details, drawings: OnDrawings | None) -> Page:
    """Put together the report of a study.

    Args:
        study: With at least one finished trial.
        details: Of it.
        drawings: How the best model does on drawings, if that was measured.
    """
    tied = find_ties(study)
    importance = find_importance(study)
    order = importance.names if isinstance(importance, Importance) else study.varied
    began = datetime.datetime.fromtimestamp(study.began)
    return Page(
        title=f"Study {study.name}",
        lead=f"Begun on {began:%d %B %Y at %H:%M}, {_STATES[study.status]}.",
        cards=list(_cards(study, details, drawings)),
        sections=[
            _what(study),
            _best(study, tied, details),
            _history(study, tied),
            _curves(study, details),
            *_coordinates(study, order),
            *_importance(study, importance, order, tied),
            *_durations(study, tied),
            *_failures(study),
            *_mistakes(details),
            *_time(study),
            _reproduction(study, details),
        ],
    )


def find_ties(study: StudyRecord) -> Ties | None:
    """Find the trials of a study that are tied with its best."""
    return ties.find_ties(study.best.trial_id, {t.trial_id: t.metrics for t in study.finished})


def _cards(study: StudyRecord, details: Details, drawings: OnDrawings | None) -> Iterator[Card]:
    best = study.best
    if "test_accuracy" in best.metrics:
        note = f"of trial {best.trial_id}, the best"
        if tied := find_ties(study):
            low, high = tied.interval
            note = f"{low:.4f} to {high:.4f} (95 %, {tied.num_images:,} images)"
        yield Card("Test accuracy", f"{best.metrics['test_accuracy']:.4f}", note)
    if drawings is not None:
        low, high = accuracy_interval(drawings.num_right, drawings.num_files)
        note = f"{low:.4f} to {high:.4f} (95 %, {drawings.num_files:,} files)"
        yield Card("Accuracy on drawings", f"{drawings.accuracy:.4f}", note)
    yield Card(study.objective.name, f"{study.score(best):.4f}", f"best: trial {best.trial_id}")
    yield Card("Trials", f"{len(study.finished):,}", f"finished; {_others(study)}")
    if "seconds" in study.metrics:
        yield Card("Time", duration(study.metrics["seconds"]), _workers(study))
    decision = details.decision
    if decision is None:
        yield Card("Registry", "not registered")
    else:
        now = decision["alias"] if decision["promoted"] else f"not {decision['alias']}"
        yield Card("Registry", str(now), f"{decision['name']} version {decision['version']}")


def _others(study: StudyRecord) -> str:
    counts = {
        status: sum(trial.status == status for trial in study.trials)
        for status in ("FAILED", "RUNNING", "KILLED")
    }
    return (
        ", ".join(f"{count} {status.lower()}" for status, count in counts.items() if count)
        or "none failed"
    )


def _workers(study: StudyRecord) -> str:
    workers = study.metrics.get("worker_seconds", 0.0) / max(study.metrics["seconds"], 1e-9)
    return f"with {workers:.3g} worker{'' if round(workers, 2) == 1 else 's'}"


def _what(study: StudyRecord) -> Section:
    params = study.params
    rows = []
    if study.data is not None:
        profile = study.data.profile
        counts = ", ".join(
            f"{profile[f'num_{split}']:,} {split}"
            for split in ("train", "validation", "test")
            if f"num_{split}" in profile
        )
        shape = " x ".join(map(str, profile.get("image_shape", ())))
        said = f"{study.data.name}: {counts} images of {shape}, "
        rows.append(("data", f"{said}{profile.get('num_classes')} classes"))
        rows.append(("digest of the data", study.data.digest))
    rows.append(("model", params["model._target_"]))
    budget = params.get("search.max_trials", "None")
    limit = "" if budget == "None" else f", up to {budget} trials"
    aim = "as high" if study.objective.direction == "max" else "as low"
    said = f"{params['search.oracle']}{limit}: {study.objective.name} {aim} as it can be"
    rows.append(("search", said))
    rows.append(("seed", params["seed"]))
    rows.append(("MLflow experiment", study.experiment))
    searched = [
        (name, _among(dimension), shown(study.best.values.get(name, "")))
        for name, dimension in study.space.expanded()
        if not isinstance(dimension, Fixed)
    ]
    tables = [Table((), rows)]
    if searched:
        tables.append(Table(("searched", "among", "best"), searched))
    return Section("What was searched", tables=tables)


def _among(dimension: Choice | Range) -> str:
    if isinstance(dimension, Choice):
        return ", ".join(map(shown, dimension.options))
    said = f"{shown(dimension.min)} to {shown(dimension.max)}"
    if dimension.step not in (None, 1):
        said += f" in steps of {shown(dimension.step)}"
    return f"{said}, log" if dimension.log else said


def _best(study: StudyRecord, tied: Ties | None, details: Details) -> Section:
    best = study.best
    text = [f"Trial {best.trial_id}: {describe(best.values)}."]
    if tied is not None:
        text.append(
            f"{tied.said} A test of both models' answers to the same images, as the registry's "
            f"gate makes it, can see smaller differences."
        )
    if details.decision is not None:
        text.append(f"Registry: {details.decision['reason']}")
    names = [name for name in study.varied if name != study.objective.name]
    head = ("trial", study.objective.name, "test accuracy", "", "parameters", "seconds", *names)
    marks = {best.trial_id: "best"}
    if tied is not None:
        marks |= dict.fromkeys(tied.trial_ids, "tied") | dict.fromkeys(tied.higher, "higher")
    rows = []
    for trial in study.ranked[:NUM_IN_TABLE]:
        metrics = trial.metrics
        accuracy = metrics.get("test_accuracy")
        rows.append(
            (
                trial.trial_id,
                f"{study.score(trial):.4f}",
                "" if accuracy is None else f"{accuracy:.4f}",
                marks.get(trial.trial_id, ""),
                f"{metrics['num_parameters']:,.0f}" if "num_parameters" in metrics else "",
                f"{metrics['trial_seconds']:.1f}" if "trial_seconds" in metrics else "",
                *(shown(trial.values[n]) if n in trial.values else "" for n in names),
            )
        )
    return Section("The best trials", text, tables=[Table(head, rows, marked=(0,))])


def _history(study: StudyRecord, tied: Ties | None) -> Section:
    return Section(
        "How the search went", charts=[Chart("history", charts.history(study, tied))]
    )


def _curves(study: StudyRecord, details: Details) -> Section:
    text = []
    left_out = len(study.finished) - len(details.curves)
    if left_out:
        text.append(
            f"Drawn are {len(details.curves)} trials, the best ones and others by chance; "
            f"{left_out:,} are left out."
        )
    if max(map(len, details.curves.values()), default=0) > charts.MAX_CURVE_POINTS:
        text.append(f"Of each curve, up to {charts.MAX_CURVE_POINTS} epochs are drawn.")
    chart = Chart("curves", charts.learning_curves(study, details), height=420)
    return Section("Learning curves", text, [chart])


def _coordinates(study: StudyRecord, order: Sequence[str]) -> Iterator[Section]:
    if not study.varied or len(study.finished) < 2:
        return
    figure = parallel_coordinates(study, order)
    num_axes = len(figure["data"][0]["dimensions"])
    text = [
        "Each line is a trial. Drag along an axis to see only the trials that pass there, tap "
        "the axis to see all again; drag a name to move its axis."
    ]
    if len(study.finished) > SPREAD_FROM:
        text.append(
            "Where values repeat, lines are spread a little, to show how many they are."
        )
    if len(order) > MAX_AXES - 1:
        text.append(f"Without {', '.join(order[MAX_AXES - 1 :])}.")
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
            f"A random forest has learnt to tell {study.objective.name} from the values; it "
            f"explains {found.explained:.0%} of the differences between trials that it has not "
            f"seen. One hyperparameter's values after the other are shuffled: the more the "
            f"forest loses by that, the longer the bar (permutation importance; the thin line "
            f"is the deviation over shuffles). It is about this space and these trials only."
        ]
        height = 110 + 26 * len(found.names)
        yield Section(title, text, [Chart("importance", summaries.importance(found), height)])
    if not order:
        return
    text = []
    if len(order) > MAX_SLICES:
        text.append(f"Without {', '.join(order[MAX_SLICES:])}.")
    if len(study.finished) > charts.MAX_SLICE_POINTS:
        text.append(
            f"Drawn are {charts.MAX_SLICE_POINTS} trials each: the best, and others by chance."
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


def _failures(study: StudyRecord) -> Iterator[Section]:
    found = reasons(study.trials)
    if not found:
        return
    drawn = summaries.failures({reason.text: len(reason.trials) for reason in found})
    rows = [
        (f"{i}.", str(len(reason.trials)), _kind(reason), reason.trials[0].trial_id,
         str(reason.trials[0].error))
        for i, reason in enumerate(found, 1)
    ]  # fmt: skip
    yield Section(
        "What failed",
        ["A failed trial's run in MLflow has its traceback as error.txt."],
        [Chart("failures", drawn, height=100 + 30 * len(found))],
        [Table(("", "trials", "kind", "such as", "which said"), rows)],
    )


def _kind(reason: Reason) -> str:
    return TOLD.get(reason.kind or "", "")


def _mistakes(details: Details) -> Iterator[Section]:
    if details.confusion is not None:
        matrix = details.confusion
        num_classes = len(matrix.class_names)
        faults = [(true, taken, str(n)) for true, taken, n in matrix.worst(NUM_FAULTS)]
        tables = [Table(("true class", "taken for", "images"), faults)] if faults else []
        if num_classes <= summaries.MAX_CLASSES:
            drawn = [Chart("confusion", summaries.confusion_matrix(matrix), height=520)]
            text = [
                "The best trial's predictions of the test images; most frequent faults below."
            ]
        else:
            drawn, text = [], [f"{num_classes:,} classes are too many to draw here."]
        yield Section("What the best model confuses", text, drawn, tables)
    if details.mistakes is not None:
        yield Section("Its worst mistakes", picture=details.mistakes)


def _time(study: StudyRecord) -> Iterator[Section]:
    timed = [t.metrics for t in study.finished if "trial_seconds" in t.metrics]
    if not timed:
        return

    def total(name: str) -> float:
        return sum(metrics.get(name, 0.0) for metrics in timed)

    workers = {
        "training": total("train_seconds"),
        "compiling": total("compile_seconds"),
        "evaluating": total("evaluate_seconds"),
    }
    workers["building, checkpoints"] = max(total("trial_seconds") - sum(workers.values()), 0.0)
    parts = {"workers": workers}
    metrics = study.metrics
    if "worker_seconds" in metrics:
        busy = sum(workers.values())
        workers["waiting"] = max(metrics["worker_seconds"] - busy, 0.0)
        driver = {
            "waiting": metrics.get("waiting_seconds", 0.0),
            "recording": metrics.get("recording_seconds", 0.0),
            "proposing": metrics.get("proposing_seconds", 0.0),
        }
        driver["other"] = max(metrics["seconds"] - sum(driver.values()), 0.0)
        parts["driver"] = driver
    text = [
        "Workers train, compile, evaluate (which includes drawing and saving the model) and "
        "wait for a trial, or for their own start; trials that failed count as waiting. "
        "Meanwhile the driver waits for them, records in MLflow and asks the oracle."
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


def _reproduction(study: StudyRecord, details: Details) -> Section:
    # What was thrown away before must not be thrown away again.
    kept = [
        override
        for override in details.overrides
        if not override.startswith(("overwrite=", "study="))
    ]
    lines = [f"python -m tuner.search {shlex.join([*kept, f'study={study.name}'])}"]
    lines += [f"# {name} {version}" for name, version in study.versions.items()]
    text = [
        "The same command, on the same data with the same versions, gives the same trials; on "
        "the same kind of machine, the same weights to the last bit."
    ]
    return Section("To do it again", text, code="\n".join(lines))
