"""Trials that are paused at rungs, resumed, and evaluated at the end or not at all."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import mlflow
import pytest

from support.loops import Run, StartRun
from support.trials import MakeResult
from tuner.config.searches import AshaConfig, HyperbandConfig, SearchConfig
from tuner.outcomes import Outcome, RunTrial, TrialPause
from tuner.tracking import history, trial_epochs
from tuner.trial import Metrics, ReportEpoch, TrialRequest, whole

ASHA = AshaConfig("asha", max_trials=5, sampler="random", max_epochs=4, reduction_factor=2)
HYPERBAND = HyperbandConfig("hyperband", max_epochs=2, reduction_factor=2)
BOTH = pytest.mark.parametrize("search", [ASHA, HYPERBAND], ids=["asha", "hyperband"])

# The accuracy that each width gets to in the end; the first epochs tell little.
BEST = {1: 0.5, 2: 0.9, 3: 0.6, 4: 0.8, 5: 0.7}

Record = Mapping[str, Any]


def metrics_after(width: int, epoch: int) -> Metrics:
    return {"loss": 1 / epoch, "val_accuracy": round(BEST[width] * (1 - 0.5**epoch), 6)}


@dataclasses.dataclass
class Worker:
    """A worker whose trainings are a table, and that may be interrupted.

    Attributes:
        make_result: Gives a result its files.
        asked: Every trial that it was asked for, with its epochs and whether it pauses.
        interrupt_at: Number of the request in which Ctrl-C is pressed, from 0; None for none.
    """

    make_result: MakeResult
    asked: list[tuple[str, int, bool]] = dataclasses.field(default_factory=list)
    interrupt_at: int | None = None

    def __call__(self, request: TrialRequest, report: ReportEpoch) -> Outcome:
        is_last = len(self.asked) == self.interrupt_at
        self.asked.append((request.trial_id, request.epochs, request.pauses))
        width = whole(request.values["width"])
        epochs = [metrics_after(width, i + 1) for i in range(request.epochs)]
        for i, metrics in enumerate(epochs):
            report(request.trial_id, i + 1, metrics)
            if is_last:
                raise KeyboardInterrupt
        if request.pauses:
            return TrialPause(request.trial_id, tuple(epochs), 10, 1.0, 2.0, curve="c")
        made = self.make_result(request.trial_id)
        return dataclasses.replace(made, epochs=tuple(epochs))


Records = Callable[[], dict[str, Record]]


@pytest.fixture
def records(client: mlflow.MlflowClient) -> Records:
    """Return what MLflow holds of each trial that does not depend on the time."""

    def read() -> dict[str, Record]:
        found = {}
        for trial in history.trials(client, "1", "id-1"):
            tags = client.get_run(trial.run_id).data.tags
            assert trial.trial_id not in found, "a trial has two runs"
            found[trial.trial_id] = {
                "status": trial.status,
                "values": trial.values,
                "epochs": trial.num_epochs,
                "curve": trial_epochs.curve(client, trial, "val_accuracy"),
                "tested": "test_accuracy" in trial.metrics,
                "stopped": trial.stopped,
                "because": trial.stopped_because,
                "rung": tags["tuner.rung"],
                "bracket": tags["tuner.bracket"],
            }
        return found

    return read


def search_with(worker: RunTrial, start_run: StartRun, search: SearchConfig) -> Run:
    run = start_run(worker, search=search)
    run.loop.run()
    run.loop.finish()
    return run


@BOTH
def test_every_trial_has_one_run_with_the_epochs_of_its_rung(
    search: SearchConfig, start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    worker = Worker(make_result)
    run = search_with(worker, start_run, search)
    found = records()
    assert len(found) == run.oracle.num_trials
    most = max(search.epochs)
    for trial_id, record in found.items():
        reached = max(n for i, n, _ in worker.asked if i == trial_id)
        width = whole(record["values"]["width"])
        assert record["status"] == "FINISHED"
        assert record["values"]["epochs"] == most
        assert (record["epochs"], record["rung"]) == (reached, str(reached))
        curve = [metrics_after(width, i + 1)["val_accuracy"] for i in range(reached)]
        assert record["curve"] == pytest.approx(curve)
        assert record["stopped"] == (None if reached == most else "rung")
        assert record["because"].endswith("there") == (reached < most)
    assert {record["epochs"] for record in found.values()} == set(search.epochs)
    best = run.loop.best()
    assert best is not None
    assert best.score == max(record["curve"][-1] for record in found.values())


def test_paused_trial_is_scheduled_and_costs_no_evaluation(
    start_run: StartRun,
    make_result: MakeResult,
    client: mlflow.MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuner.driver.loop.NUM_BEST", 1)
    seen: list[str] = []
    worker = Worker(make_result)

    def watched(request: TrialRequest, report: ReportEpoch) -> Outcome:
        found = history.trials(client, "1", "id-1", trial_id="0000")
        seen.extend(trial.status for trial in found if request.trial_id != "0000")
        return worker(request, report)

    search_with(watched, start_run, ASHA)
    assert set(seen[:3]) == {"SCHEDULED"}
    tested = [i for i, _, pauses in worker.asked if not pauses]
    trials = history.trials(client, "1", "id-1")
    assert {t.trial_id for t in trials if "test_accuracy" in t.metrics} == set(tested)
    # The best one, and whatever has reached the last rung.
    assert 1 <= len(tested) < len(trials)


@pytest.mark.parametrize(
    ("search", "at"),
    [*((ASHA, at) for at in range(8)), *((HYPERBAND, at) for at in range(5))],
    ids=lambda given: getattr(given, "oracle", given),
)
def test_interrupted_search_ends_as_if_it_had_not_been(
    search: SearchConfig,
    at: int,
    start_run: StartRun,
    make_result: MakeResult,
    records: Records,
    client: mlflow.MlflowClient,
) -> None:
    undisturbed = Worker(make_result)
    interrupted = Worker(make_result, interrupt_at=at)
    with pytest.raises(KeyboardInterrupt):
        search_with(interrupted, start_run, search)
    assert all(record["status"] != "RUNNING" for record in records().values())
    run = search_with(undisturbed, start_run, search)
    asked = [*interrupted.asked[:-1], *undisturbed.asked]
    assert len(asked) == len(set(asked)), "a rung was trained twice"
    found = records()
    assert {record["status"] for record in found.values()} == {"FINISHED"}
    expected = EXPECTED.setdefault(search.oracle, found)
    assert found == expected
    assert run.oracle.num_told == len(found)


EXPECTED: dict[str, dict[str, Record]] = {}
"""What the first of the interrupted searches has recorded: all must be equal."""


def test_more_trials_resume_a_finished_search(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    worker = Worker(make_result)
    few = dataclasses.replace(ASHA, max_trials=3)
    search_with(worker, start_run, few)
    assert {record["status"] for record in records().values()} == {"FINISHED"}
    before = [asked for asked in worker.asked if asked[2]]
    search_with(worker, start_run, ASHA)
    after = {asked for asked in worker.asked if asked[2]}
    again = Worker(make_result)
    assert len(records()) == 5
    assert after >= set(before)
    search_with(again, start_run, ASHA)
    assert again.asked == []


def test_trial_that_gets_worse_is_not_the_best_any_more(
    start_run: StartRun, make_result: MakeResult
) -> None:
    def worse(request: TrialRequest, report: ReportEpoch) -> Outcome:
        score = 0.9 - 0.2 * request.epochs if request.epochs > 1 else 0.8
        score += whole(request.values["width"]) / 100
        pause = TrialPause(
            request.trial_id, ({"val_accuracy": score},) * request.epochs, 10, 1.0, 2.0
        )
        if request.pauses:
            return pause
        return dataclasses.replace(make_result(request.trial_id), epochs=pause.epochs)

    run = search_with(worse, start_run, ASHA)
    best = run.loop.best()
    assert best is not None
    assert best.score == max(run.oracle.scores.values())
    assert best.score > 0.8
