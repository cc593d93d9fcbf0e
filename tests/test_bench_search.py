"""The benchmark of searches: its measure, its peers and its page; no table is downloaded."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search import curves, make_tables, peers, run, table
from benchmarks.search.problems import DEVELOPMENT, JUDGES, Problem
from benchmarks.search.table import Table
from tuner.config.space import Space


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


WITH_FINALISTS = [row for row in run.ROWS if "21 + 9" in row]


@pytest.mark.parametrize("row", [row for row in run.ROWS if row not in WITH_FINALISTS])
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


@pytest.mark.parametrize("row", WITH_FINALISTS)
@pytest.mark.parametrize("workers", run.WORKERS)
def test_finalists_are_judged_by_trainings_that_the_search_did_not_see(
    row: str, workers: int, problem: Problem
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, (2, 3, 4))
    noisy = dataclasses.replace(problem, scores=noise, seconds=1 + noise**2)
    evaluate = noisy.evaluate(0)
    points = [{"kind": kind, "width": width} for kind in "ab" for width in (1, 2, 3)]
    seen = [[evaluate(p, 1, n)["val_accuracy"] for n in range(4)] for p in points]
    # The best three of all six points by what the search saw, and of these by the rest.
    best = sorted(range(6), key=lambda i: -seen[i][0])[:3]
    means = {i: np.mean(seen[i][1:]) for i in best}
    winner = max(means, key=means.__getitem__)
    values, score = run.ROWS[row](noisy, 0, workers)
    assert (values, score) == (points[winner], pytest.approx(means[winner]))


def test_the_measure_is_the_mean_over_tables_of_the_median_over_seeds() -> None:
    cell = run.Cell(np.array([[0.0, 0.1, 0.9], [0.2, 0.3, 0.4]]), np.zeros((1, 3)), 0.0)
    assert cell.regret == pytest.approx((0.1 + 0.3) / 2)
    alike = run.Cell(np.array([[0.1, 0.1], [0.3, 0.3]]), np.zeros((1, 2)), 0.0)
    assert (alike.regret, alike.error) == pytest.approx((0.2, 0))


def test_no_table_is_both_for_development_and_a_judge() -> None:
    assert len({*DEVELOPMENT, *JUDGES}) == 12
    assert set(peers.SAMPLERS) < set(run.ROWS)
    assert not run.ROWS.keys() & run.SLOW_ROWS.keys()


def test_a_part_of_the_page_is_replaced_and_the_other_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "RESULTS.md"
    page.write_text(
        "# T\n\n## The development tables\n\nold\n\n## The judging tables\n\nkept\n"
    )
    monkeypatch.setattr(run, "RESULTS", page)
    run.write("The development tables", "new \\1\n")
    assert (
        page.read_text()
        == "# T\n\n## The development tables\n\nnew \\1\n\n## The judging tables\n\nkept\n"
    )


@pytest.fixture
def curved() -> Table:
    """Forty rates: accuracies after 27 epochs of 1 to 40 images of 100, less before."""
    space = {"batch_size": 32, "learning_rate": [i / 100 for i in range(1, 41)]}
    last = np.arange(1, 41)[:, None, None] + np.array([0, 0, 3])[None, :, None]
    right = (last * np.linspace(0.5, 1, 27)).astype(np.uint16)
    points = list(Space.parse(space, "my.build").points())
    return Table("small", "my.build", space, points, right, 100, np.ones(40, np.float32), "")


def test_a_table_is_read_as_it_was_written(curved: Table, tmp_path: Path) -> None:
    curved.save(tmp_path)
    read = table.load("small", tmp_path)
    assert (read.points, read.space, read.facts) == (curved.points, curved.space, curved.facts)
    assert (read.right == curved.right).all()
    assert (read.seconds == curved.seconds).all()


def test_a_search_sees_one_training_and_is_judged_by_the_others(curved: Table) -> None:
    values = {"learning_rate": 0.1}
    assert curved.place({**values, "batch_size": 32}) == 9
    scores = [curved.evaluate(seed)(values, 27, 0)["val_accuracy"] for seed in range(4)]
    assert scores == pytest.approx([0.1, 0.1, 0.13, 0.1])
    assert curved.evaluate(0)(values, 27, 2)["val_accuracy"] == pytest.approx(0.13)
    # Of 0.01 to 0.4, the best, the median and the worst.
    assert curved.regrets(2)[[39, 0]] == pytest.approx([0, 0.39 / 0.195])


@pytest.mark.parametrize("row", curves.ROWS)
def test_every_row_comes_near_the_best_of_a_small_table(row: str, curved: Table) -> None:
    steps = curves.ROWS[row](curved, 0)
    spent = [step.epochs for step in steps]
    assert spent == sorted(spent)
    assert curved.regrets(0)[steps[-1].recommended] <= 0.2


def test_epochs_until_near_are_those_of_the_median_seed(curved: Table) -> None:
    def search(table: Table, seed: int) -> list[curves.Step]:
        return [curves.Step(27, 0), curves.Step(54 + seed, 39)]

    cell = curves.measure(search, curved, 3)
    assert cell.until_near == 55
    assert (cell.after(26), cell.after(55)) == (1, 0)
    assert cell.after(27) == curved.regrets(0)[0]


def test_every_recipe_is_a_grid_of_the_size_that_is_said() -> None:
    sizes = {
        name: Space.parse(recipe.space, recipe.model).size()
        for name, recipe in make_tables.RECIPES.items()
    }
    assert sizes == {"mlp_digits": 288, "cnn_digits": 96, "mlp_mnist": 144}
