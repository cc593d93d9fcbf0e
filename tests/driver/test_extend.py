"""A study that gets a larger budget equals one that had it from the start."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest

from support.clocks import SetClock
from support.commands import command, runs
from support.loops import StartRun
from tuner.config.searches import (
    BayesianConfig,
    CmaEsConfig,
    GridConfig,
    HyperbandConfig,
    QmcConfig,
    RandomConfig,
    SearchConfig,
    TpeConfig,
)
from tuner.config.space import Space
from tuner.driver.stopping import Stopping
from tuner.oracles.journal import JournaledOracle
from tuner.outcomes import Told
from tuner.tracking import history
from tuner.trial import Objective, Proposal, Values, whole

QUICK = (
    "data=digits",
    "executor=processes",
    "executor.workers=2",
    "space.epochs={min: 1, max: 3}",
    "space.layers=1",
    "space.units=[8,16,24,32]",
    "space.batch_size=64",
    "registry.name=null",
)
NOT_RESULTS = ("seconds", "latency")


def records(folder: Path) -> dict[str, Any]:
    """Return all that is recorded of every trial, except times and ids."""
    found = {}
    for run in runs(folder, "trial"):
        metrics = {
            name: value
            for name, value in run.data.metrics.items()
            if not any(part in name for part in NOT_RESULTS)
        }
        # The training is the same; which checkpoint it started from depends on the order.
        reused = {"epochs_reused", "epochs_trained"}
        metrics = {name: value for name, value in metrics.items() if name not in reused}
        tags = run.data.tags
        found[tags["tuner.trial"]] = (run.info.status, run.data.params, metrics)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("search", ["random", pytest.param("grid", marks=pytest.mark.long)])
def test_search_told_more_trials_equals_the_one_that_had_them_at_once(
    search: str, tmp_path: Path
) -> None:
    given = [*QUICK, f"search={search}", "study=first"]
    for name, budgets in (("at once", (6,)), ("extended", (2, 6))):
        folder = tmp_path / name
        folder.mkdir()
        for budget in budgets:
            done = command(folder, "search", *given, f"search.max_trials={budget}")
            assert done.returncode == 0, done.stderr
        assert f"Best of {budgets[-1]} trials" in done.stdout
    assert "It was finished, and is resumed with search.max_trials=6 (was 2)." in done.stdout
    assert records(tmp_path / "extended") == records(tmp_path / "at once")
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    [study] = runs(folder, "study")
    [extension] = history.read_study(client.get_run(study.info.run_id)).extensions
    assert extension["trials"] == 2
    assert extension["changes"] == {"search.max_trials": [2, 6]}
    state = json.loads((folder / "experiments" / "first" / "study.json").read_text())
    assert state["extensions"] == [extension]
    # A smaller budget has nothing left to train.
    again = command(folder, "search", *given, "search.max_trials=3")
    assert again.returncode == 0, again.stderr
    assert "Best of 6 trials" in again.stdout
    assert len(records(folder)) == 6


def test_smaller_budget_leaves_open_trials_alone(start_run: StartRun) -> None:
    first = start_run()
    for _ in range(3):
        assert first.oracle.ask() is not None
    smaller = start_run(max_trials=2)
    smaller.loop.run()
    assert smaller.trained == [1, 2]
    larger = start_run()
    larger.loop.run()
    assert larger.trained == [3, 4, 5]


def test_time_that_was_used_up_can_be_given_more(start_run: StartRun) -> None:
    clock = SetClock()
    over = start_run(max_minutes=0.0, clock=clock)
    over.loop.run()
    assert over.trained == []
    longer = start_run(max_minutes=1.0, clock=clock)
    longer.loop.run()
    assert longer.trained == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("patience", "target", "expected"),
    [
        # The scores are 0.5, 0.75, 0.25, 0.75, 0.625.
        (None, 0.75, [1, 2]),
        (None, 0.7, [1, 2]),
        (None, 0.9, [1, 2, 3, 4, 5]),
        (1, None, [1, 2, 3]),
        (2, None, [1, 2, 3, 4]),
        (2, 0.4, [1]),
    ],
)
def test_search_ends_with_patience_or_target(
    patience: int | None,
    target: float | None,
    expected: list[int],
    start_run: StartRun,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = start_run(patience=patience, target=target)
    with caplog.at_level("INFO"):
        run.loop.run()
    assert run.trained == expected
    assert ("No more trials start" in caplog.text) == (len(expected) < 5)
    # Resumed, it is over as before; without the limits it is not.
    again = start_run(patience=patience, target=target)
    again.loop.run()
    assert again.trained == []
    rest = start_run()
    rest.loop.run()
    assert rest.trained == [width for width in (1, 2, 3, 4, 5) if width not in expected]


@pytest.mark.parametrize(
    ("direction", "target", "scores", "expected"),
    [
        ("min", 0.5, [0.6, 0.5], "reached search.target=0.5"),
        ("min", 0.5, [0.6, 0.51], None),
        ("max", 0.5, [0.4, 0.6], "reached search.target=0.5"),
    ],
)
def test_target_is_reached_in_its_direction(
    direction: Any, target: float, scores: list[float], expected: str | None
) -> None:
    stopping = Stopping(Objective("val_x", direction), None, target)
    for score in scores:
        assert stopping.reason is None
        stopping.note(str(score), score)
    assert (stopping.reason is None) == (expected is None)
    assert expected is None or expected in str(stopping.reason)


# Another search of the same study.

OBJECTIVE = Objective("val_accuracy", "max")
FIRST = {"epochs": [1, 2], "batch_size": 8, "width": [1, 2, 3]}
WIDER = {"epochs": [1, 2], "batch_size": 8, "width": [1, 2, 3, 4]}
OTHER = {"epochs": [2, 3], "batch_size": 8, "width": [3, 4, 5]}
RANDOM = RandomConfig("random", max_trials=4)
GRID = GridConfig("grid")
GUIDED = BayesianConfig("bayesian", max_trials=9, num_initial_points=3)
HYPERBAND = HyperbandConfig("hyperband", max_epochs=3, reduction_factor=3)
TPE = TpeConfig("tpe", max_trials=9, num_initial_points=3)
CMAES = CmaEsConfig("cmaes", max_trials=40)
QMC = QmcConfig("qmc", max_trials=4)


def opened(
    folder: Path,
    search: SearchConfig,
    space: dict[str, Any],
    number: int,
    first: Sequence[Values] = (),
) -> JournaledOracle:
    parsed = Space.parse(space, "my.build")
    if search.sets_epochs:
        parsed = parsed.without("epochs")
    earlier = [folder / f"{i}.jsonl" for i in range(number)]
    journal = folder / f"{number}.jsonl"
    return JournaledOracle(search, parsed, OBJECTIVE, 0, journal, earlier, first)


def score_of(values: Values) -> float:
    return (whole(values["width"]) * 3 + whole(values["epochs"])) / 100


def run_to_end(oracle: JournaledOracle) -> list[Proposal]:
    proposals = []
    while (proposal := oracle.ask()) is not None:
        proposals.append(proposal)
        oracle.tell(proposal.trial_id, Told(score_of(proposal.values)))
        assert len(proposals) < 100
    return proposals


@pytest.mark.parametrize(
    "search",
    [RANDOM, GRID, GUIDED, TPE, CMAES, QMC, dataclasses.replace(HYPERBAND, max_epochs=9)],
    ids=lambda search: search.oracle,
)
def test_proposals_do_not_depend_on_the_budget(search: SearchConfig, tmp_path: Path) -> None:
    space = {**FIRST, "width": {"min": 1, "max": 12}}
    small, large = (dataclasses.replace(search, max_trials=n) for n in (5, 10))
    for name in ("extended", "at once"):
        (tmp_path / name).mkdir()
    first = run_to_end(opened(tmp_path / "extended", small, space, 0))
    extended = [*first, *run_to_end(opened(tmp_path / "extended", large, space, 0))]
    assert extended == run_to_end(opened(tmp_path / "at once", large, space, 0))
    # A trial may be proposed more than once: where it is paused, it is resumed.
    counts = [len({p.trial_id for p in proposals}) for proposals in (first, extended)]
    assert counts == [5, 10]
    journals = [tmp_path / name / "0.jsonl" for name in ("extended", "at once")]
    assert journals[0].read_text() == journals[1].read_text()


@pytest.mark.parametrize(
    ("first", "second", "space"),
    [
        (RANDOM, GRID, FIRST),
        (RANDOM, GRID, WIDER),
        (RANDOM, GRID, OTHER),
        (GRID, GRID, WIDER),
        (RANDOM, RandomConfig("random", max_trials=9), WIDER),
        (RANDOM, GUIDED, WIDER),
        (GUIDED, GUIDED, OTHER),
        (GRID, HYPERBAND, WIDER),
        (HYPERBAND, GRID, WIDER),
        (HYPERBAND, HYPERBAND, WIDER),
        (GRID, TPE, OTHER),
        (TPE, GRID, WIDER),
        (HYPERBAND, TPE, WIDER),
        (QMC, CMAES, WIDER),
        (CMAES, QMC, OTHER),
    ],
    ids=lambda given: getattr(given, "oracle", None),
)
def test_extended_search_trains_no_point_twice(
    first: SearchConfig, second: SearchConfig, space: dict[str, Any], tmp_path: Path
) -> None:
    before = run_to_end(opened(tmp_path, first, FIRST, 0))
    extended = opened(tmp_path, second, space, 1)
    assert extended.num_told == len({p.trial_id for p in before})
    assert extended.values == {p.trial_id: p.values for p in before}
    new = run_to_end(extended)
    proposed = {proposal.trial_id: proposal.values for proposal in (*before, *new)}
    ids = list(proposed)
    assert ids == [f"{i:04d}" for i in range(len(ids))]
    if not (first.sets_epochs and second.sets_epochs):
        # What a search has left paused is no result of its values, and may be tried again.
        paused = opened(tmp_path, first, FIRST, 0).paused
        tried = [json.dumps(v, sort_keys=True) for i, v in proposed.items() if i not in paused]
        assert len(set(tried)) == len(tried)
    if second is GRID:
        everything = {json.dumps(p.values, sort_keys=True) for p in (*before, *new)}
        points = Space.parse(space, "my.build")
        inside = [v for v in map(json.loads, everything) if points.holds(v)]
        assert len(inside) == points.size()
        assert extended.num_trials == len(ids)
    # A new process finds the same.
    again = opened(tmp_path, second, space, 1)
    assert (again.values, again.tags) == (extended.values, extended.tags)
    assert (again.scores, again.num_told) == (extended.scores, extended.num_told)
    assert again.ask() is None


STARTS = tuple({"epochs": 2, "batch_size": 8, "width": width} for width in (3, 1))


@pytest.mark.parametrize(
    "search",
    [RANDOM, GRID, GUIDED, HYPERBAND, TPE, CMAES, QMC],
    ids=lambda search: search.oracle,
)
@pytest.mark.parametrize("fails", [False, True])
def test_starting_points_come_first_and_are_not_tried_again(
    search: SearchConfig, fails: bool, tmp_path: Path
) -> None:
    oracle = opened(tmp_path, search, FIRST, 0, STARTS)
    # All that can start while no trial has ended, as with several workers.
    open_trials = [oracle.ask() for _ in range(4)]
    assert [p.values for p in open_trials[:2] if p is not None] == list(STARTS)
    again = opened(tmp_path, search, FIRST, 0, STARTS[:1])
    assert [again.ask() for _ in range(4)] == open_trials
    for number, proposal in enumerate(filter(None, open_trials)):
        failed = fails and number == 1
        again.tell(proposal.trial_id, Told(None if failed else score_of(proposal.values)))
    rest = run_to_end(again)
    tried = [p.values for p in (*filter(None, open_trials), *rest)]
    texts = [json.dumps(values, sort_keys=True) for values in tried]
    if search is not HYPERBAND:
        # A point that failed may be tried again.
        assert len(texts) - len(set(texts)) <= fails
    if search is GRID:
        assert len(set(texts)) == Space.parse(FIRST, "my.build").size()
        assert again.num_trials == 6
    last = opened(tmp_path, search, FIRST, 0)
    assert (last.values, last.scores) == (again.values, again.scores)
    assert last.ask() is None


@pytest.mark.parametrize("search", [GUIDED, TPE, CMAES], ids=lambda search: search.oracle)
def test_extended_search_learns_from_earlier_results(
    search: SearchConfig, tmp_path: Path
) -> None:
    """With results in its space it has no random start, and begins at what they say."""
    first = {**FIRST, "width": [1, 2, 3, 4, 5, 6]}
    before = run_to_end(opened(tmp_path, GRID, first, 0))
    space = {**FIRST, "width": {"min": 1, "max": 40}}
    search = dataclasses.replace(search, max_trials=20)
    guided = opened(tmp_path, search, space, 1).ask()
    (tmp_path / "0.jsonl").unlink()
    (tmp_path / "1.jsonl").unlink()
    fresh = opened(tmp_path, search, space, 0).ask()
    assert guided is not None
    assert fresh is not None
    assert guided.trial_id == f"{len(before):04d}"
    assert guided.values != fresh.values


def test_hyperband_continues_the_trial_that_it_means(tmp_path: Path) -> None:
    run_to_end(opened(tmp_path, GRID, {"epochs": 1, "batch_size": 8, "width": [1, 2]}, 0))
    oracle = opened(
        tmp_path, HYPERBAND, {"epochs": 1, "batch_size": 8, "width": [1, 2, 3, 4]}, 1
    )
    proposals = run_to_end(oracle)
    resumed = [p for p in proposals if p.rung is None and p.tags["tuner.bracket"] == "1"]
    assert resumed
    for proposal in resumed:
        before = next(p for p in proposals if p.trial_id == proposal.trial_id)
        assert (before.values, before.rung) == (proposal.values, 1)


@pytest.mark.long
def test_study_is_extended_by_another_space_and_another_oracle(tmp_path: Path) -> None:
    common = [argument for argument in QUICK if not argument.startswith("space.epochs")]
    given = [*common, "study=first", "space.epochs=[1,2]"]
    first = command(tmp_path, "search", *given, "search=grid", "space.units=[8,16]")
    assert first.returncode == 0, first.stderr
    wider = [*given, "search=grid", "space.units=[8,16,24]"]
    refused = command(tmp_path, "search", *wider)
    assert refused.returncode == 2
    assert "space.units: was [8, 16], now [8, 16, 24]" in refused.stderr
    assert "extend=true" in refused.stderr
    extended = command(tmp_path, "search", *wider, "extend=true")
    assert extended.returncode == 0, extended.stderr
    assert "Best of 6 trials" in extended.stdout
    other = command(
        tmp_path, "search", *given, "search=bayesian", "search.max_trials=8",
        "space.units={min: 8, max: 64, step: 8}", "extend=true",
    )  # fmt: skip
    assert other.returncode == 0, other.stderr
    assert "Best of 8 trials" in other.stdout
    assert "All trials of this search" not in other.stdout
    trials = runs(tmp_path, "trial")
    assert [run.info.status for run in trials] == ["FINISHED"] * 8
    assert len({json.dumps(run.data.params, sort_keys=True) for run in trials}) == 8
    # Without `extend` the study keeps its latest settings.
    same = command(
        tmp_path, "search", *given, "search=bayesian", "search.max_trials=8",
        "space.units={min: 8, max: 64, step: 8}",
    )  # fmt: skip
    assert same.returncode == 0, same.stderr
    assert "there is nothing left to train" in same.stdout
    state = json.loads((tmp_path / "experiments" / "first" / "study.json").read_text())
    assert [extension["trials"] for extension in state["extensions"]] == [4, 6]
    assert state["searches"] == 2
