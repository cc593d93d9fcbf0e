"""A study that is told a larger budget is the study that had it at once."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
from conftest import command
from support.clocks import SetClock
from test_loop import StartRun, start_run  # noqa: F401
from test_search import runs

from tuner.driver.stopping import Stopping
from tuner.tracking import history
from tuner.trial import Objective

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
    """Return what is recorded of every trial, but for times and ids."""
    found = {}
    for run in runs(folder, "trial"):
        metrics = {
            name: value
            for name, value in run.data.metrics.items()
            if not any(part in name for part in NOT_RESULTS)
        }
        # What was trained is the same; whose checkpoint it began from depends on the order.
        reused = {"epochs_reused", "epochs_trained"}
        metrics = {name: value for name, value in metrics.items() if name not in reused}
        tags = run.data.tags
        found[tags["tuner.trial"]] = (run.info.status, run.data.params, metrics)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("search", ["random", "grid"])
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


def test_smaller_budget_leaves_open_trials_alone(
    start_run: StartRun,  # noqa: F811
) -> None:
    first = start_run()
    for _ in range(3):
        assert first.oracle.ask() is not None
    smaller = start_run(max_trials=2)
    smaller.loop.run()
    assert smaller.trained == [1, 2]
    larger = start_run()
    larger.loop.run()
    assert larger.trained == [3, 4, 5]


def test_time_that_was_used_up_can_be_given_more(
    start_run: StartRun,  # noqa: F811
) -> None:
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
    start_run: StartRun,  # noqa: F811
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
        stopping.note(score)
    assert (stopping.reason is None) == (expected is None)
    assert expected is None or expected in str(stopping.reason)
