"""Every chart of a report, drawn from made-up studies."""

import dataclasses
import math

import numpy as np
import pytest

from support.reports import figures_of, made_up_details, made_up_study, replaced, text_of
from tuner.constraints import Constraints
from tuner.reports import charts, study_page, summaries
from tuner.reports.coordinates import MAX_AXES, parallel_coordinates
from tuner.reports.failures import reasons
from tuner.reports.importance import MIN_TRIALS
from tuner.reports.records import Confusion, Details
from tuner.tracking.facts import TrialRecord
from tuner.trial import Objective


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
        # It raises an error for every property that Plotly does not know.
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


BOTH = Objective("val_accuracy", "max", (Objective("num_parameters", "min"),))


def test_pareto_front_of_several_objectives_is_drawn_and_listed() -> None:
    """Of 40 trials, those with more parameters than 100,000 break a constraint."""
    import plotly.graph_objects as go

    study = made_up_study(40)
    sizes = np.random.default_rng(0).permutation(40)
    trials = [
        dataclasses.replace(t, metrics={**t.metrics, "num_parameters": 10.0 ** (3 + size / 15)})
        for t, size in zip(study.trials, sizes, strict=True)
    ]
    study = dataclasses.replace(
        study,
        trials=trials,
        objective=BOTH,
        constraints=Constraints.parse({"num_parameters": {"max": 100_000}}),
    )
    made = study_page.study_page(study, made_up_details(study), None)
    figure = figures_of(made)["front-num_parameters"]
    assert go.Figure(figure).data
    traces = {trace.get("name"): trace for trace in figure["data"]}
    num_large = sum(t.metrics["num_parameters"] > 100_000 for t in trials)
    assert len(traces["breaks a constraint"]["x"]) == num_large
    front = traces["Pareto front"]
    assert len(front["x"]) + len(traces["dominated"]["x"]) + num_large == 40
    ordered = sorted(zip(front["x"], front["y"], strict=True))
    assert [y for _, y in ordered] == sorted(y for _, y in ordered)
    assert (traces["the best"]["x"], traces["the best"]["y"]) == (
        [ordered[-1][0]],
        [ordered[-1][1]],
    )
    assert figure["layout"]["xaxis"]["type"] == "log"
    said = text_of(made)
    assert f"{len(ordered)} trials of 40 finished trials are on the Pareto front of" in said
    assert "maximise val_accuracy, minimise num_parameters" in said


def test_study_with_one_objective_has_no_front() -> None:
    study = made_up_study(5)
    made = study_page.study_page(study, made_up_details(study), None)
    assert not [section for section in made.sections if "Pareto" in section.title]
