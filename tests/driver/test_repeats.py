"""Trials that are trained several times: how they are scored, recorded, stopped and resumed."""

import dataclasses
import json
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import mlflow
import pytest

from support.clocks import SetClock
from support.loops import Run, StartRun
from support.trials import MakeResult
from tuner import names
from tuner.outcomes import Outcome, TrialFailure, TrialPause
from tuner.tracking import history, trial_epochs
from tuner.trial import Metrics, ReportEpoch, TrialRequest, repeat_seed, trial_seed, whole

REPEATS = 4

BASE = {1: 0.5, 2: 0.9, 3: 0.6, 4: 0.895, 5: 0.3}
"""What each width gets to, about."""

NOISE = {1: 0.0, 2: 0.01, 3: -0.02, 4: 0.014}
"""How far each repeat is from that."""

UNEVEN = {1: 1.2, 2: 1.0, 3: 0.8, 4: 1.5, 5: 1.1}
"""How much more of that each width has."""


def score(width: int, repeat: int) -> float:
    return round(BASE[width] + UNEVEN[width] * NOISE[repeat], 6)


def metrics_of(request: TrialRequest, epoch: int) -> Metrics:
    final = score(whole(request.values["width"]), request.repeat)
    return {"loss": 1 / epoch, "val_accuracy": round(final - 0.1 * (2 - epoch), 6)}


@dataclasses.dataclass
class Worker:
    """A worker whose trainings are a table, and that may be interrupted.

    Attributes:
        make_result: Gives a result its files.
        asked: Every request that it was given.
        interrupt_at: Number of the request in which Ctrl-C is pressed, from 0; None for none.
        stop_at: Numbers of the requests that are stopped after their first epoch, and why.
        before: Called before each request.
    """

    make_result: MakeResult
    asked: list[TrialRequest] = dataclasses.field(default_factory=list)
    interrupt_at: int | None = None
    stop_at: Mapping[int, str] = dataclasses.field(default_factory=dict)
    before: Callable[[TrialRequest], None] = lambda _: None

    def __call__(self, request: TrialRequest, report: ReportEpoch) -> Outcome:
        self.before(request)
        number = len(self.asked)
        self.asked.append(request)
        stopped = self.stop_at.get(number)
        epochs = []
        for epoch in (1, 2):
            epochs.append(metrics_of(request, epoch))
            report(request.trial_id, epoch, epochs[-1])
            if number == self.interrupt_at:
                raise KeyboardInterrupt
            if stopped is not None:
                break
        if request.pauses and stopped is None:
            return TrialPause(request.trial_id, tuple(epochs), 10, 1.0, 2.0, curve="c")
        made = self.make_result(request.trial_id)
        return dataclasses.replace(made, epochs=tuple(epochs), stopped=stopped)


def search_with(worker: Worker, start_run: StartRun, **options: Any) -> Run:
    run = start_run(worker, **{"repeats": REPEATS, **options})
    run.loop.run()
    run.loop.finish()
    return run


Record = Mapping[str, Any]
Records = Callable[[], dict[str, Record]]


@pytest.fixture
def records(client: mlflow.MlflowClient) -> Records:
    """Return what MLflow holds of each trial that does not depend on the time."""

    def read() -> dict[str, Record]:
        found = {}
        for trial in history.trials(client, "1", "id-1"):
            assert trial.trial_id not in found, "a trial has two runs"
            curves = {
                name: [(p.step, p.value) for p in client.get_metric_history(trial.run_id, name)]
                for name in trial.metrics
                if name.startswith("repeat_")
            }
            found[trial.trial_id] = {
                "status": trial.status,
                "score": trial.metrics.get("val_accuracy"),
                "curve": trial_epochs.curve(client, trial, "val_accuracy"),
                "repeats": trial.repeats,
                "curves": curves,
                "deviation": trial.metrics.get("std/val_accuracy"),
                "stopped": trial.stopped,
                "because": trial.stopped_because,
                "epochs": trial.num_epochs,
            }
        return found

    return read


def test_trial_is_scored_by_the_mean_of_its_repeats(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    worker = Worker(make_result)
    run = search_with(worker, start_run)
    found = records()
    assert len(found) == 5
    whole_ones = {i: r for i, r in found.items() if len(r["repeats"].finals) == REPEATS}
    # Widths 3 and 5 are clearly worse than width 2 is by then, and leave.
    assert sorted(whole_ones) == ["0000", "0001", "0003"]
    for number, trial_id in enumerate(found, 1):
        scores = found[trial_id]["repeats"].scores("val_accuracy")
        assert scores == [score(number, i + 1) for i in range(len(scores))]
        assert found[trial_id]["score"] == pytest.approx(statistics.fmean(scores))
        if len(scores) > 1:
            assert found[trial_id]["deviation"] == pytest.approx(statistics.stdev(scores))
        assert run.oracle.scores[trial_id] == pytest.approx(statistics.fmean(scores))
    best = run.loop.best()
    assert best is not None
    assert (best.trial_id, best.score) == ("0001", pytest.approx(0.901))


def test_each_repeat_has_its_curve_and_the_trial_that_of_the_first(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    search_with(Worker(make_result), start_run, max_trials=1)
    [found] = records().values()
    assert found["curve"] == pytest.approx([score(1, 1) - 0.1, score(1, 1)])
    for repeat in range(1, REPEATS + 1):
        points = found["curves"][names.of_repeat(repeat, "val_accuracy")]
        expected = [(1, score(1, repeat) - 0.1), (2, score(1, repeat))]
        assert points == [(step, pytest.approx(value)) for step, value in expected]
    assert found["epochs"] == 2


def test_model_is_that_of_the_repeat_nearest_to_the_mean(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    worker = Worker(make_result)
    search_with(worker, start_run, max_trials=1)
    evaluated = worker.asked[-1]
    # Their mean is 0.5012: nearest is the first, with 0.5.
    assert (evaluated.repeat, evaluated.pauses, len(worker.asked)) == (1, False, REPEATS + 1)
    assert evaluated.curve_dir == worker.asked[0].curve_dir
    [found] = records().values()
    assert found["repeats"].model == 1


def test_repeats_have_seeds_and_curves_of_their_own(
    start_run: StartRun, make_result: MakeResult
) -> None:
    worker = Worker(make_result)
    search_with(worker, start_run, max_trials=1, repeats=2, folds=2)
    trained = [request for request in worker.asked if request.pauses]
    assert [(r.repeat, r.fold) for r in trained] == [(1, 1), (2, 2), (3, 1), (4, 2)]
    values = trained[0].values
    assert [r.seed for r in trained] == [repeat_seed(0, values, i) for i in (1, 2, 3, 4)]
    assert trained[0].seed == trial_seed(0, values)
    assert len({r.curve_dir for r in trained}) == 4


def test_trial_leaves_when_it_is_clearly_worse(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    worker = Worker(make_result)
    run = search_with(worker, start_run)
    found = records()["0004"]
    assert found["stopped"] == "pruned"
    assert "is significantly worse than that of the best trial, 0.9010" in found["because"]
    assert run.oracle.pruned["0004"].repeat == len(found["repeats"].finals) == 1
    # The oracle is told its mean as that of any other trial.
    assert run.oracle.scores["0004"] == pytest.approx(0.3)


def test_wilcoxon_decides_where_it_is_asked_for(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    pruner = {"name": "wilcoxon", "p_threshold": 0.3}
    search_with(Worker(make_result), start_run, pruner=pruner)
    found = records()
    # Two repeats that are both worse have p = 0.25; the fourth trial's second is as good.
    assert [len(r["repeats"].finals) for r in found.values()] == [4, 4, 2, 3, 2]
    assert found["0004"]["because"] == (
        "after 2 repeats its mean val_accuracy, 0.3055, is significantly worse than that of "
        "the best trial (Wilcoxon's signed-rank test, p < 0.3)"
    )


@pytest.mark.parametrize("at", range(0, 15, 2))
def test_interrupted_search_ends_as_if_it_had_not_been(
    at: int, start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    interrupted = Worker(make_result, interrupt_at=at)
    with pytest.raises(KeyboardInterrupt):
        search_with(interrupted, start_run)
    assert all(record["status"] != "RUNNING" for record in records().values())
    search_with(Worker(make_result), start_run)
    found = records()
    assert {record["status"] for record in found.values()} == {"FINISHED"}
    assert found == EXPECTED.setdefault("records", found)


EXPECTED: dict[str, dict[str, Record]] = {}
"""What the first of the interrupted searches has recorded: all must be equal."""


def test_failed_repeat_fails_its_trial(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    worker = Worker(make_result)

    def run_trial(request: TrialRequest, report: ReportEpoch) -> Outcome:
        if request.repeat == 2 and request.trial_id == "0001":
            return TrialFailure(request.trial_id, "It diverged.", "Traceback", "infeasible")
        return worker(request, report)

    run = start_run(run_trial, repeats=REPEATS, max_trials=2)
    run.loop.run()
    assert [record["status"] for record in records().values()] == ["FINISHED", "FAILED"]
    assert run.oracle.num_told == 2


def test_stopped_trial_counts_the_repeats_that_it_has(
    start_run: StartRun, make_result: MakeResult, client: mlflow.MlflowClient, records: Records
) -> None:
    def before(request: TrialRequest) -> None:
        if request.repeat == 3:
            [trial] = history.trials(client, "1", "id-1")
            client.set_tag(trial.run_id, names.STOP, "true")

    # Its third repeat is stopped after an epoch, and counts for nothing.
    worker = Worker(make_result, before=before, stop_at={2: "user"})
    run = search_with(worker, start_run, max_trials=1)
    [found] = records().values()
    assert found["repeats"].scores("val_accuracy") == [score(1, 1), score(1, 2)]
    assert found["score"] == pytest.approx(0.506)
    assert (found["status"], found["stopped"]) == ("FINISHED", "user")
    assert run.loop.best() is not None


def test_trial_that_is_cut_in_its_first_repeat_has_what_it_has(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    worker = Worker(make_result, stop_at={0: "user"})
    search_with(worker, start_run, max_trials=1)
    [found] = records().values()
    assert (found["repeats"], found["score"]) == (None, pytest.approx(score(1, 1) - 0.1))


def test_trial_whose_time_is_up_ends_with_its_repeats(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    # Each repeat says that it took two seconds.
    search_with(Worker(make_result), start_run, max_trials=1, max_trial_minutes=3 / 60)
    [found] = records().values()
    assert (found["stopped"], len(found["repeats"].finals)) == ("time", 2)


def test_study_that_is_given_more_time_trains_the_other_repeats(
    start_run: StartRun, make_result: MakeResult, records: Records
) -> None:
    clock = SetClock()

    def pass_time(_: TrialRequest) -> None:
        clock.time += 20

    worker = Worker(make_result, before=pass_time)
    run = search_with(worker, start_run, max_trials=1, max_minutes=0.5, clock=clock)
    [found] = records().values()
    assert (found["stopped"], len(found["repeats"].finals)) == ("time", 2)
    assert run.oracle.num_told == 0
    run = search_with(Worker(make_result), start_run, max_trials=1)
    [found] = records().values()
    assert (found["stopped"], len(found["repeats"].finals)) == (None, REPEATS)
    assert found["score"] == pytest.approx(0.5012)
    assert run.oracle.num_told == 1


def test_journal_keeps_the_repeats(start_run: StartRun, make_result: MakeResult) -> None:
    run = search_with(Worker(make_result), start_run, max_trials=1)
    lines = run.parts.folder.journal.read_text().splitlines()
    [told] = [json.loads(line) for line in lines if "tell" in json.loads(line)]
    assert told["repeats"] == [score(1, i) for i in range(1, REPEATS + 1)]
