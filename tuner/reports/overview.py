"""What a study's report says in words: what was searched, what is best, how to do it again."""

from __future__ import annotations

from collections.abc import Iterator

from tuner import passwords, ties
from tuner.commands import resume
from tuner.dimensions import Choice, Fixed, Range
from tuner.evaluation import accuracy_interval
from tuner.overrides import key_of
from tuner.progress import describe, duration
from tuner.reports.page import Card, Section, Table
from tuner.reports.plotting import shown
from tuner.reports.records import DataFacts, Details, OnDrawings, StudyRecord
from tuner.ties import Ties

NUM_IN_TABLE = 10
"""Trials that are listed, the best ones."""


def find_ties(study: StudyRecord) -> Ties | None:
    """Find the trials of a study that are tied with its best."""
    return ties.find_ties(study.best.trial_id, {t.trial_id: t.metrics for t in study.finished})


def cards(
    study: StudyRecord, tied: Ties | None, details: Details, drawings: OnDrawings | None
) -> Iterator[Card]:
    """Yield what a reader should see first: how good it is, and what it took."""
    best = study.best
    if "test_accuracy" in best.metrics:
        note = f"of trial {best.trial_id}, the best"
        if tied is not None:
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


def what_was_searched(study: StudyRecord) -> Section:
    """Say what was searched, on what data and among what."""
    params = study.params
    rows = []
    if study.data is not None:
        rows.append(("data", _described(study.data)))
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


def best_trials(study: StudyRecord, tied: Ties | None, details: Details) -> Section:
    """Say which trials are best, and which of them differ by chance."""
    best = study.best
    text = [f"Trial {best.trial_id}: {describe(best.values)}."]
    if tied is not None:
        text.append(
            f"{tied.said} A test of both models' answers to the same images, as the registry's "
            f"gate makes it, can see smaller differences."
        )
    if details.decision is not None:
        text.append(f"Registry: {details.decision['reason']}")
    names = study.varied
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


def reproduction(study: StudyRecord, details: Details) -> Section:
    """Say how the study can be run again."""
    kept = [argument for argument in details.overrides if key_of(argument) != "study"]
    lines = [passwords.hide(resume(kept, study.name, "python"))]
    if passwords.STARS in lines[0]:
        lines.append(f"# with the password in place of {passwords.STARS}")
    lines += [f"# {name} {version}" for name, version in study.versions.items()]
    text = [
        "The same command, on the same data with the same versions, gives the same trials; on "
        "the same kind of machine, the same weights to the last bit."
    ]
    return Section("To do it again", text, code="\n".join(lines))


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


def _described(data: DataFacts) -> str:
    profile = data.profile
    if not profile:
        return data.name
    splits = ("train", "validation", "test")
    counts = ", ".join(f"{profile[f'num_{split}']:,} {split}" for split in splits)
    shape = " x ".join(map(str, profile["image_shape"]))
    return f"{data.name}: {counts} images of {shape}, {profile['num_classes']} classes"


def _among(dimension: Choice | Range) -> str:
    if isinstance(dimension, Choice):
        return ", ".join(map(shown, dimension.options))
    said = f"{shown(dimension.min)} to {shown(dimension.max)}"
    if dimension.step not in (None, 1):
        said += f" in steps of {shown(dimension.step)}"
    return f"{said}, log" if dimension.log else said
