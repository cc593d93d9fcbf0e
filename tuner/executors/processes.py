"""Trials in worker processes of this machine, started once per study.

A worker takes one trial at a time over a pipe, and sends back every epoch and the outcome. A
worker that dies is replaced and its trial retried, with the same result. A worker whose memory
keeps growing is replaced between two trials. When the driver dies, its pipes close and the
workers end by themselves.
"""

import contextlib
import functools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import psutil

from tuner.config.executors import ProcessesConfig
from tuner.datasets import ImageData, Split
from tuner.errors import SearchFailed
from tuner.executors import Beside, Executor, MakeRunTrial, Start, Workplace
from tuner.executors.queue import MAX_LOST_STARTS, QueuedExecutor, Slot, TrialQueue
from tuner.outcomes import Outcome
from tuner.runtime import files, forkserver, relay
from tuner.trial import Metrics, OnEpoch, Stopped, TrialRequest

_MAX_GROWTH = 1.15
"""Limit of a worker's memory, as a multiple of its settled size. TensorFlow keeps 5 MB per
program it has run, and XLA 10 more; a new process is available at once, since it is forked."""


def prepare(config: ProcessesConfig, *functions: str) -> Start:
    """Choose the number of workers; see `Prepare`."""
    workers = config.workers or joblib.cpu_count(only_physical_cores=True)

    def start(workplace: Workplace) -> Executor:
        return ProcessExecutor(workplace, workers, config.retries)

    return start


class ProcessExecutor(QueuedExecutor["_WorkerProcess"]):
    """Runs trials in worker processes; see `Executor`.

    Args:
        workplace: What the trials need; every worker maps the images from files.
        workers: Number of processes, at least 1.
        retries: How many times to retry a trial whose worker died.
    """

    def __init__(self, workplace: Workplace, workers: int, retries: int) -> None:
        self._log_file = workplace.log_file
        self._make_run_trial = workplace.make_run_trial
        # Not among the system's temporary files, where a killed study would leave them.
        self._folder = workplace.images_dir
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._files = _save(workplace.data, self._folder.resolve())
        self._queue = TrialQueue(retries, workplace.looks_ahead)
        self._relay = relay.Relay()
        self._num_lost_starts = 0
        self._slots = [self._start() for _ in range(workers)]

    @property
    def capacity(self) -> int:
        """Number of worker processes."""
        return len(self._slots)

    @property
    def pids(self) -> list[int]:
        """The ids of the worker processes."""
        return [worker.process.pid for worker in self._slots if worker.process.pid]

    @property
    def has_room(self) -> bool:
        """Whether another trial can be submitted; see `TrialQueue`."""
        return self._queue.has_room(self._slots)

    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        """Wait until at least one trial has ended, and return those that have.

        Raises:
            SearchFailed: If workers repeatedly die before they can run a trial.
        """
        outcomes: list[Outcome] = []
        while not outcomes:
            connections: list[Connection] = [worker.connection for worker in self._slots]
            others, seconds = (
                ((), None) if beside is None else (beside.connections, beside.seconds)
            )
            for connection in wait([*connections, *others], seconds):
                worker = next((w for w in self._slots if w.connection is connection), None)
                if worker is None:
                    continue
                try:
                    outcomes += self._receive(worker, on_epoch)
                except (EOFError, OSError):
                    outcomes += self._replace(worker)
            if beside is not None and beside.attend():
                break
            outcomes += self._queue.dropped()
            self._assign()
        return outcomes

    def close(self) -> None:
        """Stop all workers; trials in flight are lost."""
        for worker in self._slots:
            worker.process.kill()
        for worker in self._slots:
            worker.process.join()
            worker.connection.close()
        self._slots = []
        self._queue.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _receive(self, worker: "_WorkerProcess", on_epoch: OnEpoch) -> list[Outcome]:
        """Take what a worker has sent so far, up to the end of its trial.

        If the worker died after that, its death must not be read with the outcome, or the
        outcome would be lost.
        """
        while worker.connection.poll():
            kind, content = worker.connection.recv()
            if kind == "ready":
                self._num_lost_starts = 0
            elif kind == "epoch":
                self._answer(worker, content[1], on_epoch(*content))
            elif kind == "error":
                raise content
            elif kind == "log":
                self._relay.say(content)
            else:
                outcome, resident = content
                worker.end_trial(resident)
                if worker.has_grown:
                    worker.process.kill()
                    self._put_another_in_place_of(worker)
                return [outcome]
        return []

    def _replace(self, worker: "_WorkerProcess") -> list[Outcome]:
        """Replace a worker that died, and retry its trial."""
        worker.process.join()
        how = forkserver.how_it_ended(worker.process.exitcode)
        request = worker.request
        if request is None:
            self._num_lost_starts += 1
            if self._num_lost_starts > MAX_LOST_STARTS:
                raise SearchFailed(
                    f"A worker process {how} before it could run a trial, "
                    f"{self._num_lost_starts} times in a row; the study's tune.log may say why."
                )
        self._put_another_in_place_of(worker)
        if request is None:
            return []
        return self._queue.retry(request, f"worker process {how}")

    def _assign(self) -> None:
        """Give waiting trials to free workers."""
        while worker := self._queue.assign(
            self._slots, [worker for worker in self._slots if worker.request is None]
        ):
            try:
                worker.connection.send(worker.request)
            except OSError:
                # It has just died; `wait` will notice and retry the trial.
                return
            self._send_stop(worker)

    def _send_stop(self, slot: "_WorkerProcess") -> None:
        assert slot.request is not None
        trial_id = slot.request.trial_id
        if (why := self._queue.why_stopped(trial_id)) is not None:
            # A worker that has just died is noticed by `wait`.
            with contextlib.suppress(OSError):
                slot.connection.send(_Stop(trial_id, why))

    def _answer(self, worker: "_WorkerProcess", epoch: int, why: Stopped | None) -> None:
        """Tell a worker whether its trial ends with an epoch, if it waits to hear that."""
        request = worker.request
        if request is not None and request.is_judged:
            why = why or self._queue.why_stopped(request.trial_id)
            with contextlib.suppress(OSError):
                worker.connection.send(_Answer(request.trial_id, epoch, why))

    def _put_another_in_place_of(self, worker: "_WorkerProcess") -> None:
        worker.process.join()
        worker.connection.close()
        self._slots.remove(worker)
        self._slots.append(self._start())

    def _start(self) -> "_WorkerProcess":
        child = forkserver.start(
            _serve, self._make_run_trial, self._files, log_file=self._log_file
        )
        return _WorkerProcess(child.process, child.connection)


class _WorkerProcess(Slot):
    """The driver's view of one worker process."""

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        super().__init__(_MAX_GROWTH)
        self.process = process
        self.connection = connection


def _serve(connection: Connection, make_run_trial: MakeRunTrial, files: "_Files") -> None:
    """Run trials in a worker process until the driver hangs up."""
    relay.log_to(lambda record: connection.send(("log", record)))
    try:
        run_trial = make_run_trial(files.load())
    except Exception as error:
        connection.send(("error", error))
        return
    connection.send(("ready", None))
    this_process = psutil.Process()
    while True:
        request: TrialRequest | _Stop = connection.recv()
        if isinstance(request, _Stop):
            # The trial ended while it was sent.
            continue
        outcome = run_trial(request, functools.partial(_report, connection, request.is_judged))
        connection.send(("outcome", (outcome, this_process.memory_info().rss)))


def _report(
    connection: Connection,
    is_judged: bool,
    trial_id: str,
    epoch: int,
    metrics: Metrics,
    is_reused: bool = False,
) -> Stopped | None:
    """Send an epoch to the driver, and read what it has said of the trial."""
    connection.send(("epoch", (trial_id, epoch, metrics, is_reused)))
    # While a trial runs, the driver sends nothing else. It may name a trial that has ended.
    while is_judged or (not is_reused and connection.poll()):
        said: _Stop | _Answer = connection.recv()
        # An answer repeats what a stop says that came before it.
        is_last = said.epoch == epoch if isinstance(said, _Answer) else not is_judged
        if is_last and said.trial_id == trial_id:
            return said.why
    return None


@dataclass(frozen=True)
class _Answer:
    """Tells a worker why its trial ends with an epoch, or that it does not."""

    trial_id: str
    epoch: int
    why: Stopped | None


@dataclass(frozen=True)
class _Stop:
    """Asks a worker to end its trial after the epoch under way."""

    trial_id: str
    why: Stopped


class _Files:
    """The location of the image files, and everything else about the images."""

    def __init__(self, folder: Path, rest: Mapping[str, Any]) -> None:
        self._folder = folder
        self._rest = rest

    def load(self) -> ImageData:
        """Map the images: all processes share one copy of them."""
        splits: dict[str, Any] = {
            name: Split(
                _mapped(self._folder / f"{name}_images.npy"),
                _mapped(self._folder / f"{name}_labels.npy"),
            )
            for name in ("train", "validation", "test")
        }
        return ImageData(**self._rest, **splits)


def _mapped(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _save(data: ImageData, folder: Path) -> _Files:
    for name in ("train", "validation", "test"):
        split: Split = getattr(data, name)
        for what, array in (("images", split.images), ("labels", split.labels)):
            with files.scratch(folder / f"{name}_{what}.npy") as file:
                np.save(file, array)
    return _Files(
        folder,
        {
            "name": data.name,
            "class_names": data.class_names,
            "digest": data.digest,
            "fold_sizes": data.fold_sizes,
        },
    )
