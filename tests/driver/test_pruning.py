"""Trials that a pruner ends: what is decided, recorded and told, and decided only once."""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from support import workers
from support.loops import Run, StartRun
from support.trials import MakeResult
from support.workers import CURVES
from tuner import names
from tuner.datasets import ImageData
from tuner.errors import SearchFailed
from tuner.executors import Executor, MakeRunTrial, Workplace
from tuner.executors.processes import ProcessExecutor
from tuner.outcomes import Outcome, RunTrial
from tuner.runtime import forkserver
from tuner.trial import Metrics, ReportEpoch, TrialRequest

MEDIAN = {"name": "median", "num_startup_trials": 2}

# Width 3 has 0.05 after its first epoch, and the median of 0.1 and 0.2 is 0.15. Width 4 has at
# best 0.3 after its second, and the median of 0.3 and 0.4 is 0.35. Width 5 keeps up.
PRUNED = {
    "0002": (
        "pruned",
        1,
        "its best val_accuracy, 0.0500, is worse than the median of 2 trials after that epoch",
    ),
    "0003": (
        "pruned",
        2,
        "its best val_accuracy, 0.3000, is worse than the median of 2 trials after that epoch",
    ),
}
EXPECTED = {f"000{i}": ("", 4, "") for i in (0, 1, 4)} | PRUNED


Start = Callable[..., Run]


@pytest.fixture
def follow(make_result: MakeResult) -> RunTrial:
    """A trial that follows the curve of its width, and has files."""

    def run_trial(request: TrialRequest, report: ReportEpoch) -> Outcome:
        made, files = workers.follow(request, report), make_result(request.trial_id).files
        return dataclasses.replace(made, files=files)

    return run_trial


@pytest.fixture
def start(start_run: StartRun, follow: RunTrial) -> Start:
    """Open a study of trials of four epochs, with a pruner."""

    def open_study(run_trial: RunTrial = follow, **options: Any) -> Run:
        return start_run(run_trial, **{"pruner": MEDIAN, "num_epochs": 4, **options})

    return open_study


def killed(follow: RunTrial, killed_in: str, epoch: int) -> RunTrial:
    """Return a trial that is interrupted once it has heard what follows an epoch."""

    def run_trial(request: TrialRequest, report: ReportEpoch) -> Outcome:
        def note(trial_id: str, number: int, metrics: Metrics, is_reused: bool = False) -> Any:
            why = report(trial_id, number, metrics, is_reused)
            if trial_id == killed_in and (why == "pruned" or number == epoch):
                raise KeyboardInterrupt
            return why

        return follow(request, note)

    return run_trial


def recorded(client: mlflow.MlflowClient) -> dict[str, tuple[str, int, str]]:
    """Return why each finished trial has ended, its number of epochs, and the reason."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = {}
    for run in client.search_runs(experiments, f"tags.`{names.KIND}` = 'trial'"):
        points = client.get_metric_history(run.info.run_id, "val_accuracy")
        assert [point.step for point in points] == list(range(1, len(points) + 1))
        assert run.info.status == "FINISHED"
        tags = run.data.tags
        found[tags[names.TRIAL]] = (
            tags[names.STOPPED],
            len(points),
            tags.get(names.STOPPED_BECAUSE, ""),
        )
    return found


def journal(run: Run) -> list[dict[str, Any]]:
    """Return what the journal holds, without the questions that had no answer."""
    lines = run.parts.folder.journal.read_text().splitlines()
    return [event for event in map(json.loads, lines) if event.get("ask", "") is not None]


def test_pruned_trials_end_with_their_epoch_and_say_why(
    start: Start, client: mlflow.MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    run = start()
    with caplog.at_level("INFO", "tuner.driver.progress"):
        run.loop.run()
    assert recorded(client) == EXPECTED
    for trial_id, (_, epoch, because) in PRUNED.items():
        events = [event for event in journal(run) if trial_id in event.values()]
        assert events[1:] == [
            {"prune": trial_id, "epoch": epoch, "because": because},
            {
                "tell": trial_id,
                "score": CURVES[int(trial_id) + 1][epoch - 1],
                "curve": list(CURVES[int(trial_id) + 1][:epoch]),
            },
        ]
        [line] = [m for m in caplog.messages if m.startswith(f"trial {trial_id} ")]
        assert f"  pruned after epoch {epoch} of 4: {because}  " in line
    best = run.loop.best()
    assert best is not None
    assert (best.trial_id, best.score) == ("0001", 0.8)


def test_pruned_trials_count_for_patience(start: Start) -> None:
    run = start(patience=2)
    run.loop.run()
    assert run.oracle.num_told == 4


@pytest.mark.parametrize(
    ("killed_in", "epoch"),
    [("0000", 2), ("0002", 1), ("0003", 1), ("0003", 2), ("0004", 3), ("0004", 4)],
)
def test_killed_study_prunes_the_same_trials_after_the_same_epochs(
    start: Start, follow: RunTrial, client: mlflow.MlflowClient, killed_in: str, epoch: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(killed(follow, killed_in, epoch)).loop.run()
    again = start()
    before = journal(again)
    again.loop.run()
    assert recorded(client) == EXPECTED
    assert journal(again)[: len(before)] == before
    assert [event["prune"] for event in journal(again) if "prune" in event] == list(PRUNED)


def test_decision_that_was_written_is_not_made_again(
    start: Start, follow: RunTrial, client: mlflow.MlflowClient
) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(killed(follow, "0003", 2)).loop.run()
    # Nothing would be pruned now.
    start(pruner=None).loop.run()
    assert recorded(client) == EXPECTED


def test_trial_that_is_recorded_but_not_told_is_told_with_its_curve(
    start: Start, client: mlflow.MlflowClient
) -> None:
    first = start()
    first.loop.run()
    told, path = journal(first), first.parts.folder.journal
    lines = path.read_text().splitlines(keepends=True)
    for trial_id in ("0004", "0003"):
        cut = next(i for i, event in enumerate(told) if event.get("tell") == trial_id)
        path.write_text("".join(lines[:cut]))
        again = start()
        again.loop.run()
        assert journal(again) == told
        assert again.oracle.curves == {k: list(v) for k, v in first.oracle.curves.items()}
    assert recorded(client) == EXPECTED


def test_lost_records_are_made_again_with_the_same_epochs(
    start: Start, client: mlflow.MlflowClient, follow: RunTrial
) -> None:
    first = start()
    first.loop.run()
    before = journal(first)
    for trial_id in ("0000", "0003"):
        run = client.get_run(first.parts.tracker.run_of(trial_id))
        shutil.rmtree(run.info.artifact_uri.removeprefix("file://"))
    asked: list[tuple[str, bool]] = []

    def noted(request: TrialRequest, report: ReportEpoch) -> Outcome:
        asked.append((request.trial_id, request.is_judged))
        return follow(request, report)

    again = start(noted, pruner={**MEDIAN, "name": "percentile", "percentile": 1})
    again.loop.run()
    assert asked == [("0000", False), ("0003", True)]
    assert recorded(client) == EXPECTED
    assert journal(again) == before


def test_epoch_that_an_earlier_process_has_passed_is_not_judged_again(
    start: Start, follow: RunTrial, client: mlflow.MlflowClient
) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(killed(follow, "0003", 3), pruner=None).loop.run()
    start().loop.run()
    # Its third epoch is better than the median, and the last one is not judged.
    assert recorded(client)["0003"] == ("", 4, "")


def test_executor_that_does_not_answer_in_time_ends_the_study(
    start: Start, follow: RunTrial
) -> None:
    def hasty(request: TrialRequest, report: ReportEpoch) -> Outcome:
        def note(*epoch: Any) -> None:
            report(*epoch)

        return follow(request, note)

    with pytest.raises(SearchFailed, match=r"0002 was pruned after epoch 1, but has 4.*can_pr"):
        start(hasty).loop.run()


@pytest.mark.parametrize("make", [workers.learning, workers.dying_when_pruned])
def test_worker_processes_end_trials_with_the_same_epochs(
    make: MakeRunTrial,
    start: Start,
    few_digits: ImageData,
    client: mlflow.MlflowClient,
    tmp_path: Path,
) -> None:
    def pool(_: Callable[[], RunTrial]) -> Executor:
        workplace = Workplace(make, few_digits, Path(os.devnull), tmp_path / "images")
        return ProcessExecutor(workplace, workers=1, retries=2)

    forkserver.begin_imports(["support.workers"])
    run = start(make_executor=pool, log_models="none")
    with contextlib.closing(run.parts.executor):
        run.loop.run()
    assert recorded(client) == EXPECTED
