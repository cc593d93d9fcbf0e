"""The benchmark of searches: its measure, its peers and its page; no table is downloaded."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.search import peers, run
from benchmarks.search.problems import DEVELOPMENT, JUDGES, Problem


@pytest.fixture
def problem() -> Problem:
    """Two names by three numbers, each trained twice: means 0.1 to 0.6."""
    means = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    scores = np.stack([means - 0.05, means + 0.05], axis=-1)
    options = {"kind": ["a", "b"], "width": [10, 20, 30]}
    return Problem("small", options, "val_accuracy", "max", scores, 1 + scores)


def test_regret_is_a_share_of_the_distance_from_the_best_to_the_median(
    problem: Problem,
) -> None:
    assert problem.regret({"kind": "b", "width": 3}) == 0
    # Half-way between 0.3 and 0.4 is the median.
    assert problem.regret({"kind": "b", "width": 1}) == pytest.approx(0.2 / 0.25)
    assert problem.regret({"kind": "a", "width": 1}) == pytest.approx(0.5 / 0.25)


def test_regret_of_a_loss_is_counted_the_other_way(problem: Problem) -> None:
    loss = Problem("l", problem.options, "val_loss", "min", problem.scores, problem.seconds)
    assert loss.regret({"kind": "a", "width": 1}) == 0
    assert loss.regret({"kind": "b", "width": 3}) == pytest.approx(0.5 / 0.25)


def test_a_seed_sees_one_training_of_a_point_and_a_repeat_another(problem: Problem) -> None:
    point = {"kind": "a", "width": 2}
    seen = {
        (seed, repeat): problem.evaluate(seed)(point, 1, repeat)["val_accuracy"]
        for seed in range(9)
        for repeat in range(2)
    }
    for seed in range(9):
        assert sorted([seen[seed, 0], seen[seed, 1]]) == pytest.approx([0.15, 0.25])
    assert len({seen[seed, 0] for seed in range(9)}) == 2
    assert problem.evaluate(3)(point, 1, 0) == problem.evaluate(3)(point, 1, 0)


@pytest.mark.parametrize("row", run.ROWS)
@pytest.mark.parametrize("workers", run.WORKERS)
def test_every_row_finds_what_it_can_in_a_small_table(
    row: str, workers: int, problem: Problem
) -> None:
    values, seen = run.ROWS[row](problem, 0, workers)
    # Thirty trials find the best of six points, as this seed sees them.
    best = max(
        problem.evaluate(0)({"kind": kind, "width": width}, 1, 0)["val_accuracy"]
        for kind in "ab"
        for width in (1, 2, 3)
    )
    assert seen == best
    assert problem.evaluate(0)(values, 1, 0)["val_accuracy"] == best


def test_the_measure_is_the_mean_over_tables_of_the_median_over_seeds() -> None:
    cell = run.Cell(np.array([[0.0, 0.1, 0.9], [0.2, 0.3, 0.4]]), np.zeros((1, 3)), 0.0)
    assert cell.regret == pytest.approx((0.1 + 0.3) / 2)
    alike = run.Cell(np.array([[0.1, 0.1], [0.3, 0.3]]), np.zeros((1, 2)), 0.0)
    assert (alike.regret, alike.error) == pytest.approx((0.2, 0))


def test_no_table_is_both_for_development_and_a_judge() -> None:
    assert len({*DEVELOPMENT, *JUDGES}) == 12
    assert set(peers.SAMPLERS) < set(run.ROWS)


def test_a_part_of_the_page_is_replaced_and_the_other_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "RESULTS.md"
    page.write_text(
        "# T\n\n## The development tables\n\nold\n\n## The judging tables\n\nkept\n"
    )
    monkeypatch.setattr(run, "RESULTS", page)
    run.write("development tables", "new \\1\n")
    assert (
        page.read_text()
        == "# T\n\n## The development tables\n\nnew \\1\n\n## The judging tables\n\nkept\n"
    )
