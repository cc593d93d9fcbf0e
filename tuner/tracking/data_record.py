"""The data of a study as MLflow keeps it with its runs."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow.entities import Run


@dataclass(frozen=True)
class DataRecord:
    """The data as recorded in MLflow: the fields of a dataset input."""

    name: str
    digest: str
    source: str
    profile: str

    @classmethod
    def of(cls, run: Run) -> DataRecord:
        """Return the data record of a study's or a trial's run."""
        assert run.inputs is not None
        dataset = run.inputs.dataset_inputs[0].dataset
        return cls(dataset.name, dataset.digest, dataset.source, str(dataset.profile))
