"""What the pages of reports say about made-up studies."""

import base64
import dataclasses
import os
from typing import Any

import pytest

from support.reports import (
    SPACE,
    figures_of,
    made_up_details,
    made_up_study,
    replaced,
    text_of,
    with_finalists,
)
from tuner.config.space import Space
from tuner.constraints import Constraints
from tuner.reports import charts, comparison_page, gather, overview, page, rungs, study_page
from tuner.reports.comparison_page import Compared
from tuner.reports.coordinates import parallel_coordinates
from tuner.reports.importance import Importance, find_importance
from tuner.reports.records import Confusion, OnDrawings, StudyRecord
from tuner.tracking.facts import TrialRecord
from tuner.tracking.standing import Standing

NASTY = "<script>alert(1)</script> & 'quotes\""
"""A name that no page may take for markup."""


def test_page_says_what_was_searched_and_what_came_of_it() -> None:
    study = made_up_study(40)
    decision = {
        "promoted": False,
        "reason": "It does not beat the champion.",
        "version": "3",
        "name": "digits-classifier",
        "alias": "champion",
    }
    details = dataclasses.replace(
        made_up_details(study),
        decision=decision,
        standing=Standing("digits-classifier", "3", ("challenger",)),
        overrides=["seed=1", "overwrite=true"],
    )
    said = text_of(study_page.study_page(study, details, OnDrawings(9, 10)))
    rows = searched_of(study)
    assert rows["learning_rate"][1] == "0.0001 to 0.1, log"
    assert rows["units_1"] == (str(study.best.values["units_1"]), "8, 16, 32")
    assert "batch_size" not in rows
    assert "not searched batch_size=32" in said
    assert "challenger digits-classifier version 3" in said
    assert "It does not beat the champion." in said
    assert "Accuracy on drawings 0.9000 0.5958 to 0.9821 (95 %, 10 files)" in said
    assert "statistically indistinguishable from it" in said
    assert "python -m tuner.search seed=1 study=made-up\n# keras 3.15.1" in said
    assert "workers training 1:20 min 40.0%" in said


def test_page_is_headed_by_what_finalists_scored_with_new_seeds() -> None:
    study = with_finalists(made_up_study(40))
    first, second, third = study.ranked[:3]
    assert (study.best, study.model.trial_id) == (second, f"{second.trial_id}-seed1")
    said = text_of(study_page.study_page(study, made_up_details(study), None))
    # Variances 2e-4 (1 degree) and 4e-4 (2 degrees) make 3.333e-4; t 3.1824 / sqrt(3).
    mean = "val_accuracy 0.9500, the mean of 3 new seeds (95 % interval 0.9165 to 0.9835)"
    assert f"Trial {second.trial_id} has won: {mean}. It beats the second of 3 fin" in said
    assert f"trial {first.trial_id} (mean 0.9300), with 2 of 2 seeds." in said
    searched = f"{study.score(second):.4f}"
    assert f"Trial {second.trial_id}: {mean}; {searched} in the search." in said
    card = f"val_accuracy 0.9500 best: trial {second.trial_id}, mean of 3 new seeds, 0.9165 to"
    assert card in said
    assert "Test accuracy 0.9400" in said
    row = f"{second.trial_id} 0.9500 0.9165 to 0.9835 0.9500 0.9300 0.9700 {searched} winner"
    assert row in said
    assert "left after 2 seeds" in said
    assert f"{third.trial_id}      {study.score(third):.4f} failed" in said
    assert "best in the search" in said
    compared = Compared(study, None, None)
    assert "0.9500" in text_of(comparison_page.comparison_page([compared], "Studies"))


def test_page_without_finalists_has_no_word_of_them() -> None:
    study = made_up_study(40)
    assert (study.best, study.model) == (study.ranked[0], study.ranked[0])
    said = text_of(study_page.study_page(study, made_up_details(study), None))
    assert "finalist" not in said
    assert "seed1" not in said


@pytest.mark.parametrize(
    ("stopped", "title", "said_of_best", "reason"),
    [
        (
            "early",
            "What stopped early",
            "Stopped early",
            "val_loss has not improved",
        ),
        ("pruned", "What was pruned", "Pruned", "its best val_accuracy, 0.5, is worse"),
    ],
)
def test_page_says_which_trials_ended_early(
    stopped: str, title: str, said_of_best: str, reason: str
) -> None:
    study = made_up_study(20)
    plain = text_of(study_page.study_page(study, made_up_details(study), None))
    assert "What stopped early" not in plain
    assert "What was pruned" not in plain
    trials = [
        dataclasses.replace(
            trial,
            values={**trial.values, "epochs": 20},
            metrics={**trial.metrics, "epochs_trained": 5.0, "epochs_reused": 2.0},
            stopped=stopped if trial.trial_id in (study.best.trial_id, "0003") else None,
            stopped_because=reason,
            best_epoch=4,
        )
        for trial in study.trials
    ]
    told = {"training.early_stopping": {"patience": 3, "monitor": "val_loss", "mode": None}}
    changed = dataclasses.replace(
        study,
        trials=trials,
        params={**study.params, "training.engine": "auto", "training.callbacks": None, **told},
    )
    said = text_of(study_page.study_page(changed, made_up_details(changed), None))
    assert title in said
    assert f"{said_of_best} after epoch 7 of 20: {reason}." in said
    assert "Its model has the weights of epoch 4." in said
    assert "2 of 20 finished trials ended before their last epoch, which spared 26" in said
    assert f"0003 7 of 20 {reason}" in said
    assert "training.early_stopping patience=3 monitor=val_loss" in said
    assert "training.callbacks" not in said


def test_page_shows_how_trials_climbed() -> None:
    study = made_up_study(20)
    assert "How trials climbed" not in text_of(
        study_page.study_page(study, made_up_details(study), None)
    )
    trials = [
        dataclasses.replace(
            trial,
            values={**trial.values, "epochs": 9},
            metrics={**trial.metrics, "epochs_trained": float(epochs), "epochs_reused": 0.0},
            stopped="rung" if epochs < 9 else None,
            stopped_because="number 7 of 20 there" if epochs < 9 else "",
        )
        for trial, epochs in zip(study.trials, [9, 9, *[3] * 6, *[1] * 12], strict=True)
    ]
    changed = dataclasses.replace(study, trials=trials)
    details = made_up_details(changed)
    said = text_of(study_page.study_page(changed, details, None))
    assert "20 trials trained 48 epochs, 27% of what all would have trained" in said
    assert "1 epoch 20 8 3 epochs 8 2 9 epochs 2" in said
    drawn = rungs.chart(changed, details, [1, 3, 9])["data"]
    assert [trace["name"] for trace in drawn] == ["paused", "reached the last rung", "the best"]
    assert {x for trace in drawn for x in trace["x"]} <= {1, 3, 9, None}


def searched_of(study: StudyRecord) -> dict[str, tuple[str, ...]]:
    section = overview.best_trial(study, None, made_up_details(study))
    return {str(row[0]): tuple(map(str, row[1:])) for row in section.tables[0].rows}


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("sqlite:////home/me/mlflow.db", "http://127.0.0.1:5000/#/experiments/7/runs/"),
        ("https://me:secret@mlflow.corp/a/", "https://mlflow.corp/a/#/experiments/7/runs/"),
    ],
)
def test_trial_numbers_lead_to_their_runs(uri: str, address: str) -> None:
    study = dataclasses.replace(made_up_study(3), pages=gather.pages_of(uri, "7"))
    table = overview.best_trials(study, None).tables[0]
    assert table.rows[0][0] == page.Link(study.best.trial_id, address + study.best.run_id)
    text = page.render(page.Page("A", "b", sections=[page.Section("c", tables=[table])]))
    assert f'<a href="{address}{study.best.run_id}"' in text


@pytest.mark.parametrize(
    "options",
    [[8, 16], list(range(32, 512, 32)), [0.1, 0.25], [100_000 + i for i in range(12)]],
)
def test_labels_of_a_slice_have_room(options: list[float]) -> None:
    study = made_up_study(30)
    trials = [
        dataclasses.replace(trial, values={**trial.values, "width": options[i % len(options)]})
        for i, trial in enumerate(study.trials)
    ]
    drawn = charts.slice_of(dataclasses.replace(study, trials=trials), "width", None)
    ticks = drawn["layout"]["xaxis"].get("tickvals", [])
    assert sum(len(str(tick)) + 2 for tick in ticks) <= charts.MAX_TICK_LETTERS + 8
    assert not ticks or ticks[-1] == max(options)


def test_page_without_a_decision_says_not_registered() -> None:
    study = made_up_study(2)
    made = study_page.study_page(study, made_up_details(study), None)
    assert "Registry not registered" in text_of(made)


def test_page_of_a_running_study_says_so() -> None:
    study = dataclasses.replace(made_up_study(2), status="RUNNING", metrics={})
    made = study_page.study_page(study, made_up_details(study), None)
    assert "still running" in made.lead


def test_names_of_users_are_text_and_nothing_else() -> None:
    study = dataclasses.replace(made_up_study(25), name=NASTY)
    trials = [
        dataclasses.replace(trial, values={NASTY: i % 5, "x": NASTY + str(i % 2)})
        for i, trial in enumerate(study.trials)
    ]
    failed = TrialRecord("0099", "r", "FAILED", {}, {}, 2e9, NASTY, "error")
    study = replaced(dataclasses.replace(study, trials=trials), failed)
    confusion = Confusion([NASTY, "b"], [[5, 1], [0, 5]])
    details = dataclasses.replace(made_up_details(study), confusion=confusion)
    text = page.render(study_page.study_page(study, details, None))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_page_of_five_thousand_trials_is_under_ten_megabytes() -> None:
    study = made_up_study(5000)
    details = made_up_details(study)
    assert len(details.curves) == 200
    picture = b"\x89PNG" + os.urandom(300_000)
    text = page.render(
        study_page.study_page(study, dataclasses.replace(details, mistakes=picture), None)
    )
    assert len(text.encode()) < 10_000_000
    assert base64.b64encode(picture).decode() in text
    assert "not shown: 4,800." in text


def test_comparison_ranks_by_accuracy_and_lists_those_without_a_trial() -> None:
    good, bad = made_up_study(9, "good"), made_up_study(1, "bad", seed=3)
    none = dataclasses.replace(made_up_study(0), name="empty", status="RUNNING")
    compared = [
        Compared(none, None, None),
        Compared(bad, Standing("m", "1", ("previous",)), None),
        Compared(good, Standing("m", "2", ("champion",)), OnDrawings(30, 40)),
    ]
    table = comparison_page.models(compared)
    rows = [[str(cell) for cell in row] for row in table.rows]
    assert [row[0].split()[1] for row in rows] == ["good", "bad"]
    assert rows[0][0].startswith("mlp, good ")
    assert rows[0][2].startswith("0.7500 (")
    assert rows[1][2] == ""
    without = comparison_page.models(compared[:2])
    assert list(without.head) == ["model", "test accuracy"]
    said = text_of(comparison_page.comparison_page(compared, "experiment digits"))
    assert "no finished trial" in said
    assert "m version 1, previous" in said
    assert "m version 2, champion" in said


@pytest.mark.parametrize(
    ("options", "ticks"),
    [
        (["(1, 3)", "(3, 3)"], ["(1, 3)", "(3, 3)"]),
        (["[1, 3]", "None"], ["None", "[1, 3]"]),
        ([None, "max", 2, True], ["2", "True", "max", "null"]),
        ([None, "null"], ['"null"', "null"]),
        ([1, True], ["1", "True"]),
        (["1", 1, 1.5], ["1", "1.5", '"1"']),
        (["", "<b>"], ["", "&lt;b&gt;"]),
    ],
)
def test_report_shows_values_of_any_type(options: list[Any], ticks: list[str]) -> None:
    study = made_up_study(40)
    trials = [
        dataclasses.replace(trial, values={**trial.values, "pool": options[i % len(options)]})
        for i, trial in enumerate(study.trials)
    ]
    parsed = Space.parse({**SPACE, "pool": options}, "")
    study = dataclasses.replace(study, trials=trials, space=parsed)
    assert "pool" in study.varied
    figure = parallel_coordinates(study, ["pool"])
    shown = sorted(figure["data"][0]["dimensions"][0]["ticktext"])
    assert shown == sorted(ticks)
    drawn = charts.slice_of(study, "pool", None)
    assert drawn["layout"]["xaxis"]["type"] == "category"
    assert len({x for trace in drawn["data"] for x in trace["x"]}) == len(options)
    assert isinstance(find_importance(study), Importance)
    assert page.render(study_page.study_page(study, made_up_details(study), None))


SMALL = Constraints.parse({"num_parameters": {"max": 1000}})


def test_trials_that_break_a_constraint_are_marked_and_none_of_them_is_the_best() -> None:
    """Models with one layer have 1,000 parameters, those with two 2,000."""
    study = dataclasses.replace(made_up_study(30), constraints=SMALL)
    large = TrialRecord(
        "9999", "r", "FAILED", {}, {"num_parameters": 9e9}, 2e9, "too large", "constraint"
    )
    study = replaced(study, large)
    small = [trial for trial in study.finished if trial.values["layers"] == 1]
    assert study.best in small
    made = study_page.study_page(study, made_up_details(study), None)
    said = text_of(made)
    assert f"Meet the constraints {len(small)} of 31 num_parameters.max=1000" in said
    assert "finished; 1 not trained" in said
    assert "constraints num_parameters.max=1000" in said
    assert "What failed" not in said
    traces = {trace["name"]: trace for trace in figures_of(made)["history"]["data"]}
    assert len(traces["breaks a constraint"]["x"]) == 30 - len(small)
    # The best so far is not one of these.
    best = max(study.score(trial) for trial in small)
    assert traces["best so far"]["y"][-1] == pytest.approx(best, rel=1e-5)
    rows = overview.best_trials(study, None).tables[0].rows
    assert [row[-4] for row in rows if "2,000" in row] == []


def test_report_of_a_study_in_which_no_trial_meets_the_constraints_says_so() -> None:
    limits = Constraints.parse({"num_parameters": {"max": 500}})
    study = dataclasses.replace(made_up_study(12), constraints=limits)
    assert study.best.values["layers"] == 1
    made = study_page.study_page(study, made_up_details(study), None)
    said = text_of(made)
    assert f"The nearest to the constraints: {study.best.trial_id}" in said
    assert (
        "No trial meets the constraints. This one comes nearest: num_parameters 1,000" in said
    )
    assert "num_parameters 2,000 is above num_parameters.max=500" in said
    assert overview.best_trials(study, None).tables[0].marked == []
    assert overview.find_ties(study) is None
