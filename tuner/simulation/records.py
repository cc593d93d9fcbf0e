"""What a simulated study writes down: in memory, for the table that `simulate` returns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tuner import names
from tuner.driver.clock import Clock
from tuner.driver.study_state import StudyState
from tuner.outcomes import Outcome, TrialFailure, TrialPause, TrialResult, is_cut
from tuner.tracking.facts import Presence, StopRequests
from tuner.trial import Metrics, Values


@dataclass
class Record:
    """One simulated trial or finalist.

    Attributes:
        trial_id: The oracle's name for it, or the name of a finalist.
        values: One point of the space.
        started: Simulated seconds at which a worker first took it.
        ended: Simulated seconds at which it last ended or paused; NaN before that.
        outcome: How it last ended, or where it is paused; None before that.
        seconds: How long it has run before it was last paused.
        finalist_of: The trial that a finalist trains again; None for a trial.
        seed: Seed of a finalist; None for a trial.
    """

    trial_id: str
    values: Values
    started: float
    ended: float = float("nan")
    outcome: Outcome | None = None
    seconds: float = 0.0
    finalist_of: str | None = None
    seed: int | None = None


class SimulatedRecorder:
    """Records trials as `tuner.tracking.runs.Tracker` does; see `tuner.driver.parts.Recorder`.

    Args:
        clock: Tells simulated time.

    Attributes:
        records: The trials and the finalists, in the order in which they began.
        ends: Each end and each pause of a trial with its time, in their order.
    """

    def __init__(self, clock: Clock) -> None:
        self.records: dict[str, Record] = {}
        self.ends: list[tuple[float, Outcome]] = []
        self._clock = clock

    def finished_trials(self) -> Mapping[str, Metrics]:
        """See `Recorder.finished_trials`."""
        trials = (r for r in self.records.values() if r.finalist_of is None)
        results = {record.trial_id: _result_of(record) for record in trials}
        return {i: result.final for i, result in results.items() if result is not None}

    def finished(self, trial_id: str, values: Values) -> Metrics | None:
        """See `Recorder.finished`."""
        record = self.records.get(trial_id)
        return self.metrics(trial_id) if record is not None and _result_of(record) else None

    def was_cut(self, trial_id: str) -> bool:
        """See `Recorder.was_cut`."""
        result = _result_of(self.records[trial_id])
        return result is not None and is_cut(result.stopped)

    def presence(self, trial_ids: Iterable[str]) -> Presence:
        """See `Recorder.presence`: nothing is ever deleted."""
        return Presence(frozenset(trial_ids), frozenset(), frozenset())

    def open_trial(
        self, trial_id: str, values: Values, tags: Mapping[str, str], kind: str
    ) -> object:
        """See `Recorder.open_trial`."""
        record = Record(trial_id, values, self._clock.now())
        if kind == names.KIND_FINALIST:
            record.finalist_of, record.seed = tags[names.FINALIST_OF], int(tags[names.SEED])
        return self.records.setdefault(trial_id, record)

    def has_epoch(self, trial_id: str, epoch: int) -> bool:
        """See `Recorder.has_epoch`: of a trial that is resumed, those before its rung."""
        outcome = self.records[trial_id].outcome
        return isinstance(outcome, TrialPause) and epoch <= len(outcome.epochs)

    def curve(self, trial_id: str, values: Values, metric: str) -> Sequence[float]:
        """See `Recorder.curve`."""
        result = _result_of(self.records[trial_id])
        return [] if result is None else [epoch[metric] for epoch in result.epochs]

    def log_epoch(self, trial_id: str, epoch: int, metrics: Metrics) -> None:
        """See `Recorder.log_epoch`: a trial's result has its epochs."""

    def repeats(self, trial_id: str, metric: str) -> Sequence[float]:
        """See `Recorder.repeats`."""
        result = _result_of(self.records[trial_id])
        return [] if result is None else [repeat.final[metric] for repeat in result.repeats]

    def has_repeat(self, trial_id: str, repeat: int) -> bool:
        """See `Recorder.has_repeat`: no trial begins twice."""
        return False

    def log_repeat(self, trial_id: str, repeat: int, epochs: Sequence[Metrics]) -> None:
        """See `Recorder.log_repeat`: a trial's result has its repeats."""

    def finish_trial(self, result: TrialResult, with_model: bool = True) -> None:
        """See `Recorder.finish_trial`."""
        self._end(result)

    def pause_trial(self, pause: TrialPause) -> None:
        """See `Recorder.pause_trial`."""
        self._end(pause)

    def end_paused(self, trial_id: str, because: str) -> None:
        """See `Recorder.end_paused`: what a trial has, it has in its pause."""

    def is_paused(self, trial_id: str) -> bool:
        """See `Recorder.is_paused`."""
        record = self.records.get(trial_id)
        return record is not None and isinstance(record.outcome, TrialPause)

    def seconds_before(self, trial_id: str) -> float:
        """See `Recorder.seconds_before`."""
        record = self.records.get(trial_id)
        return 0.0 if record is None else record.seconds

    def fail_trial(self, failure: TrialFailure) -> None:
        """See `Recorder.fail_trial`."""
        self._end(failure)

    def kill_trial(self, trial_id: str) -> None:
        """See `Recorder.kill_trial`."""

    def drop_models(self, trial_ids: Iterable[str]) -> None:
        """See `Recorder.drop_models`: there are none."""

    def metrics(self, trial_id: str) -> Metrics:
        """See `Recorder.metrics`."""
        result = _result_of(self.records[trial_id])
        if result is None:
            raise KeyError(trial_id)
        return result.final

    def run_of(self, trial_id: str) -> str:
        """See `Recorder.run_of`."""
        return trial_id

    def log_study(self, metrics: Metrics, tags: Mapping[str, str]) -> None:
        """See `Recorder.log_study`."""

    def stop_requests(self) -> StopRequests:
        """See `Recorder.stop_requests`: nobody asks for anything."""
        return StopRequests(None, frozenset())

    def tell_progress(self, tags: Mapping[str, str]) -> None:
        """See `Recorder.tell_progress`."""

    def _end(self, outcome: Outcome) -> None:
        record = self.records[outcome.trial_id]
        if isinstance(outcome, TrialPause):
            record.seconds += outcome.seconds
        if not _is_evaluation(record.outcome, outcome):
            record.ended = self._clock.now()
            if record.finalist_of is None:
                self.ends.append((record.ended, outcome))
        record.outcome = outcome


def _is_evaluation(before: Outcome | None, now: Outcome) -> bool:
    """Say whether a paused trial was only evaluated, as the best are at the end."""
    if not (isinstance(before, TrialPause) and isinstance(now, TrialResult)):
        return False
    return len(before.epochs) == len(now.epochs)


def _result_of(record: Record) -> TrialResult | None:
    return record.outcome if isinstance(record.outcome, TrialResult) else None


class SimulatedFolder:
    """A study's state, in memory; see `tuner.driver.parts.Folder`."""

    def __init__(self) -> None:
        self.state = StudyState()

    def save_state(self) -> None:
        """See `Folder.save_state`."""

    def check_held(self) -> None:
        """See `Folder.check_held`."""

    def trial_dir(self, trial_id: str) -> Path:
        """See `Folder.trial_dir`: nothing is written there."""
        return Path(trial_id)

    def drop_trial_dir(self, trial_id: str) -> None:
        """See `Folder.drop_trial_dir`."""

    def keep_epochs(self, run_id: str, epochs: Sequence[Metrics]) -> None:
        """See `Folder.keep_epochs`."""


class NoDisplay:
    """Shows nothing; see `tuner.driver.parts.Display`."""

    capacity = 1

    def __enter__(self) -> Self:
        """See `Display.__enter__`."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `Display.__exit__`."""

    def pass_over(
        self,
        completed: Mapping[str, Values],
        num_failed: int = 0,
        paused: Mapping[str, int] | None = None,
    ) -> None:
        """See `Display.pass_over`."""

    def show_best(self, trial_id: str, score: float) -> None:
        """See `Display.show_best`."""

    def start_trial(self, trial_id: str, values: Values, rung: int | None = None) -> None:
        """See `Display.start_trial`."""

    def start_repeat(self, trial_id: str, repeat: int | None) -> None:
        """See `Display.start_repeat`."""

    def end_epoch(self, trial_id: str, epoch: int, metrics: Metrics, is_reused: bool) -> None:
        """See `Display.end_epoch`."""

    def end_trial(self, outcome: Outcome) -> None:
        """See `Display.end_trial`."""

    def as_tags(self) -> dict[str, str]:
        """See `Display.as_tags`."""
        return {}
