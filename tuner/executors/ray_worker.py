"""A worker's side of trials on Ray: the code of an actor, and the news that it sends."""

import concurrent.futures
import dataclasses
import logging
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import psutil

from tuner.datasets import ImageData
from tuner.executors import MakeRunTrial
from tuner.executors.transfer import CheckpointParcel, FileParcel, moved
from tuner.outcomes import Outcome
from tuner.runtime import relay
from tuner.trial import Metrics, Stopped, TrialRequest

_BATCH_SECONDS = 0.5
"""How often a worker sends the epochs that have ended."""

_Epoch = tuple[int, Metrics, bool]
_Answer = tuple[str, int, Stopped | None]
_T = TypeVar("_T")


class RayWorker:
    """The class of the actors."""

    def start(self, make_run_trial: MakeRunTrial, data: ImageData) -> None:
        """Import everything that trials need, which takes seconds."""
        # All trials run in one thread, since Keras keeps state by thread; and not in this one,
        # which sends the epochs meanwhile.
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._records: SimpleQueue[logging.LogRecord] = SimpleQueue()
        relay.log_to(self._records.put)
        self._run_trial = self._thread.submit(make_run_trial, data).result()
        self._stop: tuple[str, Stopped] | None = None
        self._answers: SimpleQueue[_Answer] = SimpleQueue()

    def stop(self, trial_id: str, why: Stopped) -> None:
        """End a trial after the epoch under way; called while `run` runs it, or too late."""
        self._stop = trial_id, why

    def answer(self, trial_id: str, epoch: int, why: Stopped | None) -> None:
        """Say whether a trial that is judged ends with an epoch; it waits to hear that."""
        self._answers.put((trial_id, epoch, why))

    def run(self, request: TrialRequest, checkpoint: CheckpointParcel) -> Iterator["News"]:
        """Run a trial and stream its news, with its files at the end.

        Args:
            request: The trial; its folders are the driver's.
            checkpoint: The checkpoint that it resumes from, if any.
        """
        yield News()
        epochs: SimpleQueue[_Epoch] = SimpleQueue()
        # Set where the next news should not wait.
        is_urgent = threading.Event()
        with tempfile.TemporaryDirectory(prefix="glassy-") as folder:
            here = moved(request, Path(folder))
            checkpoint.unpack(here)
            sent = set(checkpoint.contents)

            def report(
                trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False
            ) -> Stopped | None:
                epochs.put((epoch, metrics, is_reused))
                if request.is_judged:
                    is_urgent.set()
                    return self._answer_to(trial_id, epoch)
                stop = self._stop
                return stop[1] if stop is not None and stop[0] == trial_id else None

            trial = self._thread.submit(self._run_trial, here, report)
            trial.add_done_callback(lambda _: is_urgent.set())
            while not trial.done():
                is_urgent.wait(_BATCH_SECONDS)
                is_urgent.clear()
                some, made = _taken(epochs), CheckpointParcel.since(here, sent)
                said = _taken(self._records)
                if some or made.contents or made.dropped or said:
                    yield News(some, made, records=said)
            outcome = trial.result()
            files = FileParcel.packed(Path(here.output_dir))
            made = CheckpointParcel.since(here, sent)
        # After its folder is removed: the driver may end this process once it has the outcome.
        resident = psutil.Process().memory_info().rss
        said = _taken(self._records)
        yield News(_taken(epochs), made, outcome, files, resident, said)

    def _answer_to(self, trial_id: str, epoch: int) -> Stopped | None:
        """Wait for the answer to the report of an epoch; others are of trials that died."""
        while True:
            answer = self._answers.get()
            if answer[:2] == (trial_id, epoch):
                return answer[2]


@dataclasses.dataclass(frozen=True)
class News:
    """A worker's news about its trial: epochs that have ended, and finally the outcome.

    Attributes:
        epochs: Numbers of the epochs, from 1, their metrics, and whether they are reused.
        checkpoints: Checkpoints written since the last news.
        outcome: The outcome; None while the trial runs.
        files: The trial's files.
        resident: The worker's size in bytes at the end of the trial.
        records: The worker's log records.
    """

    epochs: tuple[_Epoch, ...] = ()
    checkpoints: CheckpointParcel = dataclasses.field(default_factory=CheckpointParcel)
    outcome: Outcome | None = None
    files: FileParcel = dataclasses.field(default_factory=FileParcel)
    resident: int = 0
    records: tuple[logging.LogRecord, ...] = ()


def _taken(queue: "SimpleQueue[_T]") -> tuple[_T, ...]:
    """Empty a queue that one other thread fills."""
    return tuple(queue.get() for _ in range(queue.qsize()))
