"""Where trials run: one interface for this process, worker processes and a cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Protocol

from tuner.trial import OnEpoch, Outcome, RunTrial, TrialRequest, WorkerSetup

if TYPE_CHECKING:
    from tuner.datasets import ImageData

MakeRunTrial = Callable[["ImageData"], RunTrial]
"""Called once in each worker, with the study's images; crosses to it by pickle."""


def make_run_trial(setup: WorkerSetup, data: ImageData) -> RunTrial:
    """Return what runs trials, in the process this is called in: it imports TensorFlow.

    Args:
        setup: What the trials share.
        data: The images.
    """
    from tuner.worker.worker import Worker

    return Worker(setup, data).run


class Beside(Protocol):
    """What goes on beside trials, and may end the study."""

    @property
    def connections(self) -> Sequence[Connection]:
        """What has something to say, in the course of time."""
        ...

    def attend(self) -> bool:
        """Take what has been said, without waiting; say whether trials need not end."""
        ...


class Executor(Protocol):
    """Runs trials somewhere; the driver is its only caller, from one thread."""

    @property
    def capacity(self) -> int:
        """How many trials can run at a time, at least 1; it may change in `wait`."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether one trial more would be of use."""
        ...

    @property
    def running(self) -> Collection[str]:
        """The trials that run, of all that have been submitted."""
        ...

    def submit(self, request: TrialRequest) -> None:
        """Take a trial, without waiting for it."""
        ...

    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        """Wait until trials have ended or the capacity has changed.

        Args:
            on_epoch: Called meanwhile, in the caller's thread, for every epoch that ends.
            beside: Attended to meanwhile; ends the waiting if it says so.

        Returns:
            How the trials that have ended did; empty if only the capacity has changed.
        """
        ...

    def close(self) -> None:
        """Stop everything that was started; trials in flight are lost."""
        ...
