"""Makes the runs of one study in MLflow, each with its params and its data."""

from __future__ import annotations

from collections.abc import Container, Mapping

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, Run

from tuner import names
from tuner.tracking.data_record import DataRecord

_BATCH_PARAMS = 100
_MAX_PARAM = 6000
"""Number of characters that MLflow accepts in a param; exact values are in tags."""


class RunMaker:
    """Makes the runs of one study.

    Args:
        client: Client of the store that holds them.
        experiment_id: Id of the study's experiment.

    Attributes:
        data: The data that is recorded with each run; None records none.
    """

    def __init__(self, client: mlflow.MlflowClient, experiment_id: str) -> None:
        self.data: DataRecord | None = None
        self._client = client
        self._experiment_id = experiment_id

    def make(self, name: str, tags: Mapping[str, str], params: Mapping[str, object]) -> Run:
        """Make a run, which is RUNNING, and record its params and data."""
        run: Run = self._client.create_run(self._experiment_id, tags=dict(tags), run_name=name)
        self.describe(run.info.run_id, params, ())
        return run

    def copy(self, run_id: str) -> Run:
        """Make a run with the name, the params and Glassy's tags of another."""
        old = self._client.get_run(run_id)
        tags = {
            key: value
            for key, value in old.data.tags.items()
            if key.startswith("tuner.") or key == names.PARENT
        }
        return self.make(str(old.info.run_name), tags, old.data.params)

    def describe(
        self, run_id: str, params: Mapping[str, object], recorded: Container[str]
    ) -> None:
        """Record a run's params and data, unless a process that was killed has done so.

        Args:
            run_id: The run.
            params: Its params.
            recorded: Names of the params that it has.
        """
        items = [Param(key, param_text(v)) for key, v in params.items() if key not in recorded]
        for i in range(0, len(items), _BATCH_PARAMS):
            self._client.log_batch(run_id, params=items[i : i + _BATCH_PARAMS])
        if self.data is not None:
            dataset = Dataset(
                name=self.data.name,
                digest=self.data.digest,
                source_type="code",
                source=self.data.source,
                profile=self.data.profile,
            )
            context = [InputTag(names.DATASET_CONTEXT, "training")]
            # An input that exists already stays as it is.
            self._client.log_inputs(run_id, [DatasetInput(dataset, context)])


def param_text(value: object) -> str:
    """Return a value as text of a length that MLflow accepts in a param."""
    text = str(value)
    return text if len(text) <= _MAX_PARAM else f"{text[: _MAX_PARAM - 1]}…"
