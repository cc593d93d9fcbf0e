"""A simulated trial: as in `tuner.worker`, but epochs are looked up, and time is virtual."""

import dataclasses
import math
from collections.abc import Generator, Mapping, Set
from pathlib import Path
from typing import Protocol

from tuner.driver.clock import Clock
from tuner.errors import ConfigError, InfeasibleTrial
from tuner.outcomes import Outcome, TrialFailure, TrialFiles, TrialPause, TrialResult
from tuner.trial import (
    Metrics,
    Objective,
    ReportEpoch,
    TrialRequest,
    Values,
    all_finite,
    without_epochs,
)
from tuner.worker.ending import Ending

SECONDS = "seconds"
"""Among the metrics of a simulated epoch: what it costs."""


class Evaluate(Protocol):
    """Says what a real training would have shown after an epoch."""

    def __call__(self, values: Values, epoch: int, repeat: int, /) -> Mapping[str, float]:
        """Return the metrics after an epoch, and what the epoch cost.

        Args:
            values: One point of the space that was given to `simulate`, without `epochs`.
            epoch: Number of the epoch, from 1.
            repeat: Which training of these values it is: 0 for the first, then those of
                `search.repeats`, then the new seeds of finalists.

        Returns:
            The objective, perhaps further metrics, and `seconds`: the simulated time that the
            epoch takes, at least 0.

        Raises:
            InfeasibleTrial: If the training fails there; the search continues.
        """
        ...


Course = Generator[float, None, Outcome]
"""A trial under way: it yields the seconds until it wants to continue, and returns its end."""


@dataclasses.dataclass
class _Epoch:
    trial_id: str
    metrics: Metrics
    seconds: float


class SimulatedWorker:
    """Runs trials by looking up their epochs.

    A curve that another trial has begun is continued, as by a real worker: its epochs cost
    nothing again.

    Args:
        evaluate: Says what each epoch shows.
        hidden: The values that `evaluate` does not hear of.
        repeats: The repeat that `evaluate` is asked for, by the seed of a finalist.
        objective: The metric that every epoch must have.
        clock: Tells simulated time.

    Attributes:
        epochs_spent: Number of epochs that were trained.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        hidden: Set[str],
        repeats: Mapping[int, int],
        objective: Objective,
        clock: Clock,
    ) -> None:
        self.epochs_spent = 0
        self._evaluate = evaluate
        self._hidden = hidden
        self._repeats = repeats
        self._objective = objective
        self._clock = clock
        self._curves: dict[str, list[_Epoch]] = {}

    def run(self, request: TrialRequest, report: ReportEpoch) -> Course:
        """Run a trial; see `Course`."""
        try:
            return (yield from self._run(request, report))
        except InfeasibleTrial as error:
            return TrialFailure(request.trial_id, str(error), str(error), "infeasible")

    def _run(self, request: TrialRequest, report: ReportEpoch) -> Course:
        trial_id, began = request.trial_id, self._clock.monotonic()
        ending = Ending(request, report, self._clock.now, self._clock.monotonic)
        curve = self._curves.setdefault(request.curve_dir or trial_id, [])
        epochs = curve[: request.epochs]
        while not ending.reaches([epoch.metrics for epoch in epochs]):
            epochs = curve[: ending.last]
        while len(epochs) < request.epochs and ending.why is None:
            epoch = self._next(request, len(epochs) + 1)
            yield epoch.seconds
            if not all_finite(epoch.metrics):
                raise InfeasibleTrial(
                    f"All metrics must be finite, but after epoch {len(epochs) + 1} they are "
                    f"{dict(epoch.metrics)}."
                )
            epochs.append(epoch)
            curve.append(epoch)
            self.epochs_spent += 1
            ending.note(len(epochs), epoch.metrics)
        own = sum(epoch.seconds for epoch in epochs if epoch.trial_id == trial_id)
        if request.pauses and ending.why is None:
            return TrialPause(
                trial_id=trial_id,
                epochs=tuple(epoch.metrics for epoch in epochs),
                num_parameters=0,
                train_seconds=own,
                seconds=self._clock.monotonic() - began,
                epochs_reused=sum(epoch.trial_id != trial_id for epoch in epochs),
            )
        reused = [epoch for epoch in epochs if epoch.trial_id != trial_id]
        return TrialResult(
            trial_id=trial_id,
            epochs=tuple(epoch.metrics for epoch in epochs),
            test={},
            files=TrialFiles((), ""),
            num_parameters=0,
            train_seconds=own,
            seconds=self._clock.monotonic() - began,
            epochs_reused=len(reused),
            continued_from=reused[-1].trial_id if reused else None,
            stopped=ending.why if len(epochs) < request.epochs else None,
        )

    def _next(self, request: TrialRequest, number: int) -> _Epoch:
        """Look up an epoch.

        Raises:
            ConfigError: If what `evaluate` returns is not an epoch's metrics.
        """
        values = {n: v for n, v in request.values.items() if n not in self._hidden}
        found = dict(
            self._evaluate(values, number, self._repeats.get(request.seed, request.repeat - 1))
        )
        for name in (self._objective.name, SECONDS):
            if name not in found:
                example = {self._objective.name: 0.5, SECONDS: 1.0}
                raise ConfigError(
                    f"`evaluate` must return `{name}` for every epoch, as in {example}, but "
                    f"returned {found}."
                )
        seconds = found.pop(SECONDS)
        if not 0 <= seconds < math.inf:
            raise ConfigError(
                f"`{SECONDS}` that `evaluate` returns must be a finite number, at least 0, but "
                f"got {seconds}."
            )
        return _Epoch(request.trial_id, found, seconds)


class SimulatedCurves:
    """Names the curves, as `tuner.curves.store.CurveStore` does; there are no files."""

    def __init__(self) -> None:
        self._names: dict[str, Path] = {}

    def begin(
        self, trial_id: str, values: Values, seed: int | None = None, repeat: int = 1
    ) -> Path:
        """See `CurveStore.begin`."""
        key = repr((sorted(without_epochs(values).items()), seed, repeat))
        return self._names.setdefault(key, Path(f"{len(self._names):04d}"))

    def note_score(self, trial_id: str, values: Values, score: float) -> None:
        """See `CurveStore.note_score`."""

    def end(self, trial_id: str) -> None:
        """See `CurveStore.end`."""

    def finish(self) -> None:
        """See `CurveStore.finish`."""
