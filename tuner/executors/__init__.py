"""Where trials run: one interface for this process, worker processes and a cluster."""

from typing import Protocol

from tuner.trial import OnEpoch, Outcome, TrialRequest


class Executor(Protocol):
    """Runs trials somewhere; the driver is its only caller, from one thread.

    Nothing is started before the first `submit`, so that a study with nothing left to do costs
    nothing.
    """

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
