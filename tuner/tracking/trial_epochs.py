"""Reads what MLflow has of each epoch of a trial; a part of the one reader, `history`."""

import itertools
from collections.abc import Iterable

import mlflow

from tuner import names
from tuner.tracking.epochs_file import Epochs
from tuner.tracking.facts import TrialRecord
from tuner.trial import Values


def step_of_model(values: Values) -> int:
    """Return the step at which a trial records the metrics of its model once more.

    A trial does so if its model has the weights of an earlier epoch than its last, since MLflow
    shows a metric's last step. The step comes after all epochs that the trial may have, so it
    is no epoch, whether the trial has stopped before them or is resumed.

    Args:
        values: The trial's values.
    """
    # As text if the study was recorded without their types.
    return int(str(values["epochs"])) + 1


def curve(client: mlflow.MlflowClient, trial: TrialRecord, metric: str) -> list[float]:
    """Return a metric after each epoch of a trial."""
    return list(by_epoch(client, trial.run_id, trial.values, metric).values())


def epochs(
    client: mlflow.MlflowClient, trial: TrialRecord, metrics: Iterable[str] | None = None
) -> Epochs:
    """Return a trial's metrics after each epoch: a request for each of them.

    Args:
        client: Client of the store that holds it.
        trial: The trial.
        metrics: Names of metrics, of which those are taken that it has; None for all.
    """
    found = epoch_metrics(trial.metrics)
    wanted = found if metrics is None else [name for name in metrics if name in found]
    curves = [curve(client, trial, name) for name in wanted]
    return Epochs(tuple(wanted), list(itertools.zip_longest(*curves)))


def epoch_metrics(metrics: Iterable[str]) -> list[str]:
    """Return those of a trial's metrics that are measured after every epoch."""
    found = {name for name in metrics if not names.is_of_repeats(name)}
    return sorted(found - names.OF_WHOLE_TRIAL)


def by_epoch(
    client: mlflow.MlflowClient, run_id: str, values: Values, metric: str
) -> dict[int, float]:
    """Return a metric after each logged epoch of a trial, by epoch.

    Args:
        client: Client of the store that holds it.
        run_id: Id of its run.
        values: The values that it is trained with.
        metric: Name of the metric.
    """
    points = client.get_metric_history(run_id, metric)
    end = step_of_model(values)
    return {p.step: p.value for p in sorted(points, key=lambda p: p.step) if p.step < end}
