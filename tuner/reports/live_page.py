"""The content of a page that shows a study while it runs; when it ends, a report follows."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from tuner import names
from tuner.evaluation.ties import interval_on_validation
from tuner.reports import gather, overview, study_page
from tuner.reports.page import Card, Part, Section, part, part_of
from tuner.reports.records import Details, StudyRecord
from tuner.tracking.facts import StudyFacts, TrialRecord
from tuner.tracking.following import Following
from tuner.trial import whole
from tuner.wording import describe, plural

NUM_CURVES = gather.NUM_BEST_CURVES
"""Number of finished trials whose learning curves are shown: the best."""

QUIET_SECONDS = 60.0
"""Seconds without any change after which the page says since when nothing has come."""


@dataclass(frozen=True)
class Button:
    """What a reader may ask of a study that runs.

    Attributes:
        name: Unique in the page.
        label: What stands on it.
        title: What a screen reader says, which the label is a part of.
        question: What is asked before it is done.
        request: What is sent: `study` or `trial`, and what is asked of it.
    """

    name: str
    label: str
    title: str
    question: str
    request: dict[str, str]


@dataclass(frozen=True)
class Head:
    """The head of the page: what the study is, what it does, and what can be asked of it."""

    title: str
    lead: str
    buttons: list[Button]


@dataclass(frozen=True)
class RunningTrial:
    """What a trial that runs does.

    Attributes:
        name: Its name.
        values: The values that differ between trials.
        epoch: Epochs that it has trained.
        epochs: Epochs of the whole trial.
        phase: What it does, in words.
        score: The objective after its last epoch, in words; empty before the first one.
        button: Stops it; None if that cannot be asked.
    """

    name: str
    values: str
    epoch: int
    epochs: int
    phase: str
    score: str
    button: Button | None


class LivePage:
    """Lays out a study from what was last read of it.

    What has not changed since the last time is not made again: charts of many trials take time.

    Args:
        followed: The study.
    """

    def __init__(self, followed: Following) -> None:
        self._followed = followed
        self._study: StudyRecord | None = None
        self._of_study: list[Part] = []
        self._curves: list[Part] = []
        self._versions = (-1, -1)

    def parts(self, state: str, quiet_since: float | None, command: str) -> list[Part]:
        """Return the parts of the page, from top to bottom.

        Args:
            state: What the study does; see `tuner.study.study.STATES`.
            quiet_since: Time (seconds since 1970) of the last change, if that is long ago.
            command: The command that resumes the study, for one that does not run.
        """
        study = self._record()
        made = [part("head", "live_head", _head(self._followed.facts, state, quiet_since))]
        if state != "running":
            text = "Give this command in the folder in which it was started."
            if state == "failed":
                text = f"Its terminal and its log say why it ended. {text}"
            made.append(part_of(Section("To resume it", [text], code=command)))
        made.append(part("cards", "cards", list(self._cards(study, state))))
        if state == "running":
            made.append(part("running", "running", [*self._running_trials(study)]))
        return [*made, *self._curves, *self._of_study]

    def _record(self) -> StudyRecord:
        """Return the study's record, and make parts again that depend on what has changed."""
        followed = self._followed
        versions = (followed.ended_version, followed.curves_version)
        before, self._versions = self._versions, versions
        if self._study is None or versions[0] != before[0]:
            self._study = self._as_record(list(followed.ended.values()))
            self._of_study = [*map(part_of, _sections(self._study))]
        if versions != before:
            self._curves = [*map(part_of, self._curve_section())]
        return self._study

    def _as_record(self, trials: list[TrialRecord]) -> StudyRecord:
        followed = self._followed
        uri = followed.client.tracking_uri
        return gather.as_record(followed.facts, trials, followed.experiment, uri)

    def _curve_section(self) -> Iterator[Section]:
        followed = self._followed
        if any(followed.curves.values()):
            trials = [*followed.ended.values(), *followed.running.values()]
            study = self._as_record(trials)
            yield study_page.curves(study, Details(followed.curves))

    @property
    def progress(self) -> str:
        """How many trials have ended, and of how many if that is known: `7 of 20`."""
        most = self._followed.facts.num_trials
        ended = f"{len(self._followed.ended):,}"
        return ended if most is None else f"{ended} of {most:,}"

    def _cards(self, study: StudyRecord, state: str) -> Iterator[Card]:
        followed = self._followed
        kinds = [trial.kind for trial in followed.running.values()]
        others = []
        if state == "running":
            others.append(f"{kinds.count(names.KIND_TRIAL)} running")
        if num_finalists := kinds.count(names.KIND_FINALIST):
            others.append(f"{plural(num_finalists, 'finalist')} running")
        others += [f"{len(study.failed):,} failed"] if study.failed else []
        yield Card("Trials", self.progress, ", ".join(others))
        name = study.objective.name
        if study.finished:
            best = study.best
            note = f"best: trial {best.trial_id}{_interval(study)}"
            yield Card(f"{name} so far", f"{study.score(best):.4f}", note)
        else:
            yield Card(f"{name} so far", "none yet", "no trial has finished")
        if state == "running":
            yield Card("Time left", followed.facts.time_left or "unknown")

    def _running_trials(self, study: StudyRecord) -> Iterator[RunningTrial]:
        followed = self._followed
        objective = study.objective.name
        searched = study.space.searched | {"epochs"}
        for trial in followed.running.values():
            curve = followed.curves.get(trial.trial_id, [])
            epochs = whole(trial.values["epochs"])
            ends = followed.facts.stop == "now" or trial.stop
            can_stop = trial.kind in names.MAY_STOP and len(curve) < epochs and not ends
            yield RunningTrial(
                name=trial.trial_id,
                values=describe({n: v for n, v in trial.values.items() if n in searched}),
                epoch=min(len(curve), epochs),
                epochs=epochs,
                phase=_phase(len(curve), epochs, ends),
                score=f"{objective} {curve[-1]:.4f}" if curve else "",
                button=_stop(trial.trial_id) if can_stop else None,
            )


def _sections(study: StudyRecord) -> Iterator[Section]:
    if study.finished:
        tied = overview.find_ties(study)
        if len(study.finished) > 1:
            yield study_page.history(study, tied)
        yield overview.best_trials(study, tied)
    yield from study_page.failures(study)
    yield overview.what_was_searched(study)


def _head(facts: StudyFacts, state: str, quiet_since: float | None) -> Head:
    began = datetime.datetime.fromtimestamp(facts.began)
    where = f" in {facts.folder}" if facts.folder else ""
    does = {
        "running": "running",
        "finished": "finished without a result",
        "interrupted": "interrupted",
        "failed": "ended by an error",
    }[state]
    buttons = []
    if state == "running":
        if facts.stop == "now":
            does = "ending: trials end after the epoch under way"
        elif facts.stop is not None:
            does = "ending: no more trials start, those that run are trained to their end"
            buttons = [_STOP_NOW]
        else:
            buttons = [_FINISH, _STOP_NOW]
    lead = f"Started on {began:%d %B %Y at %H:%M}{where}, {does}."
    if quiet_since is not None and state == "running":
        last = datetime.datetime.fromtimestamp(quiet_since)
        lead += (
            f" Nothing has come since {last:%H:%M:%S}: an epoch takes that long, or its driver "
            f"was killed."
        )
    return Head(f"Study {facts.name}", lead, buttons)


_FINISH = Button(
    "finish",
    "Finish",
    "Finish the study: let running trials end",
    "Finish the study? No more trials start. Those that run are trained to their end; then the "
    "best trial is registered and the report is written.",
    {"study": "true"},
)

_STOP_NOW = Button(
    "stop-now",
    "Stop now",
    "Stop now the study and its running trials",
    "Stop the study now? Trials end after the epoch under way, with what they have; then the "
    "best trial is registered and the report is written.",
    {"study": "now"},
)


def _stop(trial_id: str) -> Button:
    return Button(
        f"stop-{trial_id}",
        "Stop",
        f"Stop trial {trial_id}",
        f"Stop trial {trial_id}? It ends after the epoch under way, and is evaluated and "
        f"recorded with what it has.",
        {"trial": trial_id},
    )


def _phase(epoch: int, epochs: int, ends: bool) -> str:
    if epoch >= epochs:
        return "evaluating"
    does = f"{epoch} of {epochs} epochs" if epoch else "compiling"
    # Between its last epoch and its end, which the record does not tell apart.
    return f"{does}, asked to stop" if ends else does


def _interval(study: StudyRecord) -> str:
    """Word the 95 % interval of the best trial's validation accuracy, if that ranks trials."""
    score, num_images = study.score(study.best), study.num_validation
    interval = interval_on_validation(score, study.objective, num_images)
    if interval is None:
        return ""
    return f", {interval[0]:.4f} to {interval[1]:.4f} (95 %, {num_images:,} images)"
