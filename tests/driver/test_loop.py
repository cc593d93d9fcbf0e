"""The driver's loop, with a worker that is a plain function and everything else real."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from support.clocks import SetClock
from support.loops import SCORES, StartRun, failing
from support.trials import MakeResult
from tuner.errors import ModelError, NoRoom, SearchFailed, StudyError
from tuner.executors import Beside
from tuner.executors.serial import SerialExecutor
from tuner.oracles.journal import JournaledOracle
from tuner.outcomes import Outcome
from tuner.registry.versions import Registry
from tuner.tracking.runs import Tracker
from tuner.trial import OnEpoch, TrialRequest

Statuses = dict[str, str]


@pytest.fixture
def statuses(client: mlflow.MlflowClient) -> Callable[[], Statuses]:
    """Read the state of every trial's run."""

    def read() -> Statuses:
        runs = client.search_runs(["1"], "tags.`tuner.kind` = 'trial'")
        return {run.data.tags["tuner.trial"]: run.info.status for run in runs}

    return read


def _raise_interrupt(*_: object) -> Outcome:
    raise KeyboardInterrupt


def forget_from(folder: Path, trial_id: str) -> None:
    """Leave a study as if killed after MLflow recorded a trial and before the oracle did."""
    journal = folder / "experiments" / "first" / "oracle.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    told = next(i for i, line in enumerate(lines) if f'"tell": "{trial_id}"' in line)
    journal.write_text("".join(lines[:told]))


def test_run_records_every_trial(
    start_run: StartRun, statuses: Callable[[], Statuses], tmp_path: Path
) -> None:
    run = start_run()
    run.loop.run()
    assert run.trained == [1, 2, 3, 4, 5]
    assert statuses() == {f"000{i}": "FINISHED" for i in range(5)}
    assert run.oracle.scores == {f"000{i}": SCORES[i + 1] for i in range(5)}
    assert list((tmp_path / "experiments" / "first" / "trials").iterdir()) == []


class GrowingExecutor(SerialExecutor):
    """Has room for two trials more once it has been waited for."""

    capacity = 1

    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        if self.capacity == 1:
            self.capacity = 3
            return []
        assert len(self._requests) <= self.capacity
        self.largest = max(getattr(self, "largest", 0), len(self._requests))
        return super().wait(on_epoch)


def test_run_uses_room_that_comes_later(
    start_run: StartRun, statuses: Callable[[], Statuses]
) -> None:
    run = start_run(make_executor=GrowingExecutor)
    run.loop.run()
    assert run.parts.executor.largest == 3  # type: ignore[attr-defined]
    assert run.parts.progress.capacity == 3
    assert statuses() == {f"000{i}": "FINISHED" for i in range(5)}


def test_best_is_the_earlier_of_two_that_tie(start_run: StartRun) -> None:
    run = start_run()
    run.loop.run()
    best = run.loop.best()
    assert best is not None
    assert (best.trial_id, best.score, best.values["width"]) == ("0001", 0.75, 2)
    assert "test_accuracy" in best.metrics


def test_time_is_recorded_by_what_it_was_spent_on(
    start_run: StartRun, client: mlflow.MlflowClient
) -> None:
    first = start_run(run_trial=_raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        first.loop.run()
    [run] = client.search_runs(["1"], "tags.`tuner.kind` = 'study'")
    before = run.data.metrics
    assert before["waiting_seconds"] > 0
    second = start_run()
    second.loop.run()
    second.loop.finish()
    times = client.get_run(run.info.run_id).data.metrics
    spent = [times[f"{name}_seconds"] for name in ("waiting", "recording", "proposing")]
    # The time of the first process is included.
    assert times["waiting_seconds"] > before["waiting_seconds"]
    assert sum(spent) <= times["seconds"] == times["worker_seconds"]


def test_best_without_a_trial_is_none(start_run: StartRun) -> None:
    assert start_run().loop.best() is None


def test_run_again_trains_nothing(start_run: StartRun) -> None:
    start_run().loop.run()
    again = start_run()
    again.loop.run()
    assert again.trained == []
    assert again.oracle.num_told == 5


def test_interrupt_kills_the_open_run_and_resume_goes_on(
    start_run: StartRun, statuses: Callable[[], Statuses]
) -> None:
    succeed, count = start_run().succeed, itertools.count()

    def interrupted(request: TrialRequest, on_epoch: OnEpoch) -> Outcome:
        if next(count) == 2:
            on_epoch(request.trial_id, 1, {"val_accuracy": 0.1})
            raise KeyboardInterrupt
        return succeed(request, on_epoch)

    with pytest.raises(KeyboardInterrupt):
        start_run(interrupted).loop.run()
    assert statuses() == {"0000": "FINISHED", "0001": "FINISHED", "0002": "KILLED"}

    second = start_run()
    second.loop.run()
    assert second.trained == [3, 4, 5]
    assert statuses() == {f"000{i}": "FINISHED" for i in range(5)}


def test_trial_recorded_but_not_told_is_not_trained_again(
    start_run: StartRun, tmp_path: Path
) -> None:
    first = start_run()
    first.loop.run()
    forget_from(tmp_path, "0004")
    second = start_run()
    second.loop.run()
    assert second.trained == []
    assert second.oracle.scores == first.oracle.scores


def test_trial_recorded_but_not_told_is_counted(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start_run().loop.run()
    forget_from(tmp_path, "0003")
    (last,) = client.search_runs(["1"], "tags.`tuner.trial` = '0004'")
    client.delete_run(last.info.run_id)
    second = start_run()
    caplog.clear()
    with caplog.at_level("INFO", "tuner.driver.progress"):
        second.loop.run()
    assert [line.split("  ")[0] for line in caplog.messages] == ["trial 0004 (5 of 5)"]


def test_curve_of_a_trial_recorded_but_not_told_is_as_good_as_the_trial(
    start_run: StartRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_checkpoint(request: TrialRequest, on_epoch: OnEpoch) -> Outcome:
        curve = Path(str(request.curve_dir))
        curve.mkdir(parents=True)
        (curve / "checkpoint").write_text(str(request.values["width"]))
        return good(request, on_epoch)

    good = start_run().succeed
    start_run(with_checkpoint).loop.run()
    forget_from(tmp_path, "0001")
    second = start_run()
    second.loop.run()
    monkeypatch.setattr("tuner.curves.store.NUM_BEST", 2)
    second.loop.finish()
    assert second.trained == []
    curves = tmp_path / "experiments" / "first" / "curves"
    assert {path.read_text() for path in curves.glob("*/checkpoint")} == {"2", "4"}


def test_trial_whose_run_was_deleted_is_not_the_best(
    start_run: StartRun, client: mlflow.MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    first = start_run()
    first.loop.run()
    client.delete_run(first.parts.tracker.run_of("0001"))
    second = start_run(log_models="best")
    second.loop.run()
    second.loop.finish()
    assert "deleted in MLflow, so none of them can be the best: 0001" in caplog.text
    best = second.loop.best()
    assert best is not None
    assert best.trial_id == "0003"
    assert second.trained == []


@pytest.mark.parametrize("told", [True, False])
def test_best_trial_is_recorded_though_the_process_was_killed_before(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    statuses: Callable[[], Statuses],
    monkeypatch: pytest.MonkeyPatch,
    told: bool,
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    first = start_run()
    # The best trial is the second: it is in MLflow by then, and the oracle knows or does not.
    where, what = (Tracker, "log_study") if told else (JournaledOracle, "tell")
    with monkeypatch.context() as patched:
        original = getattr(where, what)
        calls = itertools.count()
        patched.setattr(
            where,
            what,
            lambda *args: killed() if next(calls) >= 1 else original(*args),
        )
        with pytest.raises(KeyboardInterrupt):
            first.loop.run()
    assert statuses() == {"0000": "FINISHED", "0001": "FINISHED"}
    second = start_run()
    second.loop.run()
    second.loop.finish()
    assert second.trained == [3, 4, 5]
    run = client.get_run(second.parts.tracker.run_id)
    assert run.data.tags["tuner.best_trial"] == "0001"
    assert run.data.metrics["best_val_accuracy"] == 0.75


def test_failed_trials_do_not_stop_a_search(
    start_run: StartRun, statuses: Callable[[], Statuses]
) -> None:
    def every_second(request: TrialRequest, on_epoch: OnEpoch) -> Outcome:
        if int(request.values["width"]) % 2:
            return failing("infeasible")(request, on_epoch)
        return good(request, on_epoch)

    good = start_run().succeed
    run = start_run(every_second)
    run.loop.run()
    assert run.oracle.num_told == 5
    assert list(run.oracle.scores) == ["0001", "0003"]
    assert statuses() == {f"000{i}": "FINISHED" if i % 2 else "FAILED" for i in range(5)}


def test_three_failures_before_any_success_stop_the_search(
    start_run: StartRun, statuses: Callable[[], Statuses]
) -> None:
    run = start_run(failing("error", "ValueError: width must be even"))
    with pytest.raises(SearchFailed, match=r"first 3 trials failed.*width must be even"):
        run.loop.run()
    assert statuses() == {f"000{i}": "FAILED" for i in range(3)}


def test_three_failures_after_a_success_do_not(start_run: StartRun) -> None:
    good = start_run().succeed

    def only_first(request: TrialRequest, on_epoch: OnEpoch) -> Outcome:
        worker = good if request.values["width"] == 1 else failing("error")
        return worker(request, on_epoch)

    run = start_run(only_first)
    run.loop.run()
    assert run.oracle.num_told == 5


def test_fatal_failure_stops_at_once_and_is_tried_again(
    start_run: StartRun, statuses: Callable[[], Statuses]
) -> None:
    run = start_run(failing("fatal", "`model._target_=x` must return a model"))
    with pytest.raises(ModelError, match="must return a model"):
        run.loop.run()
    assert statuses() == {"0000": "FAILED"}
    mended = start_run()
    mended.loop.run()
    assert mended.trained == [1, 2, 3, 4, 5]
    assert set(statuses().values()) == {"FINISHED"}


def test_storage_failure_stops_the_search_and_the_trial_runs_again(
    start_run: StartRun, statuses: Callable[[], Statuses]
) -> None:
    run = start_run(failing("storage", "OSError: [Errno 28] No space left on device"))
    with pytest.raises(NoRoom, match=r"No space left on device.*Make room.*same command"):
        run.loop.run()
    assert statuses() == {"0000": "KILLED"}
    assert run.oracle.num_told == 0
    again = start_run()
    again.loop.run()
    assert again.trained == [1, 2, 3, 4, 5]
    assert set(statuses().values()) == {"FINISHED"}


def test_emptied_journal_is_found_out_by_the_record(
    start_run: StartRun, tmp_path: Path
) -> None:
    first = start_run()
    first.loop.run()
    (tmp_path / "experiments" / "first" / "oracle.jsonl").write_text("")
    second = start_run()
    second.loop.run()
    assert second.trained == []
    assert second.oracle.scores == first.oracle.scores


def test_record_of_other_values_is_refused(
    start_run: StartRun, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    first = start_run()
    tracker = first.parts.tracker
    tracker.open_trial("0000", {"epochs": 2, "batch_size": 32, "width": 99}, {})
    with pytest.raises(StudyError, match=r"0000.*other values.*oracle\.jsonl has been altered"):
        start_run().loop.run()


def test_best_models_alone_are_kept(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuner.driver.loop.NUM_BEST", 2)
    run = start_run(log_models="best")
    run.loop.run()
    logged = {m.source_run_id: Path(m.artifact_location) for m in _models(client)}
    # 0.5, 0.75, 0.75 and 0.625 were among the two best, or the first, when they ended.
    tracker = run.parts.tracker
    assert set(logged) == {tracker.run_of(f"000{i}") for i in (0, 1, 3)}
    run.loop.finish()
    kept = {m.source_run_id for m in _models(client)}
    assert kept == {tracker.run_of("0001"), tracker.run_of("0003")}
    assert {r for r, path in logged.items() if any(path.rglob("MLmodel"))} == kept


class BackwardExecutor(SerialExecutor):
    """Takes all trials of the space, and runs the last one first."""

    capacity = 5

    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        self._requests.rotate(1)
        return super().wait(on_epoch)


def test_best_trial_is_kept_though_it_ended_after_those_that_tie(
    start_run: StartRun, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("driver.loop", "curves.store"):
        monkeypatch.setattr(f"tuner.{module}.NUM_BEST", 1)
    directories: dict[str, Path] = {}
    run = start_run(make_executor=BackwardExecutor, log_models="best")
    begin = run.parts.curves.begin

    def begin_and_train(trial_id: str, *training: Any) -> Path:
        directories[trial_id] = begin(trial_id, *training)
        directories[trial_id].mkdir(parents=True)
        return directories[trial_id]

    monkeypatch.setattr(run.parts.curves, "begin", begin_and_train)
    run.loop.run()
    assert run.trained == [5, 4, 3, 2, 1]
    run.loop.finish()
    best = run.loop.best()
    assert best is not None
    assert best.trial_id == "0001"
    assert [m.source_run_id for m in _models(client)] == [best.run_id]
    assert [trial for trial, path in directories.items() if path.exists()] == ["0001"]


def test_models_in_use_are_kept(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    make_result: MakeResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuner.driver.loop.NUM_BEST", 2)
    run = start_run(log_models="best")
    run.loop.run()
    tracker = run.parts.tracker
    registered = Registry(client, "digits-classifier").register(tracker.run_of("0000"))
    tracker.open_trial("0001-refit", {"epochs": 2, "width": 2}, {"tuner.kind": "refit"})
    tracker.finish_trial(make_result("0001-refit"))
    run.loop.finish()
    kept = {m.source_run_id for m in _models(client)}
    assert kept == {tracker.run_of(trial) for trial in ("0000", "0001", "0003", "0001-refit")}
    files = Path(client.get_model_version_download_uri("digits-classifier", registered.version))
    assert any(files.rglob("MLmodel"))


def test_no_models_are_logged_if_none_are_wanted(
    start_run: StartRun, client: mlflow.MlflowClient
) -> None:
    run = start_run(log_models="none")
    run.loop.run()
    assert _models(client) == []


def _models(client: mlflow.MlflowClient) -> list[Any]:
    return list(client.search_logged_models(["1"]))


def test_no_trial_starts_after_the_deadline(start_run: StartRun) -> None:
    run = start_run(max_minutes=0.0)
    run.loop.run()
    assert run.trained == []


def test_trial_out_of_time_is_killed(
    start_run: StartRun, statuses: Callable[[], Statuses]
) -> None:
    clock = SetClock(1000.0)

    def stop(request: TrialRequest, on_epoch: OnEpoch) -> Outcome:
        assert request.deadline == 1000 + 2 * 60
        clock.time = request.deadline
        return failing("stopped")(request, on_epoch)

    run = start_run(stop, max_minutes=2.0, clock=clock)
    run.loop.run()
    assert statuses() == {"0000": "KILLED"}
    assert run.oracle.num_told == 0
