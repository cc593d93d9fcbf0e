"""Which values matter, and when the report does not say so."""

import dataclasses

import numpy as np
import pytest

from support.reports import made_up_study
from tuner.reports.importance import MIN_TRIALS, Importance, find_importance


def test_importance_finds_what_matters() -> None:
    found = find_importance(made_up_study(60))
    assert isinstance(found, Importance)
    assert found.names[0] == "learning_rate"
    assert found.shares[0] > 0.8
    assert sum(found.shares) == pytest.approx(1)
    assert found.explained > 0.7


def test_importance_is_refused_for_few_trials() -> None:
    said = find_importance(made_up_study(MIN_TRIALS - 1))
    assert said == "This needs at least 20 finished trials; finished so far: 19."


def test_importance_of_what_chance_made_is_refused() -> None:
    study = made_up_study(30)
    scores = np.random.default_rng(1).uniform(size=30)
    trials = [
        dataclasses.replace(trial, metrics={"val_accuracy": float(score)})
        for trial, score in zip(study.trials, scores, strict=True)
    ]
    said = find_importance(dataclasses.replace(study, trials=trials))
    assert isinstance(said, str)
    assert said.startswith("The differences between the trials cannot be explained")


@pytest.mark.parametrize("what", ["values", "metrics"])
def test_importance_without_differences_is_refused(what: str) -> None:
    study = made_up_study(30)
    same = {what: getattr(study.trials[0], what)}
    trials = [dataclasses.replace(trial, **same) for trial in study.trials]
    assert isinstance(find_importance(dataclasses.replace(study, trials=trials)), str)
