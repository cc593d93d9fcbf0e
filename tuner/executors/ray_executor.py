"""Trials on a Ray cluster: one long-lived actor per trial that the cluster has room for.

An actor takes one trial at a time and streams its epochs and its outcome back, files included:
driver and workers share no disk. Actors are started when nodes join, and forgotten when they or
their nodes die; a trial that is lost with an actor is retried.
"""

import logging
import re
import time
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from tuner.config.executors import RayConfig
from tuner.errors import GlassyError, SearchFailed, UnavailableError
from tuner.executors import Beside, Workplace, cluster
from tuner.executors.queue import MAX_LOST_STARTS, QueuedExecutor, Slot, TrialQueue
from tuner.executors.ray_worker import News, RayWorker
from tuner.executors.transfer import CheckpointParcel
from tuner.outcomes import Outcome
from tuner.runtime import interrupt, relay
from tuner.trial import OnEpoch, Stopped

logger = logging.getLogger(__name__)

_MAX_GROWTH = 2.0
"""Limit of a worker's memory, as a multiple of its settled size; starting one takes seconds."""
_LOOK_SECONDS = 1.0
"""How often the driver looks for nodes that have joined or died."""
HEAD_SECONDS = 20.0
"""How long the cluster's head may be silent; it may be starting again."""


class RayExecutor(QueuedExecutor["_Slot"]):
    """Runs trials on the cluster that this process is connected to; see `Executor`.

    Args:
        config: The group `executor`.
        workplace: What the trials need; each node keeps one copy of the images, which its
            workers share.
    """

    def __init__(self, config: RayConfig, workplace: Workplace) -> None:
        self._make_run_trial = workplace.make_run_trial
        self._data = ray.put(workplace.data)
        self._config = config
        # A second thread takes `stop` while the first one runs a trial.
        self._actor_class = ray.remote(
            num_cpus=config.cpus, num_gpus=config.gpus, max_concurrency=2
        )(RayWorker)
        self._queue = TrialQueue(config.retries, workplace.looks_ahead)
        self._relay = relay.Relay()
        self._slots: list[_Slot] = []
        self._num_lost_starts = 0
        self._room = cluster.room(config)
        self._next_look = 0.0
        self._head_answered = time.monotonic()
        self._follow_cluster()

    @property
    def capacity(self) -> int:
        """Number of ready workers; 1 if there are none, so that a trial waits for the first."""
        return max(1, sum(slot.is_ready for slot in self._slots))

    @property
    def has_room(self) -> bool:
        """Whether another trial can be submitted; see `TrialQueue`."""
        return self._queue.has_room(
            [s for s in self._slots if s.is_ready] or [Slot(_MAX_GROWTH)]
        )

    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        """Wait until trials have ended or the capacity has changed; see `Executor`.

        Raises:
            GlassyError: The error that kept a worker from starting.
            SearchFailed: If workers cannot start, or repeatedly die before they can run a
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
            outcomes += self._queue.dropped()
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
        """Start as many workers as there is now room for.

        A worker that finds no place because others use the cluster waits in Ray's queue, and
        counts once it is ready. Requesting more than there is room for makes a cluster grow, if
        it can.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        if not cluster.head_answers():
            if now > self._head_answered + HEAD_SECONDS:
                raise UnavailableError(
                    f"The head of the Ray cluster has not answered for {HEAD_SECONDS:g} s."
                )
            return
        self._head_answered = now
        room = cluster.room(self._config)
        if room != self._room:
            logger.info(
                "Trials that the cluster has room for: now %d, before %d.", room, self._room
            )
            self._room = room
        num_wanted = room if self._config.workers is None else self._config.workers
        for _ in range(num_wanted - len(self._slots)):
            actor: Any = self._actor_class.remote()
            started = actor.start.remote(self._make_run_trial, self._data)
            self._slots.append(_Slot(actor, started, self._num_lost_starts))

    def _next_with_news(self) -> "_Slot | None":
        """Wait briefly for a worker that has news."""
        awaited = {slot.awaited: slot for slot in self._slots if slot.awaited is not None}
        if not awaited:
            time.sleep(_LOOK_SECONDS)
            return None
        ready, _ = ray.wait(list(awaited), timeout=_LOOK_SECONDS)
        return awaited[ready[0]] if ready else None

    def _receive(self, slot: "_Slot", on_epoch: OnEpoch) -> list[Outcome]:
        """Take a worker's news: that it is ready, or how its trial is doing."""
        if slot.request is None:
            try:
                ray.get(slot.awaited)
            except RayTaskError as error:
                raise _why_not_started(error) from error
            slot.is_ready, slot.awaited = True, None
            self._num_lost_starts = 0
            return []
        news: News = ray.get(next(slot.awaited))
        slot.has_begun = True
        for record in news.records:
            self._relay.say(record)
        for epoch in news.epochs:
            self._answer(slot, epoch[0], on_epoch(slot.request.trial_id, *epoch))
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
        """Forget a worker that died, and retry its trial."""
        self._slots.remove(slot)
        # It may still be alive but unreachable, and must not keep its place.
        ray.kill(slot.actor)
        logger.debug("Ray says of a worker that was lost: %s", error)
        if slot.request is None:
            # Workers that die together, with their node, count as one.
            self._num_lost_starts = slot.num_lost_starts + 1
            if self._num_lost_starts > MAX_LOST_STARTS:
                raise SearchFailed(
                    f"A worker {_how_it_ended(error)} before it could run a trial, "
                    f"{self._num_lost_starts} times in a row."
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
            self._send_stop(slot)

    def _send_stop(self, slot: "_Slot") -> None:
        assert slot.request is not None
        trial_id = slot.request.trial_id
        if (why := self._queue.why_stopped(trial_id)) is not None:
            slot.actor.stop.remote(trial_id, why)

    def _answer(self, slot: "_Slot", epoch: int, why: Stopped | None) -> None:
        """Tell a worker whether its trial ends with an epoch, if it waits to hear that."""
        request = slot.request
        if request is not None and request.is_judged:
            why = why or self._queue.why_stopped(request.trial_id)
            slot.actor.answer.remote(request.trial_id, epoch, why)


class _Slot(Slot):
    """The driver's view of one worker.

    Attributes:
        actor: Ray's handle of it.
        awaited: The next news: that it has started, or about its trial.
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


def _why_not_started(error: RayTaskError) -> GlassyError:
    """Word the error that a worker raised while it started."""
    cause = error.cause
    if isinstance(cause, GlassyError):
        return cause
    return SearchFailed(
        f"A worker could not start: {type(cause).__name__}: {_last_line(cause)}. Each node "
        f"needs the packages that are installed here, in the same versions (docs/cluster.md)."
    )


def _how_it_ended(error: RayError) -> str:
    """Word how a worker ended, with the useful part of Ray's message."""
    if isinstance(error, RayTaskError):
        return f"failed with {type(error.cause).__name__}: {_last_line(error.cause)}"
    because = re.search(r"because (.+?)\.?(\s*\n|\. |$)", str(error))
    if because:
        return f"died because {because[1]}"
    return f"was lost ({type(error).__name__}: {_last_line(error)})"


def _last_line(error: BaseException) -> str:
    """Return the last line of a message from Ray: the cause, which follows the traceback."""
    return (str(error).strip().splitlines() or ["no message"])[-1].strip().rstrip(".")
