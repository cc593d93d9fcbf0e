"""What a study's end says of more trials, and when it says nothing."""

import dataclasses
from typing import Any

import pytest

from support.reports import made_up_details, made_up_study, replaced, text_of
from tuner.config.space import Space
from tuner.reports import outlook, study_page
from tuner.reports.records import StudyRecord
from tuner.tracking.facts import TrialRecord
from tuner.trial import Objective

FINITE = {"epochs": 2, "batch_size": 32, "width": [1, 2, 3, 4, 5, 6, 7, 8]}


def scored(
    scores: list[float], space: dict[str, Any] | None = None, **changes: Any
) -> StudyRecord:
    """Return a study of trials with these scores, one for each width from 1 on.

    Args:
        scores: The scores, in the order in which the trials ended.
        space: Its space; a continuous one if None.
        changes: What else differs from the study of `made_up_study`: params, objective, ….
    """
    study = made_up_study(0)
    objective = changes.pop("objective", study.objective)
    params = {
        **study.params,
        "search.max_trials": str(len(scores)),
        **changes.pop("params", {}),
    }
    trials = [
        TrialRecord(
            f"{i:04d}", f"run-{i}", "FINISHED",
            {"epochs": 2, "batch_size": 32, "width": 1 + i}, {objective.name: score}, 1e9 + i,
        )
        for i, score in enumerate(scores)
    ]  # fmt: skip
    space = space or {**FINITE, "width": {"min": 1.0, "max": 9.0}}
    return dataclasses.replace(
        study, trials=trials, params=params, objective=objective,
        space=Space.parse(space, ""), **changes,
    )  # fmt: skip


SCORES = [0.90, 0.93, 0.91, 0.95, 0.94, 0.92]
LOSSES = [0.30, 0.25, 0.28, 0.21, 0.24, 0.26]


def test_outlook_says_what_more_trials_would_bring_and_cost() -> None:
    found = outlook.find(made_up_study(20))
    assert found is not None
    assert (found.num_trials, found.seconds) == (20, 100.0)
    # Any gain at all would have a chance of 1/2.
    assert 0.3 < found.chance < 0.5
    assert str(found) == (
        f"20 more trials, about 2 min: {found.chance:.0%} chance to raise val_accuracy by more "
        f"than 0.1 points.".replace("%", " %")
    )


def test_outlook_of_a_loss_is_in_per_cent() -> None:
    found = outlook.find(scored(LOSSES, objective=Objective("val_loss", "min")))
    assert found is not None
    assert str(found).endswith(" % chance to lower val_loss by more than 1 %.")
    mirrored = [1 - loss for loss in LOSSES]
    raised = outlook.find(scored(mirrored, objective=Objective("val_r2", "max")))
    assert raised is not None
    # 1 % of the best loss is 0.0021, and 0.1 points are 0.001.
    assert raised.chance > found.chance


def test_oracle_that_learns_is_judged_by_its_later_trials() -> None:
    rising = [0.80, 0.82, 0.84, 0.86, 0.88, 0.90, 0.92, 0.94]
    by_oracle = {
        oracle: outlook.find(scored(rising, params={"search.oracle": oracle}))
        for oracle in ("random", "qmc", "tpe", "bayesian", "my_oracle.LocalConfig")
    }
    chances = {name: found.chance for name, found in by_oracle.items() if found is not None}
    assert chances["random"] == chances["qmc"] < chances["tpe"]
    assert chances["tpe"] == chances["bayesian"] == chances["my_oracle.LocalConfig"]


@pytest.mark.parametrize(
    "study",
    [
        scored(SCORES[:4]),
        scored(SCORES, status="RUNNING"),
        scored(SCORES, metrics={}),
        # Nothing is left to try.
        scored([*SCORES, 0.5, 0.6], space=FINITE),
        scored([*SCORES, 0.5, 0.6], space=FINITE, params={"search.oracle": "grid"}),
        # It ended before its budget: its oracle found no more.
        scored(SCORES, space=FINITE, params={"search.max_trials": "20"}),
        scored(SCORES, params={"search.oracle": "grid"}),
        scored(SCORES, params={"search.oracle": "hyperband"}),
        # Nothing can be better by 0.1 points.
        scored([*SCORES, 1.0]),
        scored([*SCORES, 0.9995]),
    ],
    ids=[
        "few", "runs", "no time", "all tried", "whole grid", "no more", "grid of a range",
        "hyperband", "perfect", "nearly perfect",
    ],
)  # fmt: skip
def test_nothing_is_said_where_nothing_is_known_or_to_come(study: StudyRecord) -> None:
    assert outlook.find(study) is None


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"search.oracle": "grid"},
        {"search.max_trials": "20", "search.patience": "3"},
        {"search.max_trials": None, "search.oracle": "grid", "search.max_minutes": "1"},
    ],
)
def test_no_more_trials_are_promised_than_the_space_has(params: dict[str, Any]) -> None:
    found = outlook.find(scored(SCORES, space=FINITE, params=params))
    assert found is not None
    assert found.num_trials == 2


def test_failed_trials_cost_time_and_running_ones_do_not_count() -> None:
    study = scored(SCORES)
    failed = dataclasses.replace(study.trials[0], trial_id="0006", status="FAILED")
    running = dataclasses.replace(study.trials[0], trial_id="0007", status="RUNNING")
    found = outlook.find(replaced(study, failed, running))
    assert found is not None
    assert found.seconds == pytest.approx(100 / 7 * found.num_trials)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(5, 5), (7, 5), (8, 10), (10, 10), (14, 10), (15, 20), (23, 20), (95, 100), (180, 200)],
)
def test_friendly_rounds_as_a_person_would(number: int, expected: int) -> None:
    assert outlook.friendly(number) == expected


@pytest.mark.parametrize(
    ("chance", "expected"),
    [(0.0, "less than 1 %"), (0.0149, "1 %"), (0.5, "50 %"), (0.995, "more than 99 %")],
)
def test_chance_has_no_more_digits_than_it_deserves(chance: float, expected: str) -> None:
    said = outlook.Outlook(Objective("val_accuracy", "max"), 1, 7.6, chance, "0.1 points")
    assert str(said).startswith(f"1 more trial, about 8 s: {expected} chance to raise ")


def test_report_says_it_after_the_edges() -> None:
    study = made_up_study(20)
    said = text_of(study_page.study_page(study, made_up_details(study), None))
    assert str(outlook.find(study)) in said
