"""Made-up studies to report, and what their pages show."""

import dataclasses
import math
from typing import Any

import numpy as np

from tuner import names
from tuner.config.space import Space
from tuner.evaluation.racing import Race
from tuner.reports import gather, page
from tuner.reports.records import Confusion, Details, StudyRecord
from tuner.tracking.facts import DataFacts, TrialRecord
from tuner.trial import Objective

SPACE = {
    "epochs": {"min": 1, "max": 10},
    "batch_size": 32,
    "layers": {"min": 1, "max": 2},
    "units": [8, 16, 32],
    "learning_rate": {"min": 1e-4, "max": 1e-1, "log": True},
    "optimizer": ["adam", "sgd"],
    "batch_norm": [True, False],
}

PROFILE = {
    "image_shape": [8, 8],
    "num_classes": 10,
    "num_train": 8_000,
    "num_validation": 5_000,
    "num_test": 10_000,
}

PARAMS = {
    "search.objective": "val_accuracy",
    "search.oracle": "grid",
    "seed": 0,
    "model._target_": "tuner.models.mlp.build",
    **{f"space.{name}": dimension for name, dimension in SPACE.items()},
}
"""What the run of a study with this space has recorded."""


def made_up_study(num_trials: int, name: str = "made-up", seed: int = 0) -> StudyRecord:
    """Return a study whose score depends on the learning rate and on nothing else."""
    drawn = np.random.default_rng(seed)
    trials = []
    for i in range(num_trials):
        layers = int(drawn.integers(1, 3))
        rate = float(10 ** drawn.uniform(-4, -1))
        values: dict[str, Any] = {
            "epochs": int(drawn.integers(1, 11)),
            "batch_size": 32,
            "layers": layers,
            **{f"units_{k}": int(drawn.choice([8, 16, 32])) for k in range(1, layers + 1)},
            "learning_rate": rate,
            "optimizer": str(drawn.choice(["adam", "sgd"])),
            "batch_norm": bool(drawn.integers(2)),
        }
        score = 0.95 - 0.1 * abs(math.log10(rate) + 2.5) + float(drawn.normal(0, 0.004))
        right = round(score * 10_000)
        metrics = {
            "val_accuracy": score,
            "test_accuracy": right / 10_000,
            "test_right": float(right),
            "test_wrong": float(10_000 - right),
            "num_parameters": 1000.0 * layers,
            "train_seconds": 2.0,
            "compile_seconds": 1.0,
            "evaluate_seconds": 0.5,
            "trial_seconds": 4.0 + float(drawn.exponential()),
        }
        trials.append(TrialRecord(f"{i:04d}", f"run-{i}", "FINISHED", values, metrics, 1e9 + i))
    return StudyRecord(
        name=name,
        run_id="run",
        experiment="digits",
        status="FINISHED",
        began=1e9,
        objective=Objective("val_accuracy", "max"),
        params={
            "model._target_": "tuner.models.mlp.build",
            "search.oracle": "random",
            "search.max_trials": str(num_trials),
            "seed": "0",
        },
        space=Space.parse(SPACE, ""),
        metrics={"seconds": 100.0, "worker_seconds": 200.0, "recording_seconds": 9.0},
        versions={"keras": "3.15.1"},
        data=DataFacts("digits", "d1", PROFILE),
        trials=trials,
    )


def with_finalists(study: StudyRecord) -> StudyRecord:
    """Return a study whose second-best trial has won against two others; one of them failed."""
    first, second, third = study.ranked[:3]
    scores: dict[str, tuple[float, ...]]
    scores = {first.trial_id: (0.94, 0.92), second.trial_id: (0.95, 0.93, 0.97)}
    scores[third.trial_id] = ()
    finalists = [
        dataclasses.replace(
            trial,
            trial_id=names.finalist_name(trial.trial_id, number),
            run_id=f"run-of-{trial.trial_id}-{number}",
            kind=names.KIND_FINALIST,
            metrics={**trial.metrics, "val_accuracy": score, "test_accuracy": score - 0.01},
            finalist_of=trial.trial_id,
            seed=number,
        )
        for trial in (first, second)
        for number, score in enumerate(scores[trial.trial_id], 1)
    ]
    race = Race(study.objective, (1, 2, 3), scores)
    return dataclasses.replace(study, race=race, finalists=finalists)


def made_up_details(study: StudyRecord, num_epochs: int = 10) -> Details:
    curves = {
        trial.trial_id: [
            study.score(trial) * (1 - 0.5 ** (epoch + 1)) for epoch in range(num_epochs)
        ]
        for trial in gather.trials_with_curves(study)
    }
    counts = (np.eye(10, dtype=int) * 950 + 5).tolist()
    return Details(curves, (), Confusion([str(i) for i in range(10)], counts))


def replaced(study: StudyRecord, *trials: TrialRecord, **changes: Any) -> StudyRecord:
    return dataclasses.replace(study, trials=[*study.trials, *trials], **changes)


def figures_of(made: page.Page) -> dict[str, Any]:
    return {chart.name: chart.figure for section in made.sections for chart in section.charts}


def text_of(made: page.Page) -> str:
    return " ".join(
        [section.title + " ".join(section.text) + section.code for section in made.sections]
        + [" ".join(map(_text, r)) for s in made.sections for t in s.tables for r in t.rows]
        + [f"{card.label} {card.value} {card.note}" for card in made.cards]
    )


def _text(cell: str | page.Link) -> str:
    return cell if isinstance(cell, str) else cell.text
