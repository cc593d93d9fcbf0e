"""Worker processes: real ones, really killed."""

import contextlib
import dataclasses
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import workers
from support.commands import command, runs, start, wait_for
from support.paths import with_support
from support.processes import children, is_alive, wait_for_end
from support.studies import SMALL_GRID, FinishedStudy
from tuner.datasets import ImageData
from tuner.errors import SearchFailed
from tuner.executors import MakeRunTrial, Workplace
from tuner.executors.processes import ProcessExecutor
from tuner.outcomes import Outcome, TrialFailure, TrialResult
from tuner.runtime import forkserver
from tuner.trial import Metrics, OnEpoch, Stopped, TrialRequest, Values

NOWHERE = Path(os.devnull)


@pytest.fixture(autouse=True, scope="module")
def quick_starts() -> None:
    """Import once the modules that every worker here needs."""
    forkserver.begin_imports(["support.workers"])


@contextlib.contextmanager
def executor(
    make: MakeRunTrial, data: ImageData, workers: int = 2, retries: int = 2
) -> Iterator[ProcessExecutor]:
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images")
        made = ProcessExecutor(Workplace(make, data, NOWHERE, images), workers, retries)
        with contextlib.closing(made):
            assert images.exists()
            yield made
        assert not images.exists()


def request(trial_id: str, tmp_path: Path, **values: int | str) -> TrialRequest:
    return TrialRequest(trial_id, {"epochs": 2, **values}, 0, str(tmp_path))


def run_all(
    made: ProcessExecutor, requests: list[TrialRequest], on_epoch: OnEpoch = lambda *_: None
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for one in requests:
        made.submit(one)
    while len(outcomes) < len(requests):
        for outcome in made.wait(on_epoch):
            assert outcome.trial_id not in outcomes
            outcomes[outcome.trial_id] = outcome
    return outcomes


def test_trials_run_in_other_processes_on_mapped_images(
    few_digits: ImageData, tmp_path: Path
) -> None:
    with executor(workers.counting, few_digits) as made:
        outcomes = run_all(made, [request(f"000{i}", tmp_path) for i in range(6)])
    for outcome in outcomes.values():
        assert isinstance(outcome, TrialResult)
        assert outcome.epochs[0]["val_accuracy"] == few_digits.train.images.mean()
        assert outcome.num_parameters != os.getpid()


def test_epochs_arrive_before_the_outcome(few_digits: ImageData, tmp_path: Path) -> None:
    seen: list[tuple[str, int, Metrics]] = []
    with executor(workers.counting, few_digits, workers=1) as made:
        made.submit(request("0000", tmp_path))
        made.wait(lambda trial_id, epoch, metrics, _: seen.append((trial_id, epoch, metrics)))
    assert seen == [("0000", 1, {"loss": 0.5}), ("0000", 2, {"loss": 1.0})]


def test_free_worker_that_has_the_program_is_preferred(
    few_digits: ImageData, tmp_path: Path
) -> None:
    with executor(workers.counting, few_digits) as made:
        pids = {}
        for i, width in enumerate([8, 16, 16, 8, 16, 8]):
            values: Values = {"width": width, "learning_rate": i / 10}
            if i == 1:
                # Both are busy for a moment, so that either gets one of the widths.
                made.submit(request("first", tmp_path, width=8))
                made.submit(request("second", tmp_path, width=16))
                while len(pids) < 2:
                    for outcome in made.wait(lambda *_: None):
                        assert isinstance(outcome, TrialResult)
                        pids[{"first": 8, "second": 16}[outcome.trial_id]] = (
                            outcome.num_parameters
                        )
            if i > 1:
                [outcome] = run_all(
                    made, [TrialRequest(f"{i}", {"epochs": i, **values}, 0, str(tmp_path))]
                ).values()
                assert isinstance(outcome, TrialResult)
                assert outcome.num_parameters == pids[width]
    assert pids[8] != pids[16]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV", "exit"])
def test_trial_of_a_dead_worker_is_tried_again(
    how: str, few_digits: ImageData, tmp_path: Path
) -> None:
    with executor(workers.dying, few_digits) as made:
        requests = [request(f"000{i}", tmp_path, deaths=i % 3, how=how) for i in range(4)]
        outcomes = run_all(made, requests)
    assert all(isinstance(outcome, TrialResult) for outcome in outcomes.values())


def test_trial_that_always_kills_its_worker_fails(
    few_digits: ImageData, tmp_path: Path
) -> None:
    with executor(workers.dying, few_digits, retries=1) as made:
        requests = [
            request("0000", tmp_path, deaths=9, how="SIGKILL"),
            request("0001", tmp_path, deaths=0, how="SIGKILL"),
        ]
        outcomes = run_all(made, requests)
    failure = outcomes["0000"]
    assert isinstance(failure, TrialFailure)
    assert failure.error == (
        "The worker process was killed by SIGKILL (2 attempts; executor.retries=1)."
    )
    assert isinstance(outcomes["0001"], TrialResult)


def test_trial_given_to_a_worker_that_never_starts_fails(
    few_digits: ImageData, tmp_path: Path
) -> None:
    with executor(workers.never_starting, few_digits, workers=1, retries=0) as made:
        outcomes = run_all(made, [request("0000", tmp_path)])
    assert isinstance(outcomes["0000"], TrialFailure)
    assert "ended with exit status 4" in outcomes["0000"].error


def test_idle_workers_that_never_start_end_the_search(few_digits: ImageData) -> None:
    with (
        executor(workers.never_starting, few_digits) as made,
        pytest.raises(SearchFailed, match="ended with exit status 4 before it could run"),
    ):
        made.wait(lambda *_: None)


def test_outcome_of_a_worker_that_died_after_it_is_kept(
    few_digits: ImageData, tmp_path: Path
) -> None:
    with executor(workers.dying_after, few_digits, workers=1) as made:
        made.submit(request("0000", tmp_path))
        # Outcome and end of the pipe are both there when the driver looks.
        [pid] = made.pids
        wait_for_end(pid)
        [outcome] = made.wait(lambda *_: None)
    assert isinstance(outcome, TrialResult)


def test_trial_that_is_judged_trains_no_epoch_before_its_answer(
    few_digits: ImageData, tmp_path: Path
) -> None:
    judged = [
        dataclasses.replace(request(f"000{i}", tmp_path, epochs=4, width=5), is_judged=True)
        for i in range(3)
    ]
    seen: list[tuple[str, int]] = []

    def judge(trial_id: str, epoch: int, *_: object) -> Stopped | None:
        seen.append((trial_id, epoch))
        if (trial_id, epoch) == ("0001", 1):
            # It is heard with the answer.
            made.stop("0001", "user")
        return "pruned" if (trial_id, epoch) == ("0002", 3) else None

    with executor(workers.learning, few_digits, workers=2) as made:
        outcomes = run_all(made, judged, judge)
    ended = {"0000": (None, 4), "0001": ("user", 1), "0002": ("pruned", 3)}
    for trial_id, (why, num_epochs) in ended.items():
        outcome = outcomes[trial_id]
        assert isinstance(outcome, TrialResult)
        assert (outcome.stopped, len(outcome.epochs)) == (why, num_epochs)
        assert [e for i, e in seen if i == trial_id] == list(range(1, num_epochs + 1))


def test_worker_that_grows_is_replaced_between_trials(
    few_digits: ImageData, tmp_path: Path
) -> None:
    with executor(workers.growing, few_digits, workers=1) as made:
        requests = [request(f"{i:04d}", tmp_path) for i in range(50)]
        outcomes = run_all(made, requests)
        assert made.capacity == 1
    pids = [outcomes[r.trial_id].num_parameters for r in requests]  # type: ignore[union-attr]
    # Each lives through ten trials at least, and few more.
    lives = [len(list(group)) for _, group in itertools.groupby(pids)]
    assert len(lives) > 2
    assert all(11 <= life <= 20 for life in lives[:-1])


def test_error_while_a_worker_starts_is_raised(few_digits: ImageData, tmp_path: Path) -> None:
    with executor(workers.raising, few_digits) as made:
        made.submit(request("0000", tmp_path))
        with pytest.raises(ImportError, match="no such library"):
            made.wait(lambda *_: None)


def test_close_ends_the_workers_and_removes_the_files(
    few_digits: ImageData, tmp_path: Path
) -> None:
    with executor(workers.sleeping, few_digits, workers=1) as made:
        [pid] = made.pids

        def note(trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False) -> None:
            assert metrics["pid"] == pid
            raise KeyboardInterrupt

        made.submit(request("0000", tmp_path))
        with pytest.raises(KeyboardInterrupt):
            made.wait(note)
    assert not is_alive(pid)


DRIVER = """
import sys, pathlib
from support import workers
from tuner.config.schema import DataConfig
from tuner.datasets import images
from tuner.executors import Workplace
from tuner.executors.processes import ProcessExecutor
from tuner.trial import TrialRequest

if __name__ == "__main__":
    data = images.load(DataConfig("tuner.datasets.digits.load", "digits"), 0)
    workplace = Workplace(
        workers.sleeping, data, pathlib.Path("/dev/null"), pathlib.Path("images")
    )
    executor = ProcessExecutor(workplace, 1, 0)
    executor.submit(TrialRequest("0000", {"epochs": 1}, 0, "."))
    executor.wait(lambda trial_id, epoch, metrics, _: print(int(metrics["pid"]), flush=True))
"""


def test_workers_end_when_they_find_the_driver_dead(tmp_path: Path) -> None:
    """An idle worker of a killed driver ends at once: its pipe is closed."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.replace("sleeping", "counting").replace('metrics["pid"]', "1"))
    script.write_text(
        script.read_text() + "    print(executor.pids[0], flush=True)\n    input()\n"
    )
    environment = with_support()
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    ) as driver:
        assert driver.stdout is not None
        *_, pid = [driver.stdout.readline() for _ in range(3)]
        assert is_alive(int(pid))
        driver.kill()
    wait_for_end(int(pid))


# The whole search.


@pytest.mark.slow
def test_results_do_not_depend_on_where_trials_run(
    finished_study: FinishedStudy, tmp_path: Path
) -> None:
    overrides = [o for o in SMALL_GRID if not o.startswith("executor")]
    done = command(tmp_path, "search", *overrides, "executor=serial")
    assert done.returncode == 0, done.stderr

    def metrics(folder: Path) -> list[tuple[dict[str, str], list[float]]]:
        names = ("loss", "accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy")
        return [
            (run.data.params, [run.data.metrics[name] for name in names])
            for run in runs(folder, "trial")
        ]

    # Bit for bit, since the same work is done with the same number of threads.
    assert metrics(tmp_path) == metrics(finished_study.folder)


@pytest.mark.slow
def test_search_survives_a_killed_worker(tmp_path: Path) -> None:
    log = tmp_path / "experiments" / "killed" / "tune.log"
    space = ["space.epochs=300", "space.layers=1", "space.units=[8,9]"]
    with start(
        tmp_path, "study=killed", "search=grid", *space, "executor.workers=2"
    ) as process:
        wait_for(log, "trial 0001 epoch 2/300")
        [server] = [
            pid
            for pid in children(process.pid)
            if "forkserver" in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        # The first is the oracle's.
        _, *workers = children(server)
        assert len(workers) == 2
        os.kill(workers[1], 9)
        printed, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert "its worker process was killed by SIGKILL; retry 1 of 2" in printed
    trials = runs(tmp_path, "trial")
    assert [run.info.status for run in trials] == ["FINISHED", "FINISHED"]
    assert not any(is_alive(pid) for pid in workers)
