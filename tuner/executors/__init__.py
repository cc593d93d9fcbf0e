"""Where trials run: one interface for this process, worker processes and a cluster.

The table of executors is `tuner.config.executors`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tuner.config.executors import ExecutorConfig
from tuner.outcomes import Outcome, RunTrial
from tuner.runtime.user_code import find_function
from tuner.trial import OnEpoch, Stopped, TrialRequest, WorkerSetup

if TYPE_CHECKING:
    from tuner.datasets import ImageData

MakeRunTrial = Callable[["ImageData"], RunTrial]
"""Called once in each worker, with the study's images; crosses to it by pickle."""


def make_run_trial(setup: WorkerSetup, data: ImageData) -> RunTrial:
    """Return the function that runs trials in this process, which imports TensorFlow.

    Args:
        setup: What the trials share.
        data: The images.
    """
    from tuner.worker.worker import Worker

    return Worker(setup, data).run


class Beside(Protocol):
    """Work that runs alongside the trials, and may end the study."""

    @property
    def connections(self) -> Sequence[Connection]:
        """Connections on which it may send messages."""
        ...

    @property
    def seconds(self) -> float:
        """Seconds after which it wants to be attended to, whatever arrives; at least 0."""
        ...

    def attend(self) -> bool:
        """Do what is due, without waiting; say whether the study ends."""
        ...


class Executor(abc.ABC):
    """Runs trials somewhere; the driver is its only caller, from one thread.

    To write one, derive from this class, and:

    1. Call the function that `Workplace.make_run_trial` returns for each request: it trains the
       trial, reports every epoch, and returns the outcome, whatever happens in it.
    2. Never run a trial twice at the same time, and lose none: each submitted request comes out
       of `wait` once. A trial whose worker died may be retried, and gives the same outcome.
    3. Deliver a trial's files where its request wants them (`output_dir`, `curve_dir`).
    4. Answer a report of an epoch with the reason for which `stop` was called, if it was. Where
       the request is judged (`is_judged`), answer only once `on_epoch` has been called with the
       epoch, and first with what that returned; then set `can_prune` on the executor's entry.
    5. Write a `Prepare` that checks whether trials can run there, and returns a `Start`.
    """

    @property
    @abc.abstractmethod
    def capacity(self) -> int:
        """How many trials can run at a time, at least 1; it may change in `wait`."""

    @property
    @abc.abstractmethod
    def has_room(self) -> bool:
        """Whether another trial can be submitted."""

    @property
    @abc.abstractmethod
    def running(self) -> Collection[str]:
        """The submitted trials that are running."""

    @abc.abstractmethod
    def submit(self, request: TrialRequest) -> None:
        """Take a trial, without waiting for it."""

    @abc.abstractmethod
    def stop(self, trial_id: str, why: Stopped) -> None:
        """End a submitted trial with what it has, without waiting for it.

        A running trial ends after the epoch under way, with a result. One that has not begun
        never begins: `wait` returns a failure of kind `stopped`.
        """

    @abc.abstractmethod
    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        """Wait until trials have ended or the capacity has changed.

        Args:
            on_epoch: Called meanwhile, in the caller's thread, for every epoch that ends.
            beside: Attended to meanwhile; it can end the waiting.

        Returns:
            Outcomes of the trials that have ended; empty if only the capacity has changed.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Stop everything that was started; trials in flight are lost."""


@dataclass(frozen=True)
class Workplace:
    """What an executor needs to start.

    Attributes:
        make_run_trial: Called once in each worker, with the images; returns the function that
            runs trials.
        data: The study's images.
        log_file: File for everything that workers print.
        images_dir: A folder for the images, if workers map them from files; made and removed
            by the executor.
        looks_ahead: Whether proposals do not depend on results, so that workers may be given
            trials ahead of time.
    """

    make_run_trial: MakeRunTrial
    data: ImageData
    log_file: Path
    images_dir: Path
    looks_ahead: bool = False


Start = Callable[[Workplace], Executor]
"""Starts an executor, once the study's folder is held."""

Prepare = Callable[..., Start]
"""Checks, before anything is written, whether trials can run there.

It is given the executor's entry and the dotted names of the user's functions that workers call:
the model function, then those that make callbacks. It raises the errors that a user must know
about (`ConfigError`, `UnavailableError`).
"""


def prepare(config: ExecutorConfig, *functions: str) -> Start:
    """Check whether trials can run where a configuration wants them to.

    Args:
        config: The executor's entry, with its options.
        functions: Dotted names of the functions that workers call; see `Prepare`.

    Raises:
        ConfigError: If they cannot, or the entry names no function.
        UnavailableError: If the cluster they would run on does not answer.
    """
    start: Start = find_function("prepare", config.prepare)(config, *functions)
    return start
