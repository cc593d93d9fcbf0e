"""The benchmark of wall time: reading a run, stopping it, the target and the table."""

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from benchmarks import images
from benchmarks.job import SearchJob, load_splits
from benchmarks.journal import Journal
from benchmarks.search import wall_time
from benchmarks.search.timed_run import Result, TimedRun, gains, measure, results
from benchmarks.search.wall_time_rows import (
    MAX_EPOCHS,
    REFERENCE,
    ROWS,
    SPACE,
    TARGET,
    SearchRow,
)
from support.configs import loaded
from tuner.datasets import ImageData
from tuner.errors import UserError

LIMIT = 600.0
PYTHON = Path(sys.executable).parent.parent

BY_NAME = {row.name: row for row in ROWS}


def job() -> SearchJob:
    return SearchJob(
        name="mnist",
        splits="/data/mnist.npz",
        batch_size=32,
        seed=1,
        workers=2,
        space=SPACE,
        max_epochs=MAX_EPOCHS,
        max_trials=60,
    )


def make_run(row: str, seed: int = 0, *found: Result, **given: Any) -> TimedRun:
    return TimedRun(row, seed, **{"seconds": LIMIT, "gains": found, **given})


def random_run(seed: int, *found: Result) -> TimedRun:
    return make_run(TARGET, seed, *found, has_ended=True)


def cells(text: str, name: str) -> list[str]:
    """Return the cells after a row's title."""
    start = f"| {BY_NAME[name].title} |"
    line = next(line for line in text.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def program(text: str, metric: str | None = None) -> SearchRow:
    """Return a row that runs some Python."""
    return SearchRow("peer", "Peer", PYTHON, lambda _: ["-c", text], metric)


def writing(accuracies: Iterable[float]) -> str:
    return (
        "import json, time\n"
        "with open('results.jsonl', 'w') as file:\n"
        f"    for accuracy in {list(accuracies)}:\n"
        "        file.write(json.dumps([time.time(), accuracy]) + '\\n')\n"
    )


def test_gains_are_the_results_that_beat_all_before() -> None:
    timed = [(103.0, 0.8), (101.0, 0.5), (102.0, 0.9), (104.0, 0.9), (105.0, 0.95)]
    assert gains(timed, begin=100.0) == ((1.0, 0.5), (2.0, 0.9), (5.0, 0.95))
    assert gains([], begin=100.0) == ()


def test_until_is_the_time_of_the_first_result_at_or_above_the_target() -> None:
    run = make_run("asha", 0, (1.0, 0.5), (2.0, 0.9), (5.0, 0.95))
    assert [run.until(t) for t in (0.4, 0.9, 0.91, 0.96)] == [1.0, 2.0, 5.0, math.inf]
    assert run.best == 0.95
    assert make_run("asha").best == 0


@pytest.mark.parametrize(
    ("target", "limit", "given", "expected"),
    [
        (0.9, 600, {}, True),
        (0.95, 600, {}, False),
        (0.95, 100, {}, True),
        (0.95, 600, {"has_ended": True}, True),
        (math.inf, math.inf, {"has_ended": True}, True),
        (math.inf, math.inf, {}, False),
    ],
)
def test_a_kept_run_is_enough_if_it_reached_the_target_or_could_not(
    target: float, limit: float, given: dict[str, Any], expected: bool
) -> None:
    run = make_run("asha", 0, (20.0, 0.9), seconds=100.0, **given)
    assert run.is_enough(target, limit) is expected


def test_measure_stops_a_search_that_has_reached_the_target(tmp_path: Path) -> None:
    row = program(writing([0.5, 0.9, 0.95]) + "file.close(); time.sleep(60)")
    run = measure(row, job(), tmp_path / "run", target=0.9, limit=60)
    assert [accuracy for _, accuracy in run.gains] == [0.5, 0.9, 0.95]
    assert 0 < run.until(0.9) <= run.seconds < 30
    assert (run.key, run.has_ended, run.error) == (("peer", 1), False, None)
    assert not (tmp_path / "run").exists()


def test_measure_stops_a_search_at_its_limit_or_lets_it_end(tmp_path: Path) -> None:
    slow = program(writing([0.5]) + "file.close(); time.sleep(60)")
    stopped = measure(slow, job(), tmp_path / "run", target=0.9, limit=3)
    assert (stopped.best, stopped.has_ended) == (0.5, False)
    assert stopped.is_enough(0.9, limit=3)
    ended = measure(program(writing([0.95])), job(), tmp_path / "run", math.inf, math.inf)
    assert (ended.best, ended.has_ended) == (0.95, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print('why'); raise SystemExit(3)", "It ended with exit status 3. why"),
        ("print('done')", "It ended without any result. done"),
    ],
)
def test_measure_reports_a_run_that_failed(tmp_path: Path, text: str, message: str) -> None:
    run = measure(program(text), job(), tmp_path / "run", target=0.9, limit=60)
    assert run.error == message
    assert (tmp_path / "run" / "output.log").exists()


def test_results_are_those_of_every_run_in_mlflow(tmp_path: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("benchmark", str(tmp_path / "artifacts"))
    for moment, accuracy in ((2000, 0.25), (1500, 1 / 3)):
        run = client.create_run(experiment)
        client.log_metric(run.info.run_id, "val_accuracy", accuracy, timestamp=moment)
        client.log_metric(run.info.run_id, "accuracy", 0.99, timestamp=moment)
    found = results(program("", "val_accuracy"), tmp_path)
    assert sorted(found) == [(1.5, 0.333333), (2.0, 0.25)]
    assert results(program("", "val_accuracy"), tmp_path / "none") == []


def test_results_are_equal_whatever_floats_they_were_kept_as(tmp_path: Path) -> None:
    share = 258 / 287
    kept = [share, float(np.float32(share)), float(str(np.float32(share)))]
    assert len(set(kept)) == 3
    lines = [json.dumps([1.0, accuracy]) for accuracy in kept]
    # The last one is still being written.
    (tmp_path / "results.jsonl").write_text("\n".join([*lines, "[1.0, 0."]))
    assert set(results(program(""), tmp_path)) == {(1.0, 0.898955)}


def test_our_rows_are_studies_of_the_whole_space() -> None:
    for name in ("asha", "random", "bayesian"):
        flag, module, *overrides = BY_NAME[name].arguments(job())
        assert (flag, module) == ("-m", "tuner.search")
        config = loaded(*overrides)
        assert config.search.oracle == name
        searched = config.searched_space().searched
        assert searched == {*SPACE} | ({"epochs"} if name != "asha" else set())
    assert config.executor.workers == 2
    assert config.search.finalists is None


def test_rows_have_names_of_their_own_and_both_that_others_refer_to() -> None:
    assert len(BY_NAME) == len(ROWS)
    assert {REFERENCE, TARGET} <= BY_NAME.keys()


def test_peers_read_the_split_that_glassy_makes(few_digits: ImageData, tmp_path: Path) -> None:
    images.write_splits(few_digits, tmp_path / "digits.npz")
    arrays = load_splits(str(tmp_path / "digits.npz"))
    for split in ("train", "validation", "test"):
        part = getattr(few_digits, split)
        assert (arrays[f"{split}_images"] == part.images).all()
        assert (arrays[f"{split}_labels"] == part.labels).all()


def test_target_is_the_median_of_what_random_reaches() -> None:
    runs = [random_run(seed, (10.0, best)) for seed, best in enumerate((0.97, 0.95, 0.96))]
    assert wall_time.target_of(runs) == 0.96
    assert wall_time.target_of(runs[:2]) == 0.95


def test_random_is_run_first_and_to_its_end_and_kept_runs_are_not_repeated(
    tmp_path: Path,
) -> None:
    asked: list[tuple[str, int, float, float]] = []

    def run_once(row: SearchRow, seed: int, target: float, limit: float) -> TimedRun:
        asked.append((row.name, seed, target, limit))
        found = (50.0, 0.9 + seed / 100)
        return make_run(row.name, seed, found, has_ended=row.name == TARGET)

    def kept() -> Journal[TimedRun]:
        return Journal(tmp_path / "runs.json", {"data": "a"}, TimedRun.read)

    runs = wall_time.measure_all(["asha"], 3, LIMIT, kept(), run_once)
    first = [(TARGET, seed, math.inf, math.inf) for seed in range(3)]
    assert asked == [*first, *(("asha", seed, 0.91, LIMIT) for seed in range(3))]
    asked.clear()
    again = wall_time.measure_all(["asha"], 3, LIMIT, kept(), run_once)
    assert again == runs
    assert asked == []
    # The one that has not reached the target may do so within a longer time.
    wall_time.measure_all(["asha"], 3, 2 * LIMIT, kept(), run_once)
    assert asked == [("asha", 0, 0.91, 2 * LIMIT)]


def test_a_failed_run_of_random_leaves_no_target(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "runs.json", {}, TimedRun.read)
    with pytest.raises(UserError, match="`random`, which sets the target, failed: no module"):
        wall_time.measure_all(
            None, 1, LIMIT, journal, lambda row, *_: make_run(row.name, error="no module")
        )


def test_table_has_medians_ratios_and_what_is_to_be_reached() -> None:
    runs = {
        TARGET: [
            random_run(0, (10.0, 0.9), (80.0, 0.97)),
            random_run(1, (100.0, 0.96)),
            random_run(2, (90.0, 0.95)),
        ],
        "asha": [make_run("asha", seed, (20.0 + seed, 0.96)) for seed in range(3)],
        "bayesian": [
            make_run("bayesian", 0, (60.0, 0.96)),
            make_run("bayesian", 1, (60.0, 0.95)),
            make_run("bayesian", 2, (70.0, 0.96)),
        ],
        "optuna_median": [make_run("optuna_median", 0, (30.0, 0.9))] * 3,
        "keras_tuner_hyperband": [make_run("keras_tuner_hyperband", 0, (9.0, 0.8))] * 3,
    }
    text = wall_time.table(runs, LIMIT)
    assert cells(text, "asha") == ["21.0", "20.0, 21.0, 22.0", "1.00", "", "0.9600"]
    assert cells(text, TARGET) == [
        *("100.0", "80.0, 100.0, never", "4.76", "4: met", "0.9600"),
    ]
    assert cells(text, "bayesian")[:3] == ["70.0", "60.0, > 600, 70.0", "3.33"]
    assert cells(text, "optuna_median")[2:] == ["> 28.57", "5: met", "0.9000"]
    runs["asha"] = [make_run("asha", seed, (50.0, 0.96)) for seed in range(3)]
    text = wall_time.table(runs, LIMIT)
    assert cells(text, TARGET)[2:4] == ["2.00", "4: missed"]
    # It was stopped before anybody could know.
    assert cells(text, "keras_tuner_hyperband")[:4] == [
        *("> 600", "> 600, > 600, > 600", "> 12.00", "15: open"),
    ]


def test_table_without_the_reference_has_no_ratios_and_shows_what_failed() -> None:
    runs = {
        TARGET: [random_run(0, (10.0, 0.9))],
        "ray_asha": [make_run("ray_asha", error="No module named ray.")],
    }
    text = wall_time.table(runs, LIMIT)
    assert cells(text, TARGET) == ["10.0", "10.0", "", "", "0.9000"]
    assert cells(text, "ray_asha") == ["failed", "", "", "", ""]
    assert f"{BY_NAME['ray_asha'].title} failed: No module named ray." in text
