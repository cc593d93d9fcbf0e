"""One trial, from its values to its files."""

from pathlib import Path

from tuner.datasets import ImageData
from tuner.trial import Objective, TrialRequest, TrialResult, WorkerSetup
from tuner.worker import Worker

VALUES = {
    "epochs": 2,
    "layers": 1,
    "units_1": 16,
    "activation": "relu",
    "dropout": 0.0,
    "learning_rate": 0.01,
    "optimizer": "adam",
    "batch_size": 32,
    "transform": "rescale",
}


def test_run_returns_result(few_digits: ImageData, tmp_path: Path) -> None:
    setup = WorkerSetup("tuner.models.mlp.build", {}, Objective("val_accuracy", "max"), 1)
    result = Worker(setup, few_digits).run(
        TrialRequest("0000", VALUES, 1, str(tmp_path)), lambda *_: None
    )
    assert isinstance(result, TrialResult), result
    assert len(result.epochs) == 2
