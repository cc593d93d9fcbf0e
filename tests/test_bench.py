"""The benchmark's arithmetic, its lists of trials and its journal; no row is run here."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from benchmarks import floor
from benchmarks.job import Job
from benchmarks.journal import Journal
from benchmarks.measure import Run, measure
from benchmarks.peers import network
from benchmarks.report import Line, agrees, section, spread_over_seeds, summarise
from benchmarks.rows import LISTS, OURS, ROWS, Row, TrialList
from support.networks import VALUES
from support.paths import CONF
from tuner.config.space import Space
from tuner.errors import UserError
from tuner.models import mlp

PEER = "peer"


def job(trials: TrialList = LISTS[0]) -> Job:
    return Job(
        images="mnist.npz",
        name="mnist",
        splits="splits.npz",
        validation_split=0.1,
        space=trials.space,
        batch_size=32,
        seed=1,
        workers=2,
    )


def make_run(row: str = OURS, seed: int = 0, seconds: float = 10.0, *accuracies: float) -> Run:
    return Run("shared", row, seed, seconds, accuracies or (0.9, 0.8))


def make_row(name: str, target: float | None = None) -> Row:
    targets = {} if target is None else {"shared": target}
    return Row(name, name.title(), Path("nowhere"), lambda _: [], targets=targets)


def cells(text: str, title: str) -> list[str]:
    """Return the cells after a row's title."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_lists_are_of_different_trials() -> None:
    for trials, expected in zip(LISTS, (8, 8, 40, 16, 16), strict=True):
        found = {tuple(sorted(values.items())) for values in job(trials).trials()}
        assert len(found) == len(job(trials).trials()) == expected


def test_shared_list_has_every_shape_twice_and_separate_list_once() -> None:
    shapes = {
        trials.name: [(v["units_1"], v["units_2"]) for v in job(trials).trials()]
        for trials in LISTS
    }
    assert all(shapes["shared"].count(shape) == 2 for shape in shapes["shared"])
    assert all(shapes["separate"].count(shape) == 1 for shape in shapes["separate"])
    assert {values["epochs"] for values in job(LISTS[1]).trials()} == {4}


def test_rows_and_their_targets_name_what_there_is() -> None:
    assert [row.name for row in ROWS].count(OURS) == 1
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert row.targets.keys() <= set(row.lists)
        assert set(row.lists) <= {trials.name for trials in LISTS}


def test_job_survives_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job().write(tmp_path / "job.json")
    monkeypatch.setattr("sys.argv", ["peer", str(tmp_path / "job.json")])
    assert Job.from_command_line().trials() == job().trials()


def test_search_row_gives_the_space_as_choices() -> None:
    ours = next(row for row in ROWS if row.name == OURS)
    assert {"++space.epochs=[2, 4]", "++space.units_1=[64, 128]", "seed=1"} <= set(
        ours.arguments(job())
    )


def test_peers_train_the_network_that_glassy_trains() -> None:
    images, labels = np.zeros((2, 8, 8), np.uint8), np.array([0, 9])
    values = {**VALUES, "layers": 2, "units_1": 4, "units_2": 3, "learning_rate": 1e-3}
    ours = mlp.build(values, (8, 8), 10)
    theirs = network.build({"units_1": 4, "units_2": 3}, images, labels)
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    theirs.set_weights(ours.get_weights())
    # Our model has other layers than theirs, and computes the same.
    drawn = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    np.testing.assert_allclose(ours(drawn), theirs(drawn), rtol=1e-5)
    # Keras numbers the names of its optimisers.
    configs = [{**model.optimizer.get_config(), "name": ""} for model in (ours, theirs)]
    assert configs[0] == configs[1]
    assert ours.loss == theirs.loss


def test_peers_have_the_dropout_and_the_learning_rate_that_are_searched() -> None:
    searched = {"units_1": 4, "units_2": 3, "dropout": 0.25, "learning_rate": 0.01}
    ours = mlp.build({**VALUES, "layers": 2, **searched}, (8, 8), 10)
    theirs = network.build(searched, np.zeros((2, 8, 8), np.uint8), np.array([0, 9]))
    for model in (ours, theirs):
        rates = [layer.rate for layer in model.layers if hasattr(layer, "rate")]
        assert rates == [0.25, 0.25]
        assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]


def test_floor_trains_with_the_values_of_the_configuration() -> None:
    conf = CONF / "model" / "mlp.yaml"
    space = OmegaConf.to_container(OmegaConf.load(conf))["space"]  # type: ignore[index,call-overload]
    given = {"epochs": 2, "units_1": 4, "units_2": 4, "batch_size": 32}
    values = Space.parse({**space, "units": 4, "epochs": 2}, "tuner.models.mlp.build").complete(
        {}
    )
    assert {**floor.FIXED, **given} == values


def test_summarise_takes_the_median_of_seconds_and_means_over_runs() -> None:
    runs = [
        make_run(PEER, 0, 30.0, 0.9, 0.8),
        make_run(PEER, 1, 10.0, 0.7, 0.8),
        make_run(PEER, 2, 20.0, 0.8, 0.6),
    ]
    line = summarise(runs)
    assert line.seconds == 20
    assert line.trials_an_hour == 2 * 3600 / 20
    assert line.best == pytest.approx((0.9 + 0.8 + 0.8) / 3)
    assert line.mean == pytest.approx((0.85 + 0.75 + 0.7) / 3)


def test_spread_over_seeds_pools_trials_around_their_own_means() -> None:
    # Two trials over two seeds, 0.01 and 0.03 from their means: two degrees of freedom.
    runs = [make_run(PEER, 0, 1.0, 0.90, 0.80), make_run(PEER, 1, 1.0, 0.92, 0.86)]
    expected = ((2 * 0.01**2 + 2 * 0.03**2) / 2) ** 0.5
    assert spread_over_seeds([runs]) == pytest.approx(expected)
    # A row without any spread halves the variance; one of a single run does not count.
    constant = [make_run(OURS, 0), make_run(OURS, 1)]
    pooled = spread_over_seeds([runs, constant, [make_run("other")]])
    assert pooled == pytest.approx(expected / 2**0.5)


def test_spread_over_seeds_is_unknown_from_single_runs() -> None:
    assert spread_over_seeds([[make_run()], [make_run(PEER)]]) is None


@pytest.mark.parametrize(
    ("best", "mean", "expected"),
    [(0.97, 0.95, True), (0.981, 0.95, True), (0.985, 0.95, False), (0.97, 0.93, False)],
)
def test_agrees_within_twice_the_spread(best: float, mean: float, expected: bool) -> None:
    ours = Line(1.0, 1.0, best=0.975, mean=0.955)
    assert agrees(Line(1.0, 1.0, best, mean), ours, spread=0.004) is expected


def test_section_gives_ratios_to_ours_and_judges_targets() -> None:
    rows = [make_row(OURS), make_row(PEER, 8), make_row("slow", 8)]
    runs = [make_run(), make_run(PEER, 0, 79.0), make_run("slow", 0, 80.0), make_run("other")]
    text = section(LISTS[0], rows, runs)
    assert cells(text, OURS.title()) == ["10.0", "720", "1.00", "", "0.9000", "0.8500"]
    assert cells(text, "Peer")[2:4] == ["7.90", "8: missed"]
    assert cells(text, "Slow")[2:4] == ["8.00", "8: met"]


def test_section_names_rows_that_are_ours_to_the_last_digit() -> None:
    runs = [make_run(), make_run(PEER), make_run("slow", 0, 1.0, 0.9, 0.8001)]
    text = section(LISTS[0], [make_row(OURS), make_row(PEER), make_row("slow")], runs)
    assert "accuracies equal ours to the last digit in: Peer." in text
    alone = section(LISTS[0], [make_row(OURS)], [make_run()])
    assert "accuracies equal ours to the last digit in: none." in alone


def test_section_shows_a_failed_row_with_its_error() -> None:
    failed = dataclasses.replace(make_run(PEER, 1), accuracies=(), error="No module named ray.")
    text = section(
        LISTS[0], [make_row(OURS), make_row(PEER, 8)], [make_run(), make_run(PEER), failed]
    )
    assert cells(text, "Peer") == ["failed", "", "", "", "", ""]
    assert "Peer failed: No module named ray." in text


def test_section_names_rows_whose_accuracies_differ_from_ours() -> None:
    runs = [
        *(make_run(OURS, seed, 1.0, 0.97 + 0.001 * seed) for seed in range(3)),
        *(make_run(PEER, seed, 1.0, 0.971 + 0.001 * seed) for seed in range(3)),
        *(make_run("slow", seed, 1.0, 0.96 + 0.001 * seed) for seed in range(3)),
    ]
    text = section(LISTS[0], [make_row(OURS), make_row(PEER), make_row("slow")], runs)
    assert "standard deviation of 0.0010. **More than 2 of these from ours: Slow.**" in text


def test_section_without_our_row_has_no_ratios() -> None:
    text = section(LISTS[0], [make_row(PEER, 8)], [make_run(PEER)])
    assert cells(text, "Peer") == ["10.0", "720", "", "", "0.9000", "0.8500"]


def test_journal_goes_on_with_runs_of_the_same_settings(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    Journal(path, {"data": "a"}, Run.read).add(make_run(PEER, 1))
    again = Journal(path, {"data": "a"}, Run.read)
    assert again.find("shared", PEER, 1) == make_run(PEER, 1)
    assert again.find("shared", PEER, 2) is None
    with pytest.raises(UserError, match=r"differ in data\. Remove the file"):
        Journal(path, {"data": "b"}, Run.read)
    again.close()
    assert Journal(path, {"data": "b"}, Run.read).runs == []


def test_measure_reports_an_environment_that_is_missing(tmp_path: Path) -> None:
    failed = measure(make_row(PEER), "shared", job(), tmp_path / "run", timeout=10)
    assert failed.error is not None
    assert failed.error.startswith("It could not be started:")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("print('why'); raise SystemExit(3)", "It ended with exit status 3. why"),
        ("import time; time.sleep(60)", "It was stopped after 1 s."),
        ("pass", "It has not written scores.json."),
        (
            "import json; json.dump([[{'epochs': 2, 'units_1': 64, 'units_2': 64}, 0.9]],"
            " open('scores.json', 'w'))",
            "Trials missing: 7 of 8.",
        ),
    ],
)
def test_measure_reports_a_run_that_failed(tmp_path: Path, program: str, message: str) -> None:
    peer = dataclasses.replace(ROWS[0], arguments=lambda _: ["-c", program], is_tracked=False)
    assert measure(peer, "shared", job(), tmp_path / "run", timeout=1).error == message


def test_measure_hands_back_accuracies_in_the_order_of_the_list(tmp_path: Path) -> None:
    scores = [(values, i / 10) for i, values in enumerate(job().trials())]
    program = f"open('scores.json', 'w').write({json.dumps(scores[::-1])!r})"
    peer = dataclasses.replace(ROWS[0], arguments=lambda _: ["-c", program], is_tracked=False)
    measured = measure(peer, "shared", job(), tmp_path / "run", timeout=60)
    assert measured.error is None
    assert measured.accuracies == tuple(i / 10 for i in range(8))
    assert not (tmp_path / "run").exists()
