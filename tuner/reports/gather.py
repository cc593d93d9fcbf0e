"""From MLflow's records to the plain data of a report."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from tuner import plain_yaml
from tuner.records import PAGE, REFIT, pages, plain, refit_name
from tuner.reports.records import Confusion, DataFacts, Details, StudyRecord, TrialRecord
from tuner.schema import DIRECTIONS, hyperband_epochs
from tuner.space import Space
from tuner.trial import Objective

NUM_BEST_CURVES = 50
NUM_OTHER_CURVES = 150
"""Trials whose learning curves are read: the best, and others by chance. Each takes a call."""

_DECISION = "promotion/decision.json"


def read_study(client: mlflow.MlflowClient, run: Run) -> StudyRecord:
    """Read a study and all its trials.

    Args:
        client: Of the store it is kept in.
        run: The study's.
    """
    tags, params = run.data.tags, dict(run.data.params)
    query = (
        f"tags.`tuner.study_id` = '{tags['tuner.study_id']}' and tags.`tuner.kind` = 'trial'"
    )
    found = pages(
        client.search_runs,
        experiment_ids=[run.info.experiment_id],
        filter_string=query,
        max_results=PAGE,
    )
    trials = sorted(map(_trial, found), key=lambda trial: (trial.ended, trial.trial_id))
    name = params["search.objective"]
    direction = params.get("search.direction", "None")
    if direction not in ("min", "max"):
        direction = DIRECTIONS[name]
    return StudyRecord(
        name=tags["tuner.study"],
        run_id=run.info.run_id,
        experiment=client.get_experiment(run.info.experiment_id).name,
        status=run.info.status,
        began=run.info.start_time / 1000,
        objective=Objective(name, "max" if direction == "max" else "min"),
        params=params,
        # As of a model of one's own, since what the built-in ones take may have changed.
        space=Space.parse(_searched(params), ""),
        metrics=dict(run.data.metrics),
        versions=json.loads(tags.get("tuner.versions", "{}")),
        data=_data(run),
        trials=trials,
    )


def read_details(client: mlflow.MlflowClient, study: StudyRecord) -> Details:
    """Read the learning curves of a study, and the files of its best trial.

    Args:
        client: Of the store it is kept in.
        study: With at least one finished trial.
    """
    best = study.best.run_id
    matrix = _file(client, best, "confusion_matrix.json")
    confusion = None
    if matrix is not None:
        content = json.loads(matrix)
        confusion = Confusion(content["class_names"], content["counts"])
    return Details(
        curves={
            trial.trial_id: _history(client, trial.run_id, study.objective.name)
            for trial in trials_with_curves(study)
        },
        overrides=_overrides(_file(client, study.run_id, "overrides.yaml")),
        confusion=confusion,
        mistakes=_file(client, best, "wrong_predictions.png"),
        decision=_decision(client, study),
    )


def read_promotion(client: mlflow.MlflowClient, study: StudyRecord) -> bool | None:
    """Return whether a study's best model was promoted, or None if it was not registered."""
    decision = _decision(client, study)
    return None if decision is None else bool(decision["promoted"])


def _decision(client: mlflow.MlflowClient, study: StudyRecord) -> dict[str, Any] | None:
    """Return what the gate has decided on the best trial, or on its values trained again."""
    experiment = client.get_experiment_by_name(study.experiment)
    assert experiment is not None
    again = client.search_runs(
        [experiment.experiment_id],
        f"tags.`mlflow.parentRunId` = '{study.run_id}' and tags.`tuner.kind` = '{REFIT}' "
        f"and tags.`tuner.trial` = '{refit_name(study.best.trial_id)}'",
    )
    for run_id in [*(run.info.run_id for run in again), study.best.run_id]:
        content = _file(client, run_id, _DECISION)
        if content is not None:
            decision: dict[str, Any] = json.loads(content)
            return decision
    return None


def trials_with_curves(study: StudyRecord) -> list[TrialRecord]:
    """Choose the trials whose learning curves are drawn: the best, and others by chance."""
    best, others = study.ranked[:NUM_BEST_CURVES], study.ranked[NUM_BEST_CURVES:]
    # The same ones each time, so that a page does not change without a reason.
    chosen = random.Random(0).sample(others, min(len(others), NUM_OTHER_CURVES))
    return [*best, *chosen]


def _trial(run: Run) -> TrialRecord:
    tags = run.data.tags
    return TrialRecord(
        trial_id=tags["tuner.trial"],
        run_id=run.info.run_id,
        status=run.info.status,
        values={name: plain(text) for name, text in run.data.params.items()},
        metrics=dict(run.data.metrics),
        ended=(run.info.end_time or run.info.start_time) / 1000,
        error=tags.get("tuner.error"),
        failure=tags.get("tuner.failure"),
    )


def _data(run: Run) -> DataFacts | None:
    for given in run.inputs.dataset_inputs if run.inputs else ():
        dataset = given.dataset
        profile = json.loads(run.data.tags.get("tuner.data_profile", "{}"))
        return DataFacts(dataset.name, dataset.digest, profile)
    return None


def _overrides(content: bytes | None) -> list[str]:
    try:
        lines = [] if content is None else plain_yaml.read(content)
    except plain_yaml.NotPlain:
        return []
    return [str(line) for line in lines] if isinstance(lines, list) else []


def _searched(params: Mapping[str, str]) -> dict[str, Any]:
    """Return the space of a study as it was searched: Hyperband sets the epochs itself."""
    space = {
        key.removeprefix("space."): plain(text)
        for key, text in params.items()
        if key.startswith("space.")
    }
    if params.get("search.oracle") == "hyperband":
        most, factor = int(params["search.max_epochs"]), int(params["search.factor"])
        space["epochs"] = hyperband_epochs(most, factor)
    return space


def _history(client: mlflow.MlflowClient, run_id: str, name: str) -> list[float]:
    points = client.get_metric_history(run_id, name)
    return [point.value for point in sorted(points, key=lambda point: point.step)]


def _file(client: mlflow.MlflowClient, run_id: str, path: str) -> bytes | None:
    """Return the content of a run's file, or None if it has none of that name."""
    folder = str(Path(path).parent) if "/" in path else None
    if path not in {file.path for file in client.list_artifacts(run_id, folder)}:
        return None
    with tempfile.TemporaryDirectory() as target:
        try:
            return Path(client.download_artifacts(run_id, path, target)).read_bytes()
        except (OSError, MlflowException):
            # Removed by hand between two calls, or refused: a report does without.
            return None
