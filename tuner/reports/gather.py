"""Reads MLflow's records into the plain data of a report."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import mlflow
from mlflow.entities import Run

from tuner import names
from tuner.config.space import Space
from tuner.reports.records import Confusion, Details, StudyRecord
from tuner.tracking import history, standing, trial_epochs
from tuner.tracking.facts import StudyFacts, TrialRecord
from tuner.tracking.standing import Standing

NUM_BEST_CURVES = 50
NUM_OTHER_CURVES = 150
"""Number of learning curves that are read: the best, and random others. Each takes a call."""


def read_study(client: mlflow.MlflowClient, run: Run) -> StudyRecord:
    """Read a study and all its trials.

    Args:
        client: Client of the store that holds the study.
        run: The study's run.
    """
    facts = history.read_study(run)
    trials = history.trials(client, facts.experiment_id, facts.study_id)
    finalists = []
    if facts.race is not None:
        kind = names.KIND_FINALIST
        finalists = history.trials(client, facts.experiment_id, facts.study_id, kind)
    experiment = client.get_experiment(facts.experiment_id).name
    return as_record(facts, trials, experiment, client.tracking_uri, finalists)


def as_record(
    facts: StudyFacts,
    trials: Sequence[TrialRecord],
    experiment: str,
    tracking_uri: str,
    finalists: Sequence[TrialRecord] = (),
) -> StudyRecord:
    """Put together the record of a study that has been read.

    Args:
        facts: The study.
        trials: Its trials, in the order in which they ended.
        experiment: Name of its MLflow experiment.
        tracking_uri: Address of the store that holds it.
        finalists: The runs of its finalists, if it has any.
    """
    settings = facts.settings
    return StudyRecord(
        name=facts.name,
        study_id=facts.study_id,
        run_id=facts.run_id,
        experiment=experiment,
        owner=facts.owner,
        folder=facts.folder,
        extensions=facts.extensions,
        status=facts.status,
        began=facts.began,
        objective=facts.objective,
        params=settings,
        # Read like that of a user's own model, since the built-in ones may have changed.
        space=Space.parse(_searched(settings), ""),
        pages=pages_of(tracking_uri, facts.experiment_id),
        metrics=facts.metrics,
        versions=facts.versions,
        data=facts.data,
        trials=trials,
        race=facts.race,
        finalists=finalists,
        constraints=facts.constraints,
        judged_trial=facts.judged_trial,
    )


def pages_of(tracking_uri: str, experiment_id: str) -> str:
    """Return the address of MLflow's pages for an experiment's runs, up to a run's id.

    A server shows them itself; for a database, `mlflow ui` does, at its default address.
    """
    server = urlsplit(tracking_uri)
    base = "http://127.0.0.1:5000"
    if server.scheme in ("http", "https"):
        # Without user and password.
        base = f"{server.scheme}://{server.netloc.rpartition('@')[2]}{server.path.rstrip('/')}"
    return f"{base}/#/experiments/{experiment_id}/runs/"


def read_details(client: mlflow.MlflowClient, study: StudyRecord) -> Details:
    """Read the learning curves of a study, and the files of its best trial.

    Args:
        client: Client of the store that holds the study.
        study: A study with at least one finished trial.
    """
    best = study.model.run_id
    facts = history.read_study(client.get_run(study.run_id))
    matrix = history.read_file(client, best, names.CONFUSION_MATRIX)
    confusion = None
    if matrix is not None:
        content = json.loads(matrix)
        confusion = Confusion(content["class_names"], content["counts"])
    return Details(
        curves={
            trial.trial_id: trial_epochs.curve(client, trial, study.objective.name)
            for trial in trials_with_curves(study)
        },
        overrides=history.overrides(client, study.run_id),
        confusion=confusion,
        mistakes=history.read_file(client, best, names.WRONG_PREDICTIONS),
        decision=history.decision(client, facts, study.judged_trial or study.model.trial_id),
        standing=read_standing(client, study),
    )


def read_wrong(client: mlflow.MlflowClient, study: StudyRecord) -> frozenset[int] | None:
    """Return the test images that a study's best trial gets wrong.

    Args:
        client: Client of the store that holds the study.
        study: A study with at least one finished trial.

    Returns:
        Their places in the test split, from 0; None if they were not recorded, or not all.
    """
    content = history.read_file(client, study.model.run_id, names.WRONG_IMAGES)
    if content is None:
        return None
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8")))
        wrong = frozenset(int(row["index"]) for row in rows)
    except (ValueError, KeyError, TypeError, csv.Error):
        return None
    return wrong if len(wrong) == study.model.metrics.get(names.TEST_WRONG) else None


def read_standing(client: mlflow.MlflowClient, study: StudyRecord) -> Standing | None:
    """Return the present state of a study's best model in the registry; None if not there."""
    facts = history.read_study(client.get_run(study.run_id))
    judged = study.judged_trial or study.model.trial_id
    return standing.find(client, history.judged_runs(client, facts, judged))


def trials_with_curves(study: StudyRecord) -> list[TrialRecord]:
    """Choose the trials whose learning curves are drawn.

    They are the best, random others, and all that run.
    """
    best, others = study.ranked[:NUM_BEST_CURVES], study.ranked[NUM_BEST_CURVES:]
    # Always the same ones, so that a page does not change without a reason.
    chosen = random.Random(0).sample(others, min(len(others), NUM_OTHER_CURVES))
    return [*best, *chosen, *study.running]


def _searched(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the space of a study as it was searched."""
    return {
        key.removeprefix("space."): given
        for key, given in settings.items()
        if key.startswith("space.")
    }
