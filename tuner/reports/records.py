"""The data of a report: the records of studies and trials as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tuner import names
from tuner.config.hyperparameters import Dimension, Range
from tuner.config.space import Space
from tuner.constraints import NO_CONSTRAINTS, Constraints
from tuner.evaluation.racing import Race
from tuner.tracking import history
from tuner.tracking.facts import DataFacts, TrialRecord
from tuner.tracking.standing import Standing
from tuner.trial import Metrics, Objective

BROKEN = "constraint"
"""Kind of the failure of a trial that broke a constraint before it was trained."""


@dataclass(frozen=True)
class StudyRecord:
    """One study, as MLflow has it, with its trials.

    Attributes:
        name: The study's name.
        run_id: Id of the study's run.
        experiment: Name of the MLflow experiment.
        status: Status of its run.
        began: Time (seconds since 1970) at which it was started.
        objective: The metric to improve.
        params: Its configuration, flat.
        space: What could be searched of it.
        metrics: Of the study's run.
        versions: Of the libraries it was made with, if they were recorded.
        data: What it is searched on; None if that was not recorded.
        trials: In the order in which they ended.
        constraints: Limits that its best trial must keep within.
        judged_trial: The trial that was registered, if one was; mostly the best one.
        pages: Address of MLflow's pages of its experiment's runs, up to a run's id.
        study_id: What tells it from another study of its name.
        owner: The user who began it; empty if that is not known.
        folder: `<host>:<folder>` it was searched in; empty if that is not known.
        extensions: What it was told otherwise when it was resumed; see `StudyFacts`.
        race: Its finalists' scores, if it has any.
        finalists: The finalists' runs.
    """

    name: str
    run_id: str
    experiment: str
    status: str
    began: float
    objective: Objective
    params: Mapping[str, str]
    space: Space
    metrics: Metrics
    versions: Mapping[str, str]
    data: DataFacts | None
    trials: Sequence[TrialRecord]
    pages: str = ""
    study_id: str = ""
    owner: str = ""
    folder: str = ""
    extensions: Sequence[Mapping[str, Any]] = ()
    race: Race | None = None
    finalists: Sequence[TrialRecord] = ()
    constraints: Constraints = NO_CONSTRAINTS
    judged_trial: str | None = None

    @cached_property
    def finished(self) -> Sequence[TrialRecord]:
        """The trials that ended with a result."""
        return history.finished(self.trials, self.objective)

    @cached_property
    def failed(self) -> Sequence[TrialRecord]:
        """The trials that failed."""
        ended = [t for t in self.trials if t.status == "FAILED"]
        return [t for t in ended if t.failure != BROKEN]

    @cached_property
    def untrained(self) -> Sequence[TrialRecord]:
        """The trials that broke a constraint before they were trained."""
        return [t for t in self.trials if t.status == "FAILED" and t.failure == BROKEN]

    @cached_property
    def running(self) -> Sequence[TrialRecord]:
        """The trials that run now, or were killed without notice, in their own order."""
        found = [t for t in self.trials if t.status == "RUNNING"]
        return sorted(found, key=lambda trial: trial.trial_id)

    @cached_property
    def ranked(self) -> Sequence[TrialRecord]:
        """The finished trials, best first; in a tie the earlier one comes first.

        Those that do not meet the constraints come last, the nearest first.
        """
        met = history.ranked(self.trials, self.objective, self.constraints)
        others = history.ranked(self.finished, self.objective, NO_CONSTRAINTS)
        broken = [trial for trial in others if not self.meets(trial)]
        return [*met, *sorted(broken, key=lambda t: self.constraints.distance(t.metrics))]

    def meets(self, trial: TrialRecord) -> bool:
        """Say whether a finished trial meets the constraints."""
        return self.constraints.are_met(trial.metrics)

    @cached_property
    def eligible(self) -> Sequence[TrialRecord]:
        """The finished trials that meet the constraints, in the order in which they ended."""
        return [trial for trial in self.finished if self.meets(trial)]

    @property
    def best_is(self) -> str:
        """What `best` is, in words."""
        return "the best" if self.eligible else "the nearest to the constraints"

    @property
    def num_validation(self) -> int | None:
        """Number of different images that validate a trial, if that was recorded."""
        return self.data.num_scored if self.data else None

    @cached_property
    def best(self) -> TrialRecord:
        """The trial that has won by new seeds, otherwise the one that the search ranks first.

        There must be a finished one. If no trial meets the constraints, it is the one that
        comes nearest; see `best_is`.
        """
        winner = None if self.race is None else self.race.winner
        return next((t for t in self.ranked if t.trial_id == winner), self.ranked[0])

    @property
    def model(self) -> TrialRecord:
        """The training whose model is the study's: the best trial's, or its median seed's."""
        if self.race is not None:
            name = names.finalist_name(self.race.winner, self.race.median)
            for finalist in self.finalists:
                if finalist.trial_id == name:
                    return finalist
        return self.best

    @property
    def best_score(self) -> float:
        """The best trial's score: the mean of new seeds, otherwise that in the search."""
        if self.race is not None:
            return self.race.mean(self.race.winner)
        return self.score(self.best)

    @cached_property
    def varied(self) -> Sequence[str]:
        """The hyperparameters that differ among the finished trials."""
        seen: dict[str, set[str]] = {}
        for trial in self.finished:
            for name, value in trial.values.items():
                # As JSON, since 1, 1.0 and true are equal to Python.
                seen.setdefault(name, set()).add(json.dumps(value))
        num_with = {name: sum(name in t.values for t in self.finished) for name in seen}
        everywhere = len(self.finished)
        return [n for n in seen if len(seen[n]) > 1 or num_with[n] < everywhere]

    def score(self, trial: TrialRecord) -> float:
        """Return a finished trial's score."""
        return trial.metrics[self.objective.name]

    def is_log(self, name: str) -> bool:
        """Say whether orders of magnitude of a hyperparameter are equally likely."""
        dimension = self._dimensions.get(name)
        return isinstance(dimension, Range) and dimension.log

    @cached_property
    def _dimensions(self) -> Mapping[str, Dimension]:
        return dict(self.space.expanded())


@dataclass(frozen=True)
class Confusion:
    """The test images of the best trial, by true and predicted class."""

    class_names: Sequence[str]
    counts: Sequence[Sequence[int]]

    def worst(self, count: int) -> list[tuple[str, str, int]]:
        """Return the most frequent mistakes: true class, predicted class, images."""
        faults = [
            (self.class_names[i], self.class_names[j], number)
            for i, row in enumerate(self.counts)
            for j, number in enumerate(row)
            if i != j and number
        ]
        return sorted(faults, key=lambda fault: -fault[2])[:count]


@dataclass(frozen=True)
class OnDrawings:
    """How many labelled files of a folder a model gets right."""

    num_right: int
    num_files: int

    @property
    def accuracy(self) -> float:
        """Share of the files that it gets right, in `[0, 1]`."""
        return self.num_right / self.num_files


@dataclass(frozen=True)
class Details:
    """Details of single trials of a study; reading those of all would be too much.

    Attributes:
        curves: The objective after each epoch of some trials, by trial id.
        overrides: The study's overrides on the command line.
        confusion: Confusion matrix of the best trial, if it has been kept.
        mistakes: A picture of the best trial's mistakes, as PNG.
        decision: The gate's decision on the best trial, or on its refit, if it was registered.
        standing: Its present state in the registry; None if it is not there.
    """

    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    overrides: Sequence[str] = ()
    confusion: Confusion | None = None
    mistakes: bytes | None = None
    decision: Mapping[str, Any] | None = None
    standing: Standing | None = None
