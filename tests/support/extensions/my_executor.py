"""An executor of a user's own: each trial in a process of its own."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from tuner.config.executors import ExecutorConfig
from tuner.executors import Beside, Executor, Start, Workplace
from tuner.outcomes import Outcome, TrialFailure
from tuner.runtime import forkserver
from tuner.trial import Metrics, OnEpoch, Stopped, TrialRequest


@dataclass
class AloneConfig(ExecutorConfig):
    """`executor=alone`."""

    greeting: str = "hello"

    prepare: ClassVar[str] = "my_executor.prepare"


def prepare(config: AloneConfig, *functions: str) -> Start:
    print(f"{config.greeting} from an executor for {functions[0]}")
    return AloneExecutor


class AloneExecutor(Executor):
    """Starts a process for each trial, and waits for it."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._waiting: deque[TrialRequest] = deque()
        self._stops: dict[str, Stopped] = {}

    @property
    def capacity(self) -> int:
        return 1

    @property
    def has_room(self) -> bool:
        return not self._waiting

    @property
    def running(self) -> Collection[str]:
        return [request.trial_id for request in self._waiting]

    def submit(self, request: TrialRequest) -> None:
        self._waiting.append(request)

    def stop(self, trial_id: str, why: Stopped) -> None:
        self._stops[trial_id] = why

    def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
        request = self._waiting.popleft()
        if request.trial_id in self._stops:
            return [TrialFailure.not_begun(request.trial_id)]
        outcome, epochs = forkserver.call(run_alone, self._workplace, request)
        for epoch in epochs:
            on_epoch(*epoch)
        return [outcome]

    def close(self) -> None:
        self._waiting.clear()


Epoch = tuple[str, int, Metrics, bool]


def run_alone(workplace: Workplace, request: TrialRequest) -> tuple[Outcome, list[Epoch]]:
    epochs: list[Epoch] = []

    def note(trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False) -> None:
        epochs.append((trial_id, epoch, metrics, is_reused))

    return workplace.make_run_trial(workplace.data)(request, note), epochs
