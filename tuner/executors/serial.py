"""Trials one after another, in the driver's own process."""

from collections import deque
from collections.abc import Callable, Collection

from tuner.config.executors import SerialConfig
from tuner.errors import TrialStopped
from tuner.executors import Beside, Executor, Start, Workplace
from tuner.outcomes import Outcome, RunTrial, TrialFailure
from tuner.trial import Metrics, OnEpoch, Stopped, TrialRequest


def prepare(config: SerialConfig, *functions: str) -> Start:
    """Take any study; see `Prepare`."""

    def start(workplace: Workplace) -> Executor:
        return SerialExecutor(lambda: workplace.make_run_trial(workplace.data))

    return start


class SerialExecutor(Executor):
    """Runs a trial whenever `wait` is called; see `Executor`.

    Args:
        make_worker: Makes the function that runs a trial; called once, for the first trial.
    """

    def __init__(self, make_worker: Callable[[], RunTrial]) -> None:
        self._make_worker = make_worker
        self._run_trial: RunTrial | None = None
        self._requests: deque[TrialRequest] = deque()
        self._stops: dict[str, Stopped] = {}

    @property
    def capacity(self) -> int:
        """One trial at a time."""
        return 1

    @property
    def has_room(self) -> bool:
        """Whether no trial waits."""
        return len(self._requests) < self.capacity

    @property
    def running(self) -> Collection[str]:
        """The trial that the next `wait` runs."""
        return [request.trial_id for request in self._requests][:1]

    def submit(self, request: TrialRequest) -> None:
        """Queue a trial."""
        self._requests.append(request)

    def stop(self, trial_id: str, why: Stopped) -> None:
        """End a trial early; see `Executor`."""
        self._stops[trial_id] = why

    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        """Run the trial that was submitted first, and return how it ended."""
        request = self._requests.popleft()
        if request.trial_id in self._stops:
            return [TrialFailure.not_begun(request.trial_id)]
        if self._run_trial is None:
            self._run_trial = self._make_worker()

        def report(
            trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False
        ) -> Stopped | None:
            why = on_epoch(trial_id, epoch, metrics, is_reused)
            if beside is not None and beside.attend():
                raise TrialStopped("The study has failed and cannot use its result.")
            return why or self._stops.get(trial_id)

        return [self._run_trial(request, report)]

    def close(self) -> None:
        """Forget the queued trials."""
        self._requests.clear()
