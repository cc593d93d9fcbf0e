"""Where trials run: one interface for this process, worker processes and a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tuner.trial import OnEpoch, Outcome, RunTrial, TrialRequest, WorkerSetup

if TYPE_CHECKING:
    from tuner.datasets import ImageData


def make_run_trial(setup: WorkerSetup, data: ImageData) -> RunTrial:
    """Return what runs trials, in the process this is called in: it imports TensorFlow.

    Args:
        setup: What the trials share.
        data: The images.
    """
    from tuner.worker import Worker

    return Worker(setup, data).run


class Executor(Protocol):
    """Runs trials somewhere; the driver is its only caller, from one thread."""

    @property
    def capacity(self) -> int:
        """How many trials can be in flight; it may change while a study runs."""
        ...

    def submit(self, request: TrialRequest) -> None:
        """Take a trial, without waiting for it."""
        ...

    def wait(self, on_epoch: OnEpoch) -> list[Outcome]:
        """Wait until at least one trial has ended, and return those that have.

        Args:
            on_epoch: Called meanwhile, in the caller's thread, for every epoch that ends.
        """
        ...

    def close(self) -> None:
        """Stop everything that was started; trials in flight are lost."""
        ...
