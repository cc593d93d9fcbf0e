"""Tables of trials and curves, with a plain type for each column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas

from tuner.tracking.epochs_file import Epochs
from tuner.tracking.facts import TrialRecord

TEXT = pandas.StringDtype(na_value=np.nan)


def of_trials(trials: Sequence[TrialRecord]) -> pandas.DataFrame:
    """Return a row for each trial: `trial`, `state`, `stopped`, values, metrics, `run_id`."""
    columns: dict[str, Any] = {
        "trial": text(trial.trial_id for trial in trials),
        "state": text(trial.status.lower() for trial in trials),
        "stopped": text(trial.why_fewer for trial in trials),
    }
    for name in _names(trial.values for trial in trials):
        if name not in columns:
            columns[name] = plain([trial.values.get(name) for trial in trials])
    for name in _names(trial.metrics for trial in trials):
        # Callbacks may report the learning rate, which is a hyperparameter too.
        if name not in columns:
            columns[name] = _metric(trials, name)
    columns["run_id"] = text(trial.run_id for trial in trials)
    return pandas.DataFrame(columns)


def of_finalists(finalists: Sequence[TrialRecord]) -> pandas.DataFrame:
    """Return a row for each finalist: `trial`, `seed`, `state`, metrics, `run_id`."""
    columns: dict[str, Any] = {
        "trial": text(finalist.finalist_of for finalist in finalists),
        "seed": np.array([finalist.seed for finalist in finalists], np.int64),
        "state": text(finalist.status.lower() for finalist in finalists),
    }
    for name in _names(finalist.metrics for finalist in finalists):
        columns.setdefault(name, _metric(finalists, name))
    columns["run_id"] = text(finalist.run_id for finalist in finalists)
    return pandas.DataFrame(columns)


def of_curves(curves: Sequence[tuple[str, Epochs]]) -> pandas.DataFrame:
    """Return a row for each epoch of each trial: `trial`, `epoch`, and one for each metric.

    Args:
        curves: Trials with their epochs.
    """
    lengths = [len(epochs.values) for _, epochs in curves]
    names = dict.fromkeys(name for _, epochs in curves for name in epochs.metrics)
    values = np.full((sum(lengths), len(names)), np.nan)
    places = {name: place for place, name in enumerate(names)}
    start = 0
    for (_, epochs), length in zip(curves, lengths, strict=True):
        if length:
            columns = [places[name] for name in epochs.metrics]
            # None, where a metric was not measured, becomes NaN.
            values[start : start + length, columns] = np.array(epochs.values, float)
        start += length
    trials = np.repeat(np.array([trial for trial, _ in curves], object), lengths)
    numbers = np.concatenate([np.arange(1, n + 1) for n in lengths] or [np.arange(0)])
    table = {"trial": text(trials), "epoch": numbers.astype(np.int64)}
    return pandas.DataFrame(table | {name: values[:, place] for name, place in places.items()})


def text(values: Iterable[object]) -> Any:
    """Return a column of text; None is missing."""
    return pandas.array(list(values), dtype=TEXT)


def plain(values: Sequence[object]) -> Any:
    """Return a column of the plainest type that holds all values; None is missing.

    int64, float64 (also for whole numbers of which some are missing), bool or text; `object`
    only where a column mixes numbers, text and truth.
    """
    kinds = {type(value) for value in values if value is not None}
    has_all = None not in values
    if kinds == {bool}:
        return np.array(values, bool) if has_all else pandas.array(values, dtype="boolean")
    if kinds == {int} and has_all:
        return np.array(values, np.int64)
    if kinds and kinds <= {int, float}:
        return np.array([np.nan if value is None else value for value in values], float)
    if kinds <= {str}:
        return text(values)
    return np.array(values, object)


def _metric(trials: Sequence[TrialRecord], name: str) -> Any:
    return np.array([trial.metrics.get(name, np.nan) for trial in trials], float)


def _names(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))
