"""The run of a trial while it is recorded: what it holds, and what is still to be written."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import mlflow
from mlflow.entities import Metric, RunTag

from tuner import names
from tuner.outcomes import TrialPause, TrialResult, is_cut
from tuner.tracking.facts import Repeats, TrialRecord
from tuner.tracking.manifest import Manifest
from tuner.tracking.run_maker import param_text
from tuner.trial import Metrics, Values

_BATCH_METRICS = 1000

_EPOCHS = (names.EPOCHS_TRAINED, names.EPOCHS_REUSED)


@dataclass
class TrialRun:
    """The run of one trial, refit or finalist.

    Attributes:
        run_id: Id of the run in MLflow.
        artifact_uri: Where its files go.
        kind: `names.KIND_TRIAL`, `names.KIND_REFIT` or `names.KIND_FINALIST`.
        values: The values it was recorded with, if an earlier process has made it.
        params: Names of the params that it has.
        recorded: The metrics of the whole trial that an earlier process has recorded.
        cut: Whether it was recorded with fewer epochs than its values say, to its end or where
            it is paused, and is not yet recorded with more.
        at_rung: The metrics of a paused trial.
        seconds: Wall time of the trial in workers until it was paused.
        is_ours: Whether this process has opened it, and so knows all that it holds.
        finished: The metrics last logged, if the trial has been recorded to its end and its
            files are intact.
        manifest: The files it has logged, if known.
        num_epochs: Number of epochs whose metrics are recorded or pending.
        losses: The loss after each of these epochs, by epoch.
        came: The metrics that this process has received, by epoch.
        repeats: Its trainings, if they are recorded.
        num_repeats: Number of trainings whose epochs are recorded or pending.
        model_id: Id of the model that it has logged, if any.
        was_restored: Whether the metrics of its model were recorded once more; see
            `trial_epochs.step_of_model`.
        step_of_model: The step at which they are.
        pending: Metrics not written yet: one call for several epochs costs no more than a call
            for one.
        written: Monotonic time of the last call.
    """

    run_id: str
    artifact_uri: str
    kind: str = names.KIND_TRIAL
    values: Values | None = None
    params: frozenset[str] = frozenset()
    recorded: Metrics = field(default_factory=dict)
    cut: bool = False
    at_rung: Metrics = field(default_factory=dict)
    seconds: float = 0.0
    is_ours: bool = False
    finished: Metrics | None = None
    manifest: Manifest | None = None
    num_epochs: int = 0
    losses: dict[int, float] = field(default_factory=dict)
    came: dict[int, Metrics] = field(default_factory=dict)
    repeats: Repeats | None = None
    num_repeats: int = 0
    model_id: str | None = None
    was_restored: bool = False
    step_of_model: int = 0
    pending: list[Metric] = field(default_factory=list)
    written: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, record: TrialRecord) -> TrialRun:
        """Return the run that an earlier process has made, as its record says."""
        cut = is_cut(record.stopped) or record.status == names.PAUSED
        return cls(
            record.run_id,
            record.artifact_uri,
            record.kind,
            values=record.values,
            params=record.params,
            # A trial that is resumed after it was cut records them again, at a later step.
            recorded={} if cut else record.metrics,
            cut=cut,
            at_rung=record.metrics if record.status == names.PAUSED else {},
            seconds=record.metrics.get(names.TRIAL_SECONDS, 0.0) if cut else 0.0,
            finished=record.metrics if record.status == "FINISHED" else None,
            manifest=record.manifest,
            was_restored=record.best_epoch is not None or record.repeats is not None,
            repeats=record.repeats,
            num_repeats=max(names.repeats_with(record.metrics), default=0),
        )

    def has_values(self, values: Values) -> bool:
        """Say whether it was recorded with these values, if it was recorded with any."""
        return self.values is None or _texts(self.values) == _texts(values)

    def start_over(self, run_id: str, artifact_uri: str) -> None:
        """Move to another run, which holds no metrics and no model."""
        self.run_id, self.artifact_uri = run_id, artifact_uri
        self.recorded, self.model_id, self.was_restored = {}, None, False
        self.pending, self.num_epochs, self.losses = [], 0, {}
        self.repeats, self.num_repeats = None, 0

    def agrees(self, epoch: int, metrics: Metrics) -> bool:
        """Say whether an epoch that the run has came out as recorded, as far as is known.

        Args:
            epoch: Number of the epoch, from 1.
            metrics: The epoch's metrics, as Keras names them.
        """
        known, loss = self.losses.get(epoch), metrics.get("loss")
        return known is None or loss is None or _is_same(known, loss)

    def add_epoch(self, epoch: int, metrics: Metrics) -> None:
        """Add a new epoch's metrics to those to be written."""
        self.pending += metrics_at(epoch, metrics)
        self.num_epochs = epoch
        self.losses[epoch] = metrics.get("loss", math.nan)

    def add_repeat(self, repeat: int, epochs: Sequence[Metrics]) -> None:
        """Add the metrics of all epochs of one of its trainings to those to be written."""
        for epoch, metrics in enumerate(epochs, 1):
            named = {names.of_repeat(repeat, name): value for name, value in metrics.items()}
            self.pending += metrics_at(epoch, named)
        self.num_repeats = repeat

    def add_final(self, metrics: Metrics, model_id: str | None) -> None:
        """Add the metrics of the whole trial to those to be written, at its last epoch.

        Args:
            metrics: What `final_metrics` returns.
            model_id: Id of the model that they were measured on, if it is logged.
        """
        # A process killed just before it ended the run may already have recorded them; but they
        # may also be those of a rung from which the trial was resumed.
        is_known = all(metrics[name] == self.recorded.get(name) for name in _EPOCHS)
        known = self.recorded if is_known else {}
        new = {name: value for name, value in metrics.items() if name not in known}
        self.pending += metrics_at(self.num_epochs, new, model_id)

    def write_pending(
        self, client: mlflow.MlflowClient, tags: Mapping[str, str] | None = None
    ) -> None:
        """Write the pending metrics to the run, and tags with them."""
        run_tags = [RunTag(key, value) for key, value in (tags or {}).items()]
        # Tags are sent with the metrics, or alone if there are none.
        for i in range(0, max(len(self.pending), bool(tags)), _BATCH_METRICS):
            batch = self.pending[i : i + _BATCH_METRICS]
            client.log_batch(self.run_id, batch, tags=run_tags if i == 0 else ())
        self.pending = []
        self.written = time.monotonic()


def final_metrics(result: TrialResult | TrialPause, seconds: float = 0.0) -> Metrics:
    """Return the metrics that a trial has once, after its last epoch or the last so far.

    Args:
        result: The trial.
        seconds: Wall time that it took before it was paused.
    """
    tested: dict[str, float] = {}
    if result.latency_ms is not None:
        tested[names.LATENCY_MS] = result.latency_ms
    if isinstance(result, TrialResult):
        tested |= {**result.test, names.EVALUATE_SECONDS: result.evaluate_seconds}
    return {
        **tested,
        names.TRAIN_SECONDS: result.train_seconds,
        names.COMPILE_SECONDS: result.compile_seconds,
        names.TRIAL_SECONDS: seconds + result.seconds,
        names.NUM_PARAMETERS: result.num_parameters,
        names.EPOCHS_TRAINED: result.num_epochs - result.epochs_reused,
        names.EPOCHS_REUSED: result.epochs_reused,
    }


def metrics_at(step: int, metrics: Metrics, model_id: str | None = None) -> list[Metric]:
    """Return metrics as MLflow takes them, all of this moment and of one step."""
    now = int(time.time() * 1000)
    return [Metric(key, value, now, step, model_id=model_id) for key, value in metrics.items()]


def _texts(values: Values) -> dict[str, str]:
    return {name: param_text(value) for name, value in values.items()}


def _is_same(recorded: float, value: float) -> bool:
    """Say whether a recorded value is this one; databases cannot hold infinity."""
    if math.isnan(recorded) or math.isnan(value):
        return math.isnan(recorded) and math.isnan(value)
    most = sys.float_info.max
    return math.isclose(recorded, max(-most, min(value, most)), rel_tol=1e-9)
