"""The texts and tables of a study's report: what was searched, the best, how to repeat it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tuner import names, passwords
from tuner.config import edges
from tuner.config.hyperparameters import Choice, Dimension, Fixed
from tuner.config.overrides import key_of
from tuner.config.printed_commands import resume
from tuner.evaluation import ties
from tuner.evaluation.measures import accuracy_interval
from tuner.evaluation.ties import Ties
from tuner.names import NUM_PARAMETERS, SECONDS, TEST_ACCURACY, TRIAL_SECONDS, WORKER_SECONDS
from tuner.reports import outlook
from tuner.reports.page import Card, Link, Section, Table
from tuner.reports.plotting import shown
from tuner.reports.records import Details, OnDrawings, StudyRecord
from tuner.tracking.facts import DataFacts, TrialRecord
from tuner.wording import (
    describe,
    duration,
    plural,
    say_changes,
)

_KEY = "search.constraints."

NUM_IN_TABLE = 10
"""Number of trials that are listed, the best ones."""


def _limits(study: StudyRecord) -> str:
    return str(study.constraints).replace(_KEY, "")


def find_ties(study: StudyRecord) -> Ties | None:
    """Find the trials of a study that are tied with the one that its search ranks first."""
    metrics = {t.trial_id: t.metrics for t in study.eligible}
    if not metrics:
        return None
    first = study.ranked[0].trial_id
    return ties.find_ties(first, metrics, study.objective, study.num_validation)


def cards(study: StudyRecord, details: Details, drawings: OnDrawings | None) -> Iterator[Card]:
    """Yield what a reader should see first: the best results, and their cost."""
    model = study.model
    if TEST_ACCURACY in model.metrics:
        note = f"of {study.best_is} ({model.trial_id})"
        if (tested := ties.accuracy_on_test(model.metrics)) is not None:
            low, high = tested.interval
            note = f"{low:.4f} to {high:.4f} (95 %, {tested.num_images:,} images)"
        yield Card("Test accuracy", f"{model.metrics[TEST_ACCURACY]:.4f}", note)
    if drawings is not None:
        low, high = accuracy_interval(drawings.num_right, drawings.num_files)
        note = f"{low:.4f} to {high:.4f} (95 %, {drawings.num_files:,} files)"
        yield Card("Accuracy on drawings", f"{drawings.accuracy:.4f}", note)
    yield Card(study.objective.name, f"{study.best_score:.4f}", _of_best_score(study))
    yield Card("Trials", f"{len(study.finished):,}", f"finished; {_others(study)}")
    if study.constraints:
        count = f"{len(study.eligible):,} of {len(study.finished) + len(study.untrained):,}"
        yield Card("Meet the constraints", count, _limits(study))
    if SECONDS in study.metrics:
        yield Card("Time", duration(study.metrics[SECONDS]), _workers(study))
    now = details.standing
    if now is not None:
        yield Card("Registry", now.role, f"{now.name} version {now.version}")
    else:
        yield Card("Registry", "not registered" if details.decision is None else "removed")


def _of_best_score(study: StudyRecord) -> str:
    """Say what the score in the card is: that of one training, or a mean over new seeds."""
    said = f"best: trial {study.best.trial_id}"
    if (race := study.race) is None:
        repeats = study.best.repeats
        return said if repeats is None else f"{said}, mean of {len(repeats.finals)} trainings"
    interval = race.interval(race.winner)
    between = "" if interval is None else f", {interval[0]:.4f} to {interval[1]:.4f} (95 %)"
    return f"{said}, mean of {plural(len(race.seeds), 'new seed')}{between}"


def what_was_searched(study: StudyRecord) -> Section:
    """Say what was searched, on which data and in which space."""
    params = study.params
    rows = []
    if study.data is not None:
        rows.append(("data", _described(study.data)))
        rows.append(("digest of the data", study.data.digest))
    rows.append(("model", params["model._target_"]))
    budget = params.get("search.max_trials")
    limit = "" if budget is None else f", search.max_trials={budget}"
    aims = (
        f"{'maximise' if one.direction == 'max' else 'minimise'} {one.name}"
        for one in study.objective.all
    )
    said = f"{params['search.oracle']}{limit}: {', '.join(aims)}"
    rows.append(("search", said))
    if study.constraints:
        rows.append(("constraints", _limits(study)))
    rows += _told(params)
    rows.append(("seed", str(params["seed"])))
    rows += [("extended", _extension(extension)) for extension in study.extensions]
    rows.append(("MLflow experiment", study.experiment))
    if study.owner:
        rows.append(("owner", study.owner))
    return Section("What was searched", tables=[Table((), rows)])


def best_trial(study: StudyRecord, tied: Ties | None, details: Details) -> Section:
    """Say which values are best among those searched, and how sure that is."""
    best, model, name = study.best, study.model, study.objective.name
    text = []
    if broken := study.constraints.broken(best.metrics):
        text.append(f"No trial meets the constraints. This one comes nearest: {broken}.")
    if study.race is not None:
        text.append(
            f"Trial {best.trial_id}: {study.race}; {study.score(best):.4f} in the search."
        )
    if (tested := ties.accuracy_on_test(model.metrics)) is not None:
        its = "Trial" if study.race is None else "Its model, of the median seed,"
        text.append(f"{its} {model.trial_id}: {name} {study.score(model):.4f}, {tested}.")
    if (ending := _ending(model)) is not None:
        text.append(ending)
    if best.repeats is not None:
        text.append(best.repeats.say(name))
    if tied is not None and study.race is None:
        text.append(
            f"{tied} A paired test on the same images, as in the registry's gate, can detect "
            f"smaller differences."
        )
    if details.decision is not None:
        judged = study.judged_trial or best.trial_id
        on = "" if judged == best.trial_id else f" on trial {judged}, the best in its limits"
        text.append(f"The gate's decision{on}: {details.decision['reason']}")
        if (forced := details.decision.get("forced")) is not None:
            text.append(f"It was promoted all the same (force=true): {forced}")
    dimensions = dict(study.space.expanded())
    # Hyperband sets the epochs whatever the space says.
    searched = [
        n for n, d in dimensions.items() if not isinstance(d, Fixed) or n in study.varied
    ]
    rows = [
        (name, shown(best.values[name]), _among(dimensions[name]))
        for name in searched
        if name in best.values
    ]
    fixed = {name: value for name, value in best.values.items() if name not in searched}
    tables = [Table(("searched", "best", "among"), rows)] if rows else []
    if fixed:
        # Below what was searched.
        tables.append(Table((), [("not searched", describe(fixed))]))
    code = ""
    if found := edges.find(study.space, best.values, str(study.params["model._target_"])):
        kept = [argument for argument in details.overrides if key_of(argument) != "study"]
        given: Any = study.params.get("search.max_trials")
        budget = None if given is None else int(given)
        at, command = edges.say(found, best.values, kept, study.name, budget, "python")
        text.append(f"{at} The command below searches beyond it.")
        code = passwords.hide(command)
    if (more := outlook.find(study)) is not None:
        text.append(str(more))
    title = f"{study.best_is[0].upper()}{study.best_is[1:]}"
    title = f"{title} trial, {best.trial_id}" if study.eligible else f"{title}: {best.trial_id}"
    return Section(title, text, tables=tables, code=code)


def best_trials(study: StudyRecord, tied: Ties | None) -> Section:
    """List the best trials, the searched values first."""
    best, varied, objective = study.best, study.varied, study.objective.name
    head = ("trial", *varied, objective, "", "test accuracy", "parameters", "seconds")
    marks = dict.fromkeys(tied.trial_ids if tied is not None else (), "indistinguishable")
    if study.eligible:
        marks[study.ranked[0].trial_id] = "best in the search"
        marks[best.trial_id] = "best"
    rows = []
    for trial in study.ranked[:NUM_IN_TABLE]:
        metrics = trial.metrics
        broken = study.constraints.broken(metrics).replace(_KEY, "")
        accuracy = metrics.get(TEST_ACCURACY)
        rows.append(
            (
                link(study, trial.trial_id, trial.run_id),
                *(shown(trial.values[n]) if n in trial.values else "" for n in varied),
                _score(study, trial),
                broken or marks.get(trial.trial_id, ""),
                "" if accuracy is None else f"{accuracy:.4f}",
                f"{metrics[NUM_PARAMETERS]:,.0f}" if NUM_PARAMETERS in metrics else "",
                f"{metrics[TRIAL_SECONDS]:.1f}" if TRIAL_SECONDS in metrics else "",
            )
        )
    note = links_to([study])
    text = [note] if note else []
    places = [i for i, t in enumerate(study.ranked[:NUM_IN_TABLE]) if t is best]
    places = places if study.eligible else []
    return Section("The best trials", text, tables=[Table(head, rows, marked=places)])


def _score(study: StudyRecord, trial: TrialRecord) -> str:
    """Return a trial's score, with the standard deviation if it was trained several times."""
    deviation = trial.metrics.get(names.deviation(study.objective.name))
    spread = "" if deviation is None else f" ± {deviation:.4f}"
    return f"{study.score(trial):.4f}{spread}"


def link(study: StudyRecord, text: str, run_id: str) -> str | Link:
    """Return text that links to the page of one of a study's runs, if MLflow has pages."""
    return Link(text, f"{study.pages}{run_id}") if study.pages else text


def links_to(studies: Sequence[StudyRecord]) -> str:
    """Say on which condition the links to MLflow's pages work; empty if there is none."""
    if not any("//127.0.0.1:5000/" in study.pages for study in studies):
        return ""
    return "Names and numbers of runs link to MLflow's pages while `mlflow ui` is running here."


def reproduction(study: StudyRecord, details: Details) -> Section:
    """Say how the study can be run again."""
    kept = [argument for argument in details.overrides if key_of(argument) != "study"]
    lines = [passwords.hide(resume(kept, study.name, "python"))]
    if passwords.STARS in lines[0]:
        lines.append(f"# with the password in place of {passwords.STARS}")
    lines += [f"# {name} {version}" for name, version in study.versions.items()]
    text = [
        "The same command, on the same data with the same versions, gives the same trials, and "
        "on the same kind of machine the same weights to the last bit."
    ]
    return Section("To reproduce it", text, code="\n".join(lines))


def _ending(trial: TrialRecord) -> str | None:
    """Say which of its epochs a trial's model has, if not all that its values say."""
    said = []
    if (why := trial.why_fewer) is not None:
        said.append(f"{why[0].upper()}{why[1:]}.")
    if trial.best_epoch is not None:
        said.append(f"Its model has the weights of epoch {trial.best_epoch}.")
    return " ".join(said) or None


def _told(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the trainings were told besides their values."""
    for key, value in params.items():
        is_told = key.startswith("training.") and key != "training.engine"
        # Studies without a tag for their settings have only MLflow's text.
        if not is_told or value in (None, "None"):
            continue
        if isinstance(value, Mapping):
            yield key, describe({name: v for name, v in value.items() if v is not None})
        else:
            yield key, ", ".join(value) if isinstance(value, list) else str(value)


def _extension(extension: Mapping[str, Any]) -> str:
    """Say what a study was told otherwise, when, and from which trial on."""
    when = datetime.datetime.fromisoformat(extension["when"])
    trials = extension["trials"]
    after = "" if trials is None else f", after {plural(trials, 'trial')}"
    return f"{when:%Y-%m-%d %H:%M} UTC{after}: {say_changes(extension['changes'])}"


def _others(study: StudyRecord) -> str:
    counts = {
        "failed": len(study.failed),
        "not trained": len(study.untrained),
        "running": len(study.running),
        "killed": sum(trial.status == "KILLED" for trial in study.trials),
    }
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "none failed"


def _workers(study: StudyRecord) -> str:
    workers = study.metrics.get(WORKER_SECONDS, 0.0) / max(study.metrics[SECONDS], 1e-9)
    return f"with {workers:.3g} worker{'' if round(workers, 2) == 1 else 's'}"


def _described(data: DataFacts) -> str:
    profile = data.profile
    if not profile:
        return data.name
    splits = ("train", "validation", "test")
    counts = ", ".join(f"{profile[f'num_{split}']:,} {split}" for split in splits)
    shape = " x ".join(map(str, profile["image_shape"]))
    return f"{data.name}: {counts} images of {shape}, {profile['num_classes']} classes"


def _among(dimension: Dimension) -> str:
    if isinstance(dimension, Fixed):
        return "set by the search"
    if isinstance(dimension, Choice):
        return ", ".join(map(shown, dimension.options))
    said = f"{shown(dimension.min)} to {shown(dimension.max)}"
    if dimension.step not in (None, 1):
        said += f" in steps of {shown(dimension.step)}"
    return f"{said}, log" if dimension.log else said
