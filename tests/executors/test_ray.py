"""Trials on Ray: real clusters of several nodes on this machine, really killed.

Each node is a raylet of its own; the head, where the driver is, has no room for trials.
"""

import contextlib
import dataclasses
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before Ray is imported anywhere: it listens on 127.0.0.1 alone, and tells nobody.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import pytest

from support import workers
from support.commands import command, runs, start, wait_for
from support.networks import VALUES
from support.processes import descendants, is_alive
from tuner.config.executors import RayConfig
from tuner.datasets import ImageData
from tuner.errors import ConfigError, SearchFailed, UnavailableError
from tuner.executors import MakeRunTrial, Workplace, cluster, make_run_trial
from tuner.executors.ray_executor import RayExecutor
from tuner.outcomes import Outcome, TrialFailure, TrialResult
from tuner.trial import Metrics, Objective, Stopped, TrialRequest, WorkerSetup

MODEL = "support.workers.counting"
"""No model: it has this module sent to the nodes, where the tests' own workers are needed."""

SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""A dead node is found dead in seconds, where Ray's default is half a minute."""


class Nodes:
    """A head without room, and nodes with room for one trial each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "node_ip_address": "127.0.0.1",
                "include_dashboard": False,
                "_system_config": SOON,
            },
        )
        self.address: str = self._cluster.address
        self._nodes: list[Any] = []

    def have(self, number: int) -> None:
        """Start nodes until there are that many."""
        while len(self._nodes) < number:
            node = self._cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
            self._nodes.append(node)

    def kill_one(self) -> None:
        """Kill a raylet, as if its machine died; its workers die with it."""
        [raylet] = self._nodes.pop(0).all_processes["raylet"]
        raylet.process.kill()

    def workers(self) -> list[int]:
        """Return the ids of the processes that run trials on the nodes."""
        raylets = [node.all_processes["raylet"][0].process.pid for node in self._nodes]
        return [
            pid
            for raylet in raylets
            for pid, name in descendants(raylet).items()
            if "ray::RayWorker" in name
        ]

    def kill_head(self) -> None:
        [server] = self._cluster.head_node.all_processes["gcs_server"]
        server.process.kill()
        server.process.wait()

    def close(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def started_nodes() -> Iterator[Nodes]:
    try:
        nodes = Nodes()
    except Exception as error:
        pytest.skip(f"Ray cannot start here: {error}")
    with contextlib.closing(nodes):
        yield nodes


@pytest.fixture
def nodes(started_nodes: Nodes) -> Nodes:
    """Two nodes, even if the previous test has killed some."""
    started_nodes.have(2)
    return started_nodes


@contextlib.contextmanager
def executor(
    make: MakeRunTrial, data: ImageData, nodes: Nodes, **options: Any
) -> Iterator[RayExecutor]:
    config = RayConfig("ray", address=nodes.address, **options)
    cluster.connect(config, MODEL)
    workplace = Workplace(make, data, Path(os.devnull), Path("images"))
    with contextlib.closing(RayExecutor(config, workplace)) as made:
        yield made


def request(trial_id: str, folder: Path, **values: int | str) -> TrialRequest:
    return TrialRequest(trial_id, {"epochs": 2, **values}, 0, str(folder))


Epochs = list[tuple[str, int, Metrics]]


def run_all(
    made: RayExecutor, requests: list[TrialRequest], epochs: Epochs | None = None
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for one in requests:
        made.submit(one)
    while len(outcomes) < len(requests):
        for outcome in made.wait(lambda *epoch: epochs is None or epochs.append(epoch[:3])):
            assert outcome.trial_id not in outcomes
            outcomes[outcome.trial_id] = outcome
    return outcomes


def wait_until(made: RayExecutor, holds: Callable[[], bool], epochs: Epochs) -> None:
    """Wait for messages that may come without an outcome."""
    while not holds():
        assert made.wait(lambda *epoch: epochs.append(epoch[:3])) == []


# The worker's life.


def test_trials_run_on_the_nodes(few_digits: ImageData, nodes: Nodes, tmp_path: Path) -> None:
    seen: Epochs = []
    with executor(workers.counting, few_digits, nodes) as made:
        wait_until(made, lambda: made.capacity == 2, seen)
        outcomes = run_all(made, [request(f"000{i}", tmp_path) for i in range(6)], seen)
    pids = set()
    for outcome in outcomes.values():
        assert isinstance(outcome, TrialResult)
        assert outcome.epochs[0]["val_accuracy"] == few_digits.train.images.mean()
        pids.add(outcome.num_parameters)
    assert len(pids) == 2
    assert os.getpid() not in pids
    for trial_id in outcomes:
        of_trial = [epoch[1:] for epoch in seen if epoch[0] == trial_id]
        assert of_trial == [(1, {"loss": 0.5}), (2, {"loss": 1.0})]


def test_trial_that_is_judged_trains_no_epoch_before_its_answer(
    few_digits: ImageData, nodes: Nodes, tmp_path: Path
) -> None:
    judged = [
        dataclasses.replace(request(f"000{i}", tmp_path, epochs=4, width=5), is_judged=True)
        for i in range(3)
    ]
    outcomes: dict[str, Outcome] = {}

    def judge(trial_id: str, epoch: int, *_: object) -> Stopped | None:
        return "pruned" if (trial_id, epoch) == ("0002", 3) else None

    with executor(workers.learning, few_digits, nodes) as made:
        for one in judged:
            made.submit(one)
        while len(outcomes) < len(judged):
            outcomes |= {outcome.trial_id: outcome for outcome in made.wait(judge)}
    ends = {
        trial_id: (outcome.stopped, len(outcome.epochs))
        for trial_id, outcome in outcomes.items()
        if isinstance(outcome, TrialResult)
    }
    assert ends == {"0000": (None, 4), "0001": (None, 4), "0002": ("pruned", 3)}


def test_files_travel_and_images_are_not_copied(
    few_digits: ImageData, nodes: Nodes, tmp_path: Path
) -> None:
    seen: Epochs = []
    with executor(workers.writing, few_digits, nodes) as made:
        [outcome] = run_all(made, [request("0000", tmp_path)], seen).values()
    assert isinstance(outcome, TrialResult)
    assert outcome.files.artifacts == (str(tmp_path / "where.txt"),)
    assert outcome.files.model_dir == str(tmp_path / "model")
    weights = tmp_path / "model" / "data" / "weights.bin"
    assert weights.read_bytes() == bytes(range(256)) * 4096
    written_to = Path((tmp_path / "where.txt").read_text())
    assert written_to != tmp_path
    assert not written_to.exists()
    assert seen == [("0000", 1, {"is_copy": 0.0})]


def test_stop_ends_a_trial_after_its_epoch_and_no_other(
    few_digits: ImageData, nodes: Nodes, tmp_path: Path
) -> None:
    with executor(workers.stoppable, few_digits, nodes, workers=1) as made:
        made.submit(request("0000", tmp_path, epochs=100_000))
        [stopped] = made.wait(lambda trial_id, *_: made.stop(trial_id, "user"))
        # A request that comes too late, and the next trial of the same worker.
        made.stop("0000", "user")
        [whole] = run_all(made, [request("0001", tmp_path, epochs=3)]).values()
    assert isinstance(stopped, TrialResult)
    assert isinstance(whole, TrialResult)
    assert stopped.stopped == "user"
    assert (whole.stopped, len(whole.epochs)) == (None, 3)
    assert stopped.num_parameters == whole.num_parameters


def test_close_leaves_no_worker(few_digits: ImageData, nodes: Nodes, tmp_path: Path) -> None:
    """Epochs arrive while the trial runs, and closing does not wait for it."""
    seen: Epochs = []
    with executor(workers.sleeping, few_digits, nodes, workers=1) as made:
        made.submit(request("0000", tmp_path))
        with pytest.raises(KeyboardInterrupt):
            made.wait(functools.partial(note_and_interrupt, seen))
    pid = int(seen[0][2]["pid"])
    wait_while(lambda: is_alive(pid))


def note_and_interrupt(seen: Epochs, *epoch: Any) -> None:
    seen.append(epoch)
    raise KeyboardInterrupt


def wait_while(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if not holds():
            return
        time.sleep(0.1)
    pytest.fail("It never ended.")


# What dies.


@pytest.mark.slow
def test_trial_of_a_dead_worker_is_tried_again(
    few_digits: ImageData, nodes: Nodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with executor(workers.dying, few_digits, nodes, retries=1) as made:
        requests = [
            request("0000", tmp_path, deaths=1, how="SIGKILL", marks=str(tmp_path)),
            request("0001", tmp_path, deaths=9, how="exit", marks=str(tmp_path)),
            request("0002", tmp_path, deaths=0, how="exit", marks=str(tmp_path)),
        ]
        outcomes = run_all(made, requests)
    assert isinstance(outcomes["0000"], TrialResult)
    failure = outcomes["0001"]
    assert isinstance(failure, TrialFailure)
    assert failure.error == (
        "The worker died because its worker process has died (2 attempts; executor.retries=1)."
    )
    assert "ActorDiedError" not in failure.traceback
    assert "Worker exit type" in failure.traceback
    assert isinstance(outcomes["0002"], TrialResult)
    assert "trial 0000: its worker died because its worker process has died; retry" in (
        caplog.text
    )


def test_trial_given_to_a_worker_that_died_idle_loses_no_try(
    few_digits: ImageData, nodes: Nodes, tmp_path: Path
) -> None:
    with executor(workers.counting, few_digits, nodes, workers=1, retries=0) as made:
        [first] = run_all(made, [request("0000", tmp_path)]).values()
        assert isinstance(first, TrialResult)
        os.kill(first.num_parameters, signal.SIGKILL)
        wait_while(lambda: is_alive(first.num_parameters))
        [second] = run_all(made, [request("0001", tmp_path)]).values()
    assert isinstance(second, TrialResult)
    assert second.num_parameters != first.num_parameters


@pytest.mark.slow
def test_capacity_follows_the_nodes(
    few_digits: ImageData, nodes: Nodes, tmp_path: Path
) -> None:
    seen: Epochs = []
    with executor(workers.sleeping, few_digits, nodes) as made:
        assert made.capacity == 1
        wait_until(made, lambda: made.capacity == 2, seen)
        for i in range(2):
            made.submit(request(f"000{i}", tmp_path))
        nodes.kill_one()
        wait_until(made, lambda: made.capacity == 1, seen)
        nodes.have(2)
        wait_until(made, lambda: made.capacity == 2, seen)


@pytest.mark.long
def test_workers_that_never_start_end_the_search(few_digits: ImageData, nodes: Nodes) -> None:
    with (
        executor(workers.never_starting, few_digits, nodes) as made,
        pytest.raises(SearchFailed, match=r"died because .* before it could run a trial"),
    ):
        made.wait(lambda *_: None)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            workers.raising,
            SearchFailed,
            "A worker could not start: ImportError: no such library. Each node needs",
        ),
        (workers.misconfigured, ConfigError, "^`model._target_` is nowhere.$"),
    ],
)
def test_error_while_a_worker_starts_is_raised(
    make: MakeRunTrial,
    error: type[Exception],
    match: str,
    few_digits: ImageData,
    nodes: Nodes,
) -> None:
    with executor(make, few_digits, nodes) as made, pytest.raises(error, match=match):
        made.wait(lambda *_: None)


# The cluster.


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "expected"),
    [
        ({"CPU": 4.0}, 1, 0, 4),
        ({"CPU": 5.0}, 2, 0, 2),
        ({"CPU": 0.3}, 0.1, 0, 3),
        ({"CPU": 8.0, "GPU": 2.0}, 1, 0.5, 4),
        ({"CPU": 8.0, "GPU": 2.0}, 0, 1, 2),
        ({"CPU": 8.0}, 1, 1, 0),
        ({"memory": 1e9}, 1, 0, 0),
    ],
)
def test_trials_on_a_node(
    resources: dict[str, float], cpus: float, gpus: float, expected: int
) -> None:
    assert cluster.trials_on(resources, cpus, gpus) == expected


def test_own_modules_are_glassy_and_those_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_models_for_ray.py").write_text("from my_layers_for_ray import build\n")
    (tmp_path / "my_layers_for_ray").mkdir()
    (tmp_path / "my_layers_for_ray" / "__init__.py").write_text("def build(): ...\n")
    (tmp_path / "never_imported_for_ray.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_callbacks_for_ray.py").write_text("def make(): ...\n")
    monkeypatch.delitem(sys.modules, "my_models_for_ray", raising=False)
    shipped = cluster.own_modules("my_models_for_ray.build", "my_callbacks_for_ray.make")
    assert {Path(path) for path in shipped} == {
        Path(cluster.__file__).parents[1],
        tmp_path / "my_models_for_ray.py",
        tmp_path / "my_callbacks_for_ray.py",
        tmp_path / "my_layers_for_ray",
    }


def test_connect_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"`executor=ray` needs Ray.*pip install"):
        cluster.connect(RayConfig("ray"), MODEL)


def test_connect_to_a_closed_port_fails_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        begin = time.monotonic()
        with pytest.raises(UnavailableError, match=f"`executor.address={address}` must be .*"):
            cluster.connect(RayConfig("ray", address=address), MODEL)
    assert time.monotonic() - begin < 10


def test_connect_refuses_trials_that_fit_on_no_node(nodes: Nodes) -> None:
    with pytest.raises(ConfigError, match=r"must fit on one node .* executor.cpus=2 and"):
        cluster.connect(RayConfig("ray", address=nodes.address, cpus=2), MODEL)


def test_connect_waits_for_nodes_to_join_if_workers_are_asked_for(nodes: Nodes) -> None:
    cluster.connect(RayConfig("ray", address=nodes.address, cpus=2, workers=1), MODEL)
    cluster.disconnect()


@pytest.mark.slow
def test_head_that_dies_ends_the_search(
    few_digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.executors.ray_executor.HEAD_SECONDS", 3.0)
    nodes = Nodes()
    nodes.have(1)
    with (
        contextlib.closing(nodes),
        executor(workers.counting, few_digits, nodes) as made,
    ):
        run_all(made, [request("0000", tmp_path)])
        nodes.kill_head()
        with pytest.raises(UnavailableError, match="has not answered for 3 s"):
            made.wait(lambda *_: None)


# With TensorFlow.


@pytest.mark.slow
def test_results_do_not_depend_on_where_trials_run(
    few_digits: ImageData, nodes: Nodes, tmp_path: Path
) -> None:
    setup = WorkerSetup("tuner.models.mlp.build", {}, Objective("val_accuracy", "max"), 1)
    make = functools.partial(make_run_trial, setup)
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
    requests = [TrialRequest("0000", VALUES, 7, str(folder)) for folder in folders]
    here = make(few_digits)(requests[0], lambda *_: None)
    with executor(make, few_digits, nodes, workers=1) as made:
        [there] = run_all(made, [requests[1]]).values()
    assert isinstance(here, TrialResult)
    assert isinstance(there, TrialResult)
    times = ("seconds", "train_seconds", "compile_seconds", "evaluate_seconds")
    same: Any = {"files": here.files, **dict.fromkeys(times, 0.0)}
    # Bit for bit, since the same work is done with the same number of threads.
    assert dataclasses.replace(here, **same) == dataclasses.replace(there, **same)
    for weights_here, weights_there in zip(weights(here), weights(there), strict=True):
        np.testing.assert_array_equal(weights_here, weights_there)


def weights(result: TrialResult) -> list[Any]:
    import keras

    [path] = Path(result.files.model_dir).rglob("*.keras")
    return keras.saving.load_model(path).get_weights()  # type: ignore[no-any-return]


# The whole search.


@pytest.mark.long
def test_search_survives_a_killed_node_and_uses_a_new_one(nodes: Nodes, tmp_path: Path) -> None:
    log = tmp_path / "experiments" / "killed" / "tune.log"
    overrides = ["study=killed", "search=grid", "space.epochs=100", "space.layers=1"]
    with start(
        tmp_path,
        *overrides,
        "space.units=[8,9,10,11]",
        "executor=ray",
        f"executor.address={nodes.address}",
    ) as process:
        wait_for(log, "trial 0001 epoch ")
        nodes.kill_one()
        wait_for(log, "retry 1 of 2")
        wait_for(log, "Trials that the cluster has room for: now 1, before 2.")
        nodes.have(2)
        printed, errors = process.communicate(timeout=200)
    assert (process.returncode, errors) == (0, "")
    assert "its worker died because its node has died" in printed
    assert "Trials that the cluster has room for: now 2, before 1." in printed
    trials = runs(tmp_path, "trial")
    assert [run.info.status for run in trials] == ["FINISHED"] * 4
    assert [int(run.data.params["units_1"]) for run in trials] == [8, 9, 10, 11]
    for run in trials:
        assert f"trial {run.data.tags['tuner.trial']} (" in printed
    assert "(raylet)" not in printed


def start_long(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start a search on Ray whose only trial takes minutes, and wait for its first epochs."""
    process = start(
        folder,
        "study=long",
        "executor=ray",
        "executor.workers=1",
        "search=grid",
        "space.epochs=3000",
        "space.units=8",
        "space.layers=1",
        *overrides,
    )
    wait_for(folder / "experiments" / "long" / "tune.log", "trial 0000 epoch ")
    return process


def check_interrupted(process: subprocess.Popen[str], folder: Path) -> None:
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert "Interrupted. To resume after the last finished trial:" in printed
    assert [run.info.status for run in runs(folder, "trial")] == ["KILLED"]


@pytest.mark.slow
def test_interrupted_search_ends_its_own_cluster(tmp_path: Path) -> None:
    with start_long(tmp_path) as process:
        started = descendants(process.pid)
        assert any("raylet" in name for name in started.values())
        process.send_signal(signal.SIGINT)
        check_interrupted(process, tmp_path)
    wait_while(lambda: any(is_alive(pid) for pid in started))


@pytest.mark.long
def test_terminated_search_leaves_a_cluster_it_joined(nodes: Nodes, tmp_path: Path) -> None:
    with start_long(tmp_path, f"executor.address={nodes.address}") as process:
        assert nodes.workers()
        process.send_signal(signal.SIGTERM)
        check_interrupted(process, tmp_path)
    wait_while(lambda: bool(nodes.workers()))
    cluster.connect(RayConfig("ray", address=nodes.address), MODEL)
    cluster.disconnect()


def test_search_without_ray_writes_nothing(tmp_path: Path) -> None:
    script = (
        "import runpy, sys\n"
        "sys.modules['ray'] = None\n"
        "runpy.run_module('tuner.search', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "executor=ray", "study=none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: `executor=ray` needs Ray, which is not installed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_search_says_in_seconds_that_no_cluster_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = command(tmp_path, "search", "executor=ray", f"executor.address={address}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: `executor.address={address}` must be a Ray cluster")
    assert list(tmp_path.iterdir()) == []
