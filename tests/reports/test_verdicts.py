"""Which study did better and how surely: worked out by hand."""

import dataclasses

import mlflow
import pytest

from support.reports import figures_of, made_up_study, text_of
from support.trials import MakeResult
from tuner.evaluation import mcnemar
from tuner.reports import comparison_page, gather, progress, verdicts
from tuner.reports.comparison_page import Compared
from tuner.reports.page import Link
from tuner.reports.records import StudyRecord
from tuner.study import records
from tuner.tracking.runs import Tracker


@pytest.mark.parametrize(
    ("only_first", "only_second", "greater", "two_sided"),
    [
        (0, 0, 1.0, 1.0),
        # Of ten images, nine or more: (10 + 1) / 2^10, and twice that.
        (9, 1, 11 / 1024, 22 / 1024),
        (1, 9, 1023 / 1024, 22 / 1024),
        (5, 5, 638 / 1024, 1.0),
        (1, 0, 0.5, 1.0),
    ],
)
def test_p_value_is_mcnemars(
    only_first: int, only_second: int, greater: float, two_sided: float
) -> None:
    assert mcnemar.p_value(only_first, only_second, "greater") == pytest.approx(greater)
    assert mcnemar.p_value(only_first, only_second, "two-sided") == pytest.approx(two_sided)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6, 0.001], [1.0, 1.0, 0.003]),
    ],
)
def test_adjusted_is_holms(p_values: list[float], expected: list[float]) -> None:
    assert mcnemar.adjusted(p_values) == pytest.approx(expected)


def contender(study: str, *wrong: int, digest: str = "d1") -> verdicts.Contender:
    return verdicts.Contender(study, "digits", digest, 100, frozenset(wrong))


ALONE = tuple(range(10, 19))
"""Nine images."""


@pytest.mark.parametrize(
    ("contenders", "expected"),
    [
        ([contender("a", 1)], []),
        ([contender("a", 1), contender("b", 1, digest="d2")], []),
        (
            [contender("a", *ALONE), contender("b", 1)],
            ["b is ahead of a by 8.0 points (0.9900 against 0.9100 on 100 test images); "
             "p = 0.021: statistically significant."],
        ),
        (
            [contender("a", 1), contender("b", 2)],
            ["a and b have the same test accuracy (0.9900 on 100 test images); "
             "p = 1: statistically indistinguishable."],
        ),
        # Three: each p-value is adjusted for two comparisons.
        (
            [contender("a", *ALONE), contender("b", 1), contender("c", *ALONE, 19)],
            ["b is ahead of a by 8.0 points (0.9900 against 0.9100 on 100 test images); "
             "p = 0.023: statistically significant.",
             "b is ahead of c by 9.0 points (0.9900 against 0.9000 on 100 test images); "
             "p = 0.023: statistically significant."],
        ),
        (
            [contender("a"), contender("b", *range(50))],
            ["a is ahead of b by 50.0 points (1.0000 against 0.5000 on 100 test images); "
             "p < 0.0001: statistically significant."],
        ),
    ],
)  # fmt: skip
def test_verdict_says_which_did_better_and_how_surely(
    contenders: list[verdicts.Contender], expected: list[str]
) -> None:
    assert [str(verdict) for verdict in verdicts.judge(contenders)] == expected


def with_wrong(name: str, num_trials: int, *wrong: int, seed: int = 0) -> Compared:
    """Return a study whose best model gets some of 100 test images wrong."""
    study = made_up_study(num_trials, name, seed)
    counts = {"test_wrong": float(len(wrong)), "test_right": 100.0 - len(wrong)}
    best = dataclasses.replace(study.best, metrics={**study.best.metrics, **counts})
    trials = [best if trial is study.best else trial for trial in study.trials]
    study = dataclasses.replace(study, trials=trials, owner="ann")
    return Compared(study, None, None, frozenset(wrong))


def other_data(compared: Compared) -> Compared:
    assert compared.study.data is not None
    data = dataclasses.replace(compared.study.data, digest="d2", name="letters")
    return dataclasses.replace(compared, study=dataclasses.replace(compared.study, data=data))


def test_page_says_which_did_better_on_each_data_set() -> None:
    studies = [
        with_wrong("a", 9, *ALONE),
        with_wrong("b", 12, 1, seed=1),
        dataclasses.replace(with_wrong("old", 3), wrong=None),
        other_data(with_wrong("c", 4, 1)),
        other_data(with_wrong("d", 5, 2)),
    ]
    page = comparison_page.comparison_page(studies, "Studies")
    said = text_of(page)
    assert "On digits: b is ahead of a by 8.0 points" in said
    assert "On letters: c and d have the same test accuracy" in said
    assert "no whole wrong_predictions.csv of the best trial: old." in said
    assert "b a 8.0 9 1 0.021 significant" in said
    assert "Best val_accuracy so far, on digits" in said
    assert "Holm" not in said
    figures = figures_of(page)
    [on_letters, on_digits] = [
        {trace["name"]: trace["y"] for trace in figures[name]["data"]}
        for name in sorted(figures)
        if name.endswith("-trials")
    ][::-1]
    assert on_letters.keys() == {"c", "d"}
    assert on_digits.keys() == {"a", "b", "old"}
    assert len(on_digits["b"]) == 12
    assert on_digits["b"] == sorted(on_digits["b"])
    # Owners, and links where MLflow has pages.
    table = page.sections[-1].tables[0]
    assert (table.rows[0][0], table.rows[0][1]) == ("a", "ann")
    linked = dataclasses.replace(studies[0].study, pages="https://mlflow.corp/runs/")
    again = [dataclasses.replace(studies[0], study=linked)]
    [row] = comparison_page.comparison_page(again, "One").sections[-1].tables[0].rows
    links = [cell for cell in row if isinstance(cell, Link)]
    assert [link.address for link in links] == [
        "https://mlflow.corp/runs/run", f"https://mlflow.corp/runs/{linked.best.run_id}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "unit", "last"),
    [(20.0, "seconds", 40.0), (120.0, "minutes", 4.0), (7200.0, "hours", 4.0)],
)
def test_progress_against_time_has_a_unit_that_fits(
    seconds: float, unit: str, last: float
) -> None:
    def timed(name: str) -> StudyRecord:
        study = made_up_study(2, name)
        trials = [
            dataclasses.replace(t, metrics={**t.metrics, "trial_seconds": seconds})
            for t in study.trials
        ]
        return dataclasses.replace(study, trials=trials)

    [group] = progress.comparable([timed("a"), timed("b"), made_up_study(0, "none")])
    chart = progress.charts(group, "p")[1]
    assert chart.figure["layout"]["xaxis"]["title"]["text"].startswith(unit)
    assert chart.figure["data"][0]["x"] == [last / 2, last]


def test_progress_of_lower_is_better_falls() -> None:
    studies = [made_up_study(5, name) for name in ("a", "b")]
    lower = dataclasses.replace(studies[0].objective, direction="min")
    [group] = progress.comparable(
        [dataclasses.replace(study, objective=lower) for study in studies]
    )
    for trace in progress.charts(group, "p")[0].figure["data"]:
        assert trace["y"] == sorted(trace["y"], reverse=True)


def test_wrong_images_are_read_if_the_list_is_whole(
    client: mlflow.MlflowClient, tracker: Tracker, make_result: MakeResult
) -> None:
    run_id = tracker.open_trial("0000", {"epochs": 2}, {}).run_id
    tracker.finish_trial(make_result("0000"))
    [run] = records.find_studies(client, None)
    study = gather.read_study(client, run)
    wrong = gather.read_wrong(client, study)
    assert wrong is not None
    assert len(wrong) == study.best.metrics["test_wrong"] > 1
    assert wrong <= set(range(80))
    for content in ("index,true\n1,a\n", "index,true\nx,a\n", "no,head\n1,2\n", ""):
        client.log_text(run_id, content, "wrong_predictions.csv")
        assert gather.read_wrong(client, study) is None
