"""The report: gathered from real MLflow, drawn, and looked at in a real browser."""

import base64
import dataclasses
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from conftest import FinishedStudy, MakeResult, MakeRun, command
from PIL import Image

from tuner import reports
from tuner.config.space import Space
from tuner.datasets import ImageData
from tuner.driver import study_folder
from tuner.driver.conclusion import make_report
from tuner.errors import ConfigError, StudyError
from tuner.evaluation.ties import Ties, accuracy_on_test, find_ties
from tuner.images import image_files
from tuner.reports import (
    charts,
    comparison_page,
    gather,
    on_drawings,
    overview,
    page,
    study_page,
    summaries,
)
from tuner.reports.comparison_page import Compared
from tuner.reports.coordinates import MAX_AXES, parallel_coordinates
from tuner.reports.failures import reasons
from tuner.reports.importance import MIN_TRIALS, Importance, find_importance
from tuner.reports.records import Confusion, Details, OnDrawings, StudyRecord
from tuner.runtime import files
from tuner.study import records
from tuner.tracking.history import DataFacts, TrialRecord
from tuner.tracking.runs import DataRecord, Tracker
from tuner.tracking.standing import Standing
from tuner.trial import Objective, TrialFailure

SPACE = {
    "epochs": {"min": 1, "max": 10},
    "batch_size": 32,
    "layers": {"min": 1, "max": 2},
    "units": [8, 16, 32],
    "learning_rate": {"min": 1e-4, "max": 1e-1, "log": True},
    "optimizer": ["adam", "sgd"],
    "batch_norm": [True, False],
}
NASTY = "<script>alert(1)</script> & 'quotes\""


PROFILE = {
    "image_shape": [8, 8],
    "num_classes": 10,
    "num_train": 8_000,
    "num_validation": 5_000,
    "num_test": 10_000,
}


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
        + [" ".join(row) for s in made.sections for table in s.tables for row in table.rows]
        + [f"{card.label} {card.value} {card.note}" for card in made.cards]
    )


# Ties

ACCURACY = Objective("val_accuracy", "max")


def metrics(right: int, wrong: int) -> dict[str, float]:
    return {"test_right": right, "test_wrong": wrong, "test_accuracy": right / (right + wrong)}


def test_best_is_the_earlier_of_two_that_tie_however_many_trials_there_are() -> None:
    study = made_up_study(2)
    tied = [
        dataclasses.replace(study.trials[0], trial_id=trial_id)
        for trial_id in ("10000", "9999")
    ]
    assert dataclasses.replace(study, trials=tied).best.trial_id == "9999"


def test_ties_are_the_trials_within_the_interval_of_the_best() -> None:
    # Wilson's interval of 950 of 1,000 is 0.9347 to 0.9619.
    scores = {"0000": 0.940, "0001": 0.934, "0002": 0.950, "0003": 0.935}
    trials = {name: {"val_accuracy": score} for name, score in scores.items()}
    found = find_ties("0002", trials, ACCURACY, 1000)
    assert found is not None
    assert [round(limit, 4) for limit in found.interval] == [0.9347, 0.9619]
    assert (found.trial_ids, found.num_others) == (("0000", "0003"), 3)


def test_ties_take_no_note_of_test_images() -> None:
    trials = {
        "0000": {"val_accuracy": 0.95, **metrics(90, 10)},
        "0001": {"val_accuracy": 0.50, **metrics(99, 1)},
    }
    found = find_ties("0000", trials, ACCURACY, 1000)
    assert found is not None
    assert found.trial_ids == ()


@pytest.mark.parametrize(
    ("tied", "num_others", "expected"),
    [
        ((), 1, "The other trial is worse than it on the 1,000 validation images"),
        (("0",), 1, "The other trial is statistically indistinguishable from it"),
        ((), 3, "The 3 other trials are significantly worse"),
        (("0",), 3, "1 of the 3 other trials is statistically indistinguishable"),
        (("0", "1"), 3, "2 of the 3 other trials are statistically indistinguishable"),
        (("0", "1"), 2, "All 2 other trials are statistically indistinguishable"),
    ],
)
def test_ties_are_said_in_a_sentence(
    tied: tuple[str, ...], num_others: int, expected: str
) -> None:
    assert str(Ties((0.9, 0.95), 1000, tied, num_others)).startswith(expected)


@pytest.mark.parametrize(
    ("objective", "num_validation", "num_trials"),
    [
        (Objective("val_loss", "min"), 1000, 2),
        (Objective("val_top2", "max"), 1000, 2),
        (ACCURACY, None, 2),
        (ACCURACY, 1000, 1),
    ],
)
def test_ties_are_unknown_without_an_interval_of_what_ranks(
    objective: Objective, num_validation: int | None, num_trials: int
) -> None:
    trials = {f"000{i}": {"val_accuracy": 0.5, objective.name: 0.5} for i in range(num_trials)}
    assert find_ties("0000", trials, objective, num_validation) is None


def test_accuracy_on_test_has_the_interval_of_the_test_images() -> None:
    found = accuracy_on_test(metrics(950, 50))
    assert found is not None
    assert str(found) == "test accuracy 0.9500 (95 % interval 0.9347 to 0.9619, 1,000 images)"
    assert accuracy_on_test({"test_accuracy": 0.5}) is None


# Importance


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


# Charts


@pytest.mark.parametrize("num_trials", [1, 2, 5, 60, 1200])
def test_every_figure_is_one_that_plotly_knows(num_trials: int) -> None:
    import plotly.graph_objects as go

    study = made_up_study(num_trials)
    failed = TrialRecord("9999", "r", "FAILED", {}, {}, 2e9, "ValueError: no", "error")
    made = study_page.study_page(replaced(study, failed), made_up_details(study), None)
    figures = figures_of(made)
    assert {"history", "curves", "durations", "failures", "confusion", "time"} <= set(figures)
    assert ("coordinates" in figures) == (num_trials > 1)
    assert ("importance" in figures) == (num_trials >= MIN_TRIALS)
    for name, figure in figures.items():
        # Raises for every property that is not Plotly's.
        assert go.Figure(figure).data, name


def test_pareto_front_is_what_no_other_beats() -> None:
    places = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.4), (4.0, 0.9), (1.0, 0.6), (5.0, 0.95)]
    assert charts.pareto_front(places) == [(1.0, 0.6), (3.0, 0.9), (5.0, 0.95)]


def test_history_draws_the_best_so_far_of_what_is_minimised() -> None:
    study = made_up_study(3)
    trials = [
        dataclasses.replace(trial, metrics={"val_loss": loss})
        for trial, loss in zip(study.trials, (0.5, 0.7, 0.3), strict=True)
    ]
    study = dataclasses.replace(study, trials=trials, objective=Objective("val_loss", "min"))
    assert study.best.trial_id == "0002"
    line = charts.history(study, None)["data"][-1]
    assert line["y"] == [0.5, 0.5, 0.3]


def test_long_learning_curves_are_thinned_and_it_is_said() -> None:
    study = made_up_study(4)
    details = made_up_details(study, num_epochs=1000)
    for trace in charts.learning_curves(study, details)["data"]:
        assert max(len(trace["x"]), 0) <= charts.MAX_CURVE_POINTS + 1
        assert trace["x"][-1] == 1000
    made = study_page.study_page(study, details, None)
    assert "Up to 100 epochs of each curve are drawn." in text_of(made)


def test_axes_have_a_place_for_values_that_a_trial_has_not() -> None:
    study = made_up_study(30)
    [trace] = parallel_coordinates(study, study.varied)["data"]
    axes = {axis["label"]: axis for axis in trace["dimensions"]}
    assert list(axes)[-1] == "val_accuracy"
    second = axes["units_2"]
    assert second["ticktext"][0] == "none"
    missing = [v for v, t in zip(second["values"], study.finished, strict=True) if v < 8]
    assert len(missing) == sum("units_2" not in t.values for t in study.finished)
    assert axes["optimizer"]["ticktext"] == ["adam", "sgd"]
    assert axes["learning_rate"]["range"][1] < 0


def test_lines_that_would_hide_each_other_are_spread() -> None:
    for num_trials, is_spread in ((60, False), (300, True)):
        study = made_up_study(num_trials)
        [trace] = parallel_coordinates(study, ["epochs", "learning_rate"])["data"]
        epochs, rates, _ = trace["dimensions"]
        assert (len(set(epochs["values"])) > 10) == is_spread
        # No further than halfway to the next value.
        assert {round(place) for place in epochs["values"]} == set(range(1, 11))
        assert rates["values"][0] == pytest.approx(
            math.log10(study.finished[0].values["learning_rate"]), abs=1e-5
        )


def test_coordinates_have_no_more_axes_than_can_be_read() -> None:
    study = made_up_study(3)
    many = [f"x{i}" for i in range(30)]
    trials = [
        dataclasses.replace(trial, values={name: i for name in many})
        for i, trial in enumerate(study.trials)
    ]
    study = dataclasses.replace(study, trials=trials)
    made = study_page.study_page(study, Details(), None)
    assert len(figures_of(made)["coordinates"]["data"][0]["dimensions"]) == MAX_AXES
    assert "Not shown: x13, x14" in text_of(made)
    assert "Not shown: x12, x13" in text_of(made)


@pytest.mark.parametrize("num_classes", [2, 30, 150])
def test_confusion_matrix_draws_hits_and_faults_apart(num_classes: int) -> None:
    counts = (np.eye(num_classes, dtype=int) * 9 + 1).tolist()
    names = [f"class {i}" for i in range(num_classes)]
    hits, faults = summaries.confusion_matrix(Confusion(names, counts))["data"]
    assert hits["z"][0][0] == pytest.approx(10 / (num_classes + 9), abs=1e-3)
    assert hits["z"][0][1] is None
    assert faults["z"][0][0] is None
    assert ("texttemplate" in hits) == (num_classes <= summaries.MAX_CELLS_WITH_TEXT)


def test_perfect_confusion_matrix_is_drawn() -> None:
    assert summaries.confusion_matrix(Confusion(["a", "b"], [[5, 0], [0, 5]]))["data"]


def test_failures_that_differ_in_numbers_only_have_one_reason() -> None:
    def failed(trial_id: str, error: str, status: str = "FAILED") -> TrialRecord:
        return TrialRecord(trial_id, "r", status, {}, {}, 0.0, error, "infeasible")

    found = reasons(
        [
            failed("0001", "All metrics must be finite, but after epoch 1 they are nan."),
            failed("0002", "OutOfMemory"),
            failed("0003", "All metrics must be finite, but after epoch 12 they are inf."),
            failed("0004", "It runs again.", "RUNNING"),
        ]
    )
    assert [[t.trial_id for t in reason.trials] for reason in found] == [
        ["0001", "0003"],
        ["0002"],
    ]


def test_only_the_most_frequent_reasons_are_listed() -> None:
    failed = [
        TrialRecord(str(i), "r", "FAILED", {}, {}, 2e9, "no " * (i + 1), "error")
        for i in range(study_page.MAX_REASONS + 2)
    ]
    made = study_page.study_page(replaced(made_up_study(1), *failed), Details(), None)
    assert len(figures_of(made)["failures"]["data"][0]["x"]) == study_page.MAX_REASONS
    assert "Trials that failed for other reasons: 2." in text_of(made)


# Pages


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
    assert "Not searched: batch_size=32." in said
    assert "challenger digits-classifier version 3" in said
    assert "It does not beat the champion." in said
    assert "Accuracy on drawings 0.9000 0.5958 to 0.9821 (95 %, 10 files)" in said
    assert "statistically indistinguishable from it" in said
    assert "python -m tuner.search seed=1 study=made-up\n# keras 3.15.1" in said
    assert "workers training 1:20 min 40.0%" in said


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


# From MLflow

PARAMS = {
    "search.objective": "val_accuracy",
    "search.oracle": "grid",
    "seed": 0,
    "model._target_": "tuner.models.mlp.build",
    **{f"space.{name}": dimension for name, dimension in SPACE.items()},
}


@pytest.fixture
def tracker(client: mlflow.MlflowClient) -> Tracker:
    """A study that is running."""
    made = Tracker(client, "digits", "first", "id-1")
    profile = json.dumps({"num_test": 80, "image_shape": [8, 8]})
    made.open_study(PARAMS, DataRecord("digits", "d1", "{}", profile), [])
    return made


def test_study_is_read_while_it_runs(
    client: mlflow.MlflowClient, tracker: Tracker, make_result: MakeResult
) -> None:
    values = {"epochs": 2, "learning_rate": 0.01, "optimizer": "adam", "batch_norm": True}
    for trial_id in ("0000", "0001", "0002"):
        tracker.open_trial(trial_id, values, {})
    tracker.finish_trial(make_result("0001"))
    tracker.fail_trial(TrialFailure("0000", "ValueError: no", "Traceback", "error"))
    [run] = records.find_studies(client, None)
    study = gather.read_study(client, run)
    assert (study.name, study.status, study.experiment) == ("first", "RUNNING", "digits")
    assert [trial.trial_id for trial in study.finished] == ["0001"]
    [failed] = study.failed
    assert (failed.error, failed.failure) == ("ValueError: no", "error")
    assert study.best.values == values
    assert study.is_log("learning_rate")
    assert not study.is_log("units_1")
    assert study.data is not None
    assert study.data.profile["num_test"] == 80
    assert study.versions["glassy"]
    details = gather.read_details(client, study)
    assert len(details.curves["0001"]) == 2
    assert details.confusion is not None
    assert sum(map(sum, details.confusion.counts)) == 80
    assert details.mistakes is not None
    assert details.decision is None


def test_counts_are_those_of_the_share_that_a_study_takes(
    client: mlflow.MlflowClient, tracker: Tracker
) -> None:
    other = Tracker(client, "digits", "half", "id-2")
    profile = {"num_train": 7, "num_validation": 2, "num_test": 80, "image_shape": [8, 8, 3]}
    record = DataRecord("digits", "d1", "{}", json.dumps({**profile, "num_classes": 10}))
    other.open_study(PARAMS, record, [])
    [run] = records.find_studies(client, None, "half")
    study = gather.read_study(client, run)
    assert study.data is not None
    made = made_up_study(1)
    made = study_page.study_page(dataclasses.replace(made, data=study.data), Details(), None)
    said = "digits: 7 train, 2 validation, 80 test images of 8 x 8 x 3, 10 classes"
    assert said in text_of(made)


def test_decision_of_the_gate_is_read(
    client: mlflow.MlflowClient, tracker: Tracker, make_result: MakeResult
) -> None:
    run_id = tracker.open_trial("0000", {"epochs": 2}, {}).run_id
    tracker.finish_trial(make_result("0000"))
    decision = {"promoted": True, "reason": "There was no champion."}
    client.log_dict(run_id, decision, "promotion/decision.json")
    [run] = records.find_studies(client, "digits", "first")
    study = gather.read_study(client, run)
    assert gather.read_details(client, study).decision == decision

    # What the same values became on more images was judged later.
    again = tracker.open_trial("0000-refit", {"epochs": 2}, {}, "refit").run_id
    decision = {"promoted": False, "reason": "It is not better."}
    client.log_dict(again, decision, "promotion/decision.json")
    assert gather.read_details(client, study).decision == decision


def test_studies_are_found_by_experiment_and_name(
    client: mlflow.MlflowClient, tracker: Tracker
) -> None:
    other = Tracker(client, "letters", "second", "id-2")
    other.open_study({}, DataRecord("letters", "d2", "{}", "{}"), [])
    found = records.find_studies(client, None)
    assert [run.data.tags["tuner.study"] for run in found] == ["second", "first"]
    with pytest.raises(StudyError, match=r"no study 'firts' .* Did you mean first\?"):
        records.find_studies(client, None, "firts")
    with pytest.raises(StudyError, match="no study 'second' in experiment digits"):
        records.find_studies(client, "digits", "second")
    client.create_experiment("empty")
    with pytest.raises(ConfigError, match="empty` holds no study; these do: digits, letters"):
        records.find_studies(client, "empty")


def test_store_without_studies_is_refused(client: mlflow.MlflowClient) -> None:
    with pytest.raises(ConfigError, match="There is no study in this tracking store"):
        records.find_studies(client, None)


def test_study_without_a_finished_trial_writes_nothing(
    client: mlflow.MlflowClient, tracker: Tracker, tmp_path: Path
) -> None:
    tracker.open_trial("0000", {"epochs": 2}, {})
    [run] = records.find_studies(client, None)
    path = tmp_path / "out" / "report.html"
    with pytest.raises(
        StudyError, match=r"no finished trial to report \(0 failed, 1 started\)"
    ):
        reports.report_study(client, run, path)
    with pytest.raises(StudyError, match=r"No study in .* \(studies: 1\)"):
        reports.report_studies(client, [run], "all experiments", path)
    assert not path.parent.exists()


@pytest.mark.slow
def test_drawings_are_measured_where_there_are_a_model_and_classes(
    make_run: MakeRun, client: mlflow.MlflowClient, drawings: Path
) -> None:
    run_id, model_id = make_run()
    chosen = image_files.find(drawings)
    found = on_drawings.measure(chosen, run_id, client.tracking_uri)
    assert found is not None
    # The stray one says no class.
    assert found.num_files == 30
    assert 0 < found.num_right <= 30
    stray = image_files.find(drawings / "unknown.png")
    assert on_drawings.measure(stray, run_id, client.tracking_uri) is None
    client.delete_logged_model(model_id)
    shutil.rmtree("mlruns")
    assert on_drawings.measure(chosen, run_id, client.tracking_uri) is None


def test_search_does_not_fail_for_want_of_a_report(
    client: mlflow.MlflowClient,
    tracker: Tracker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    files.write(tmp_path / "study.json", '{"study_id": "id-1"}')
    uri = "sqlite:///my runs.db"
    assert make_report(tracker, study_folder.StudyFolder(tmp_path), uri) is None
    assert "The report could not be made (Study 'first' has no finished trial" in caplog.text
    again = f"-m tuner.report study={tmp_path.name} 'tracking.uri={uri}'"
    assert again in caplog.text


# As a user runs it


@pytest.mark.slow
def test_search_ends_with_a_report_and_says_who_is_tied(
    finished_study: FinishedStudy,
) -> None:
    report = finished_study.folder / "experiments" / "first" / "report.html"
    assert report.exists()
    lines = finished_study.printed.stdout.splitlines()
    assert "Report: experiments/first/report.html" in lines
    assert any("validation images (95 %)" in line for line in lines)
    assert any("360 images)" in line for line in lines)
    client = mlflow.MlflowClient(finished_study.uri)
    [run] = records.find_studies(client, None)
    assert "report.html" in {file.path for file in client.list_artifacts(run.info.run_id)}
    times = gather.read_study(client, run).metrics
    assert times["worker_seconds"] == pytest.approx(2 * times["seconds"])
    spent = sum(times[f"{what}_seconds"] for what in ("waiting", "recording", "proposing"))
    assert 0 < spent <= times["seconds"]


@pytest.fixture
def drawings(digits: ImageData, tmp_path: Path) -> Path:
    """Three test images of every class, each in its class's folder, and a stray one."""
    folder = tmp_path / "drawings"
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
        for i in np.flatnonzero(digits.test.labels == label)[:3]:
            Image.fromarray(digits.test.images[i]).save(folder / str(label) / f"a{i}.png")
    Image.fromarray(digits.test.images[0]).save(folder / "unknown.png")
    return folder


@pytest.mark.slow
def test_command_compares_studies_on_drawings(
    finished_study: FinishedStudy, drawings: Path, tmp_path: Path
) -> None:
    done = command(
        finished_study.folder,
        "report",
        "tracking.experiment=digits",
        f"drawings={drawings}",
        f"output={tmp_path}/compared.html",
    )
    assert (done.returncode, done.stderr) == (0, "")
    head, row, last = done.stdout.splitlines()
    assert head.split("  ")[0] == "model"
    assert row.startswith("mlp, first 000")
    assert " of 30)" in row
    assert last == f"Report: {tmp_path}/compared.html"
    assert "experiment digits" in (tmp_path / "compared.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_command_writes_beside_the_folder_of_a_study_that_is_not_here(
    finished_study: FinishedStudy, tmp_path: Path
) -> None:
    done = command(tmp_path, "report", "study=first", f"tracking.uri={finished_study.uri}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Report: experiments/first.html\n"
    assert not (tmp_path / "experiments" / "first").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "status", "message"),
    [
        (["study=frist"], 2, "There is no study 'frist' in this tracking store. Did you mean"),
        (["study=../x"], 2, "`study` must be letters, digits"),
        (["tracking.experiment=none"], 2, "holds no study; these do: digits."),
        (["drawings=nowhere"], 2, "`drawings` must be an image file or a folder"),
        (["output=report.pdf"], 2, "`output` must be the name of a .html"),
        (["tracking.uri=sqlite:///other.db"], 2, "There is no tracking store"),
        (["tracking.uri=http://127.0.0.1:9"], 1, "must be an MLflow server that answers"),
    ],
)
def test_command_refuses_with_one_message(
    finished_study: FinishedStudy, overrides: list[str], status: int, message: str
) -> None:
    before = sorted(finished_study.folder.rglob("*.html"))
    done = command(finished_study.folder, "report", *overrides)
    assert done.returncode == status
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(finished_study.folder.rglob("*.html")) == before


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a screen."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium as `chromium`")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


class Seen:
    """A report, open in a browser."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.page = browser.new_page(**context)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.wait_until_drawn(context.get("color_scheme", "light"))

    def wait_until_drawn(self, scheme: str) -> None:
        is_drawn = f"document.documentElement.dataset.drawn === '{scheme}'"
        self.page.wait_for_function(is_drawn, timeout=120_000)

    def turn(self, scheme: str) -> None:
        """Do what a reader's system does at dusk or at dawn."""
        self.page.emulate_media(color_scheme=scheme)
        self.wait_until_drawn(scheme)

    def _note(self, kind: str, text: str) -> None:
        # What a graphics driver in software says of itself is no fault of the page's.
        if "GPU stall due to ReadPixels" not in text:
            self.said.append(f"{kind}: {text}")

    def undrawn(self) -> list[str]:
        """Return the charts that show no traces."""
        return list(
            self.page.evaluate(
                """() => Object.keys(figures).filter((name) => {
                    const box = document.getElementById(name);
                    const shapes = box.querySelectorAll(
                        ".point, .js-line, .hm image, .parcoords .axis");
                    const canvases = box.querySelectorAll(".gl-container canvas");
                    return shapes.length + canvases.length === 0
                        || box.getBoundingClientRect().height < 80;
                })"""
            )
        )

    def colour_of_text(self) -> list[str]:
        """Return the colours of all axes' titles."""
        return list(
            self.page.evaluate(
                """() => [...new Set([...document.querySelectorAll(".xtitle")].map(
                    (title) => getComputedStyle(title).fill))]"""
            )
        )


@pytest.fixture(scope="module")
def large_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 5,000 made-up trials, some of which failed."""
    study = made_up_study(5000)
    failed = [
        TrialRecord(f"9{i}", "r", "FAILED", {}, {}, 2e9, f"ValueError: {i}", "infeasible")
        for i in range(30)
    ]
    path = tmp_path_factory.mktemp("large") / "report.html"
    made = study_page.study_page(replaced(study, *failed), made_up_details(study), None)
    path.write_text(page.render(made), encoding="utf-8")
    return path


@pytest.mark.slow
def test_report_of_a_real_study_is_drawn(finished_study: FinishedStudy, browser: Any) -> None:
    path = finished_study.folder / "experiments" / "first" / "report.html"
    seen = Seen(browser, path, viewport={"width": 1200, "height": 900})
    assert seen.said == []
    assert seen.undrawn() == []
    assert seen.page.locator(".js-plotly-plot").count() >= 7
    picture = seen.page.locator("section img")
    assert picture.evaluate("image => image.naturalWidth") > 100
    # Nothing comes from elsewhere.
    assert {url.split(":")[0] for url in seen.asked} <= {"file", "data", "blob"}


@pytest.mark.slow
def test_report_of_five_thousand_trials_is_drawn(large_report: Path, browser: Any) -> None:
    seen = Seen(browser, large_report, viewport={"width": 1200, "height": 900})
    assert seen.said == []
    assert seen.undrawn() == []
    assert seen.page.locator("#history .gl-container canvas").count() > 0


def constraint(seen: Seen) -> Any:
    return seen.page.evaluate(
        "document.getElementById('coordinates').data[0].dimensions.map(d => d.constraintrange)"
    )


@pytest.mark.slow
def test_brushing_parallel_coordinates_filters(
    finished_study: FinishedStudy, browser: Any
) -> None:
    path = finished_study.folder / "experiments" / "first" / "report.html"
    seen = Seen(browser, path, viewport={"width": 1200, "height": 900})
    chart = seen.page.locator("#coordinates")
    chart.scroll_into_view_if_needed()
    assert not any(constraint(seen))
    axes = chart.locator(".axis-brush")
    box = axes.last.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    seen.page.mouse.move(x, box["y"] + 0.1 * box["height"])
    seen.page.mouse.down()
    for share in (0.2, 0.3, 0.4):
        seen.page.mouse.move(x, box["y"] + share * box["height"])
    seen.page.mouse.up()
    seen.page.wait_for_function(
        """() => document.getElementById("coordinates").data[0].dimensions
            .at(-1).constraintrange"""
    )
    low, high = constraint(seen)[-1]
    scores = seen.page.evaluate(
        "document.getElementById('coordinates').data[0].dimensions.at(-1).values"
    )
    assert min(scores) < low < high
    # The colours of the page change, and the brush stays.
    seen.turn("dark")
    assert constraint(seen)[-1] == [low, high]
    assert seen.said == []


@pytest.mark.slow
def test_report_is_light_or_dark_as_the_reader_has_it(
    finished_study: FinishedStudy, browser: Any
) -> None:
    path = finished_study.folder / "experiments" / "first" / "report.html"
    seen = Seen(browser, path, color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light, ink = seen.page.evaluate(background), seen.colour_of_text()
    seen.turn("dark")
    assert seen.page.evaluate(background) != light
    # All of them, and at once: no chart is left in the other colours.
    assert len(ink) == len(seen.colour_of_text()) == 1
    assert seen.colour_of_text() != ink
    assert seen.said == []


@pytest.mark.slow
def test_report_fits_on_a_phone(
    finished_study: FinishedStudy, large_report: Path, browser: Any
) -> None:
    small = finished_study.folder / "experiments" / "first" / "report.html"
    for path in (small, large_report):
        seen = Seen(browser, path, viewport={"width": 390, "height": 800})
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert seen.undrawn() == []
        assert seen.said == []
        seen.page.close()
