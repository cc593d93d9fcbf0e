"""Trials on a Ray cluster: one long-lived actor for each trial that it has room for.

An actor takes one trial at a time and streams its epochs and its outcome back, files included:
driver and workers share no disk. Actors are started when nodes join, and forgotten when they or
their nodes die; a trial that was lost with one is tried again.
"""

import concurrent.futures
import dataclasses
import logging
import re
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import psutil
import ray
from ray.exceptions import RayError, RayTaskError

from tuner.config.schema import RayConfig
from tuner.datasets import ImageData
from tuner.errors import GlassyError, SearchFailed, UnavailableError
from tuner.executors import Beside, MakeRunTrial, cluster
from tuner.executors.queue import MAX_LOST_STARTS, Slot, TrialQueue
from tuner.executors.transfer import CheckpointParcel, FileParcel, moved
from tuner.runtime import interrupt, relay
from tuner.trial import Metrics, OnEpoch, Outcome, TrialRequest

logger = logging.getLogger(__name__)

_MAX_GROWTH = 2.0
"""How many times its settled size a worker may reach; a new one takes seconds to start."""
_LOOK_SECONDS = 1.0
"""How often the driver looks for nodes that have joined or died."""
_HEAD_SECONDS = 20.0
"""How long the cluster's head may be silent; it may be starting again."""
_BATCH_SECONDS = 0.5
"""How often a worker sends the epochs that have ended."""

_Epoch = tuple[int, Metrics, bool]
_T = TypeVar("_T")


class RayExecutor:
    """Runs trials on the cluster that this process is connected to; see `Executor`.

    Args:
        make_run_trial: What a worker calls to be able to run trials.
        data: The study's images, of which each node keeps one copy that its workers share.
        config: The group `executor`.
        looks_ahead: See `TrialQueue`.
    """

    def __init__(
        self,
        make_run_trial: MakeRunTrial,
        data: ImageData,
        config: RayConfig,
        looks_ahead: bool = False,
    ) -> None:
        self._make_run_trial = make_run_trial
        self._data = ray.put(data)
        self._config = config
        self._actor_class = ray.remote(num_cpus=config.cpus, num_gpus=config.gpus)(_Worker)
        self._queue = TrialQueue(config.retries, looks_ahead)
        self._relay = relay.Relay()
        self._slots: list[_Slot] = []
        self._num_lost_starts = 0
        self._room = cluster.room(config)
        self._next_look = 0.0
        self._head_answered = time.monotonic()
        self._follow_cluster()

    @property
    def capacity(self) -> int:
        """How many workers are ready; 1 if none is, so that a trial waits for the first."""
        return max(1, sum(slot.is_ready for slot in self._slots))

    @property
    def has_room(self) -> bool:
        """Whether one trial more would be of use; see `TrialQueue`."""
        return self._queue.has_room(
            [s for s in self._slots if s.is_ready] or [Slot(_MAX_GROWTH)]
        )

    @property
    def running(self) -> Collection[str]:
        """The trials that workers have."""
        return [w.request.trial_id for w in self._slots if w.request is not None]

    def submit(self, request: TrialRequest) -> None:
        """Take a trial, and give it to a worker that is free."""
        self._queue.append(request)
        self._assign()

    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        """Wait until trials have ended or the capacity has changed; see `Executor`.

        Raises:
            GlassyError: What kept a worker from starting.
            SearchFailed: If workers cannot start, or die again and again before they can run a
                trial.
            UnavailableError: If the cluster's head is gone.
        """
        capacity = self.capacity
        outcomes: list[Outcome] = []
        while not outcomes and self.capacity == capacity:
            # Ray calls back from C++, where Python drops an interrupt.
            interrupt.check()
            if beside is not None and beside.attend():
                break
            self._follow_cluster()
            slot = self._next_with_news()
            if slot is not None:
                try:
                    outcomes += self._receive(slot, on_epoch)
                except RayError as error:
                    outcomes += self._lose(slot, error)
            outcomes += self._queue.expire()
            self._assign()
        return outcomes

    def close(self) -> None:
        """Stop all workers, and leave the cluster; trials in flight are lost."""
        for slot in self._slots:
            ray.kill(slot.actor)
        self._slots = []
        self._queue.clear()
        cluster.disconnect()

    def _follow_cluster(self) -> None:
        """Start as many workers as there is room for by now.

        One that finds no place, because others use the cluster, waits for it in Ray's queue: it
        counts as soon as it is ready. Asking for more than there is room for makes a cluster
        that can grow do so.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        if not cluster.head_answers():
            if now > self._head_answered + _HEAD_SECONDS:
                raise UnavailableError(
                    f"The head of the Ray cluster has not answered for {_HEAD_SECONDS:g} s."
                )
            return
        self._head_answered = now
        room = cluster.room(self._config)
        if room != self._room:
            logger.info(
                "The cluster has room for %d trials at a time (%d before).", room, self._room
            )
            self._room = room
        num_wanted = room if self._config.workers is None else self._config.workers
        for _ in range(num_wanted - len(self._slots)):
            actor: Any = self._actor_class.remote()
            started = actor.start.remote(self._make_run_trial, self._data)
            self._slots.append(_Slot(actor, started, self._num_lost_starts))

    def _next_with_news(self) -> "_Slot | None":
        """Wait for a worker that has something to say, though not for long."""
        awaited = {slot.awaited: slot for slot in self._slots if slot.awaited is not None}
        if not awaited:
            time.sleep(_LOOK_SECONDS)
            return None
        ready, _ = ray.wait(list(awaited), timeout=_LOOK_SECONDS)
        return awaited[ready[0]] if ready else None

    def _receive(self, slot: "_Slot", on_epoch: OnEpoch) -> list[Outcome]:
        """Take what a worker says: that it is ready, or what became of its trial."""
        if slot.request is None:
            try:
                ray.get(slot.awaited)
            except RayTaskError as error:
                raise _why_not_started(error) from error
            slot.is_ready, slot.awaited = True, None
            self._num_lost_starts = 0
            return []
        news: _News = ray.get(next(slot.awaited))
        slot.has_begun = True
        for record in news.records:
            self._relay.say(record)
        for epoch in news.epochs:
            on_epoch(slot.request.trial_id, *epoch)
        news.checkpoints.unpack(slot.request)
        if news.outcome is None:
            return []
        outcome = news.files.unpack(news.outcome, Path(slot.request.output_dir))
        slot.awaited = None
        slot.end_trial(news.resident)
        if slot.has_grown:
            self._slots.remove(slot)
            ray.kill(slot.actor)
        return [outcome]

    def _lose(self, slot: "_Slot", error: RayError) -> list[Outcome]:
        """Forget a worker that died, and try its trial again."""
        self._slots.remove(slot)
        # It may live on where it cannot be reached, and must not keep its place there.
        ray.kill(slot.actor)
        logger.debug("Ray says of a worker that was lost: %s", error)
        if slot.request is None:
            # Workers that die together, with their node, count as one.
            self._num_lost_starts = slot.num_lost_starts + 1
            if self._num_lost_starts > MAX_LOST_STARTS:
                raise SearchFailed(
                    f"A worker {_how_it_ended(error)} before it could run a trial, again and "
                    f"again."
                )
            return []
        if not slot.has_begun:
            self._queue.put_back(slot.request)
            return []
        return self._queue.retry(slot.request, f"worker {_how_it_ended(error)}", str(error))

    def _assign(self) -> None:
        """Give waiting trials to free workers."""
        while slot := self._queue.assign(
            self._slots, [slot for slot in self._slots if slot.is_free]
        ):
            assert slot.request is not None
            slot.has_begun = False
            slot.awaited = slot.actor.run.remote(
                slot.request, CheckpointParcel.for_trial(slot.request)
            )


class _Slot(Slot):
    """The driver's view of one worker.

    Attributes:
        actor: Ray's handle of it.
        awaited: What it says next: that it has started, or what it streams of its trial.
        num_lost_starts: How many times in a row workers died while starting before this one.
        is_ready: Whether it has started.
        has_begun: Whether it has begun its trial.
    """

    def __init__(self, actor: Any, started: Any, num_lost_starts: int) -> None:
        super().__init__(_MAX_GROWTH)
        self.actor = actor
        self.awaited: Any = started
        self.num_lost_starts = num_lost_starts
        self.is_ready = False
        self.has_begun = False

    @property
    def is_free(self) -> bool:
        return self.is_ready and self.request is None


class _Worker:
    """What runs in an actor."""

    def start(self, make_run_trial: MakeRunTrial, data: ImageData) -> None:
        """Import all that trials need, which takes seconds."""
        # All trials in one thread, since Keras keeps state by thread; and not in this one,
        # which sends the epochs meanwhile.
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._records: SimpleQueue[logging.LogRecord] = SimpleQueue()
        relay.log_to(self._records.put)
        self._run_trial = self._thread.submit(make_run_trial, data).result()

    def run(self, request: TrialRequest, checkpoint: CheckpointParcel) -> Iterator["_News"]:
        """Run a trial and stream what becomes of it, the files it made last.

        Args:
            request: The trial; its folders are the driver's.
            checkpoint: What it goes on from, if there is anything.
        """
        yield _News()
        epochs: SimpleQueue[_Epoch] = SimpleQueue()
        with tempfile.TemporaryDirectory(prefix="glassy-") as folder:
            here = moved(request, Path(folder))
            checkpoint.unpack(here)
            sent = set(checkpoint.contents)
            trial = self._thread.submit(
                self._run_trial,
                here,
                lambda _, epoch, metrics, is_reused=False: epochs.put(
                    (epoch, metrics, is_reused)
                ),
            )
            while not trial.done():
                concurrent.futures.wait([trial], timeout=_BATCH_SECONDS)
                some, made = _taken(epochs), CheckpointParcel.since(here, sent)
                said = _taken(self._records)
                if some or made.contents or made.dropped or said:
                    yield _News(some, made, records=said)
            outcome = trial.result()
            files = FileParcel.packed(Path(here.output_dir))
            made = CheckpointParcel.since(here, sent)
        # With its folder gone: whoever has the outcome may end this process at once.
        resident = psutil.Process().memory_info().rss
        said = _taken(self._records)
        yield _News(_taken(epochs), made, outcome, files, resident, said)


@dataclasses.dataclass(frozen=True)
class _News:
    """What a worker sends of its trial: epochs that have ended, and at last the outcome.

    Attributes:
        epochs: Their numbers, counted from 1, their metrics, and whether they are reused.
        checkpoints: Those written since the last news.
        outcome: None while the trial runs.
        files: What it made.
        resident: The worker's size (bytes) at its end.
        records: What it has logged.
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


def _why_not_started(error: RayTaskError) -> GlassyError:
    """Word what a worker raised while it started."""
    cause = error.cause
    if isinstance(cause, GlassyError):
        return cause
    return SearchFailed(
        f"A worker could not start: {type(cause).__name__}: {_last_line(cause)}. Each node "
        f"needs what is installed here, in the same versions (docs/cluster.md)."
    )


def _how_it_ended(error: RayError) -> str:
    """Word what became of a worker, in as much of Ray's words as a person can use."""
    if isinstance(error, RayTaskError):
        return f"failed with {type(error.cause).__name__}: {_last_line(error.cause)}"
    because = re.search(r"because (.+?)\.?(\s*\n|\. |$)", str(error))
    if because:
        return f"died because {because[1]}"
    return f"was lost ({type(error).__name__}: {_last_line(error)})"


def _last_line(error: BaseException) -> str:
    """Return the end of a message of Ray's: the cause, which comes after its traceback."""
    return (str(error).strip().splitlines() or ["no message"])[-1].strip().rstrip(".")
