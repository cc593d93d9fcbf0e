"""A study that runs, as its driver records it: real runs in MLflow, and no trainings."""

import json
import time
from typing import Any

import mlflow
from mlflow.entities import Run

from support.reports import PARAMS, PROFILE
from tuner import names
from tuner.outcomes import TrialFailure
from tuner.tracking.data_record import DataRecord
from tuner.tracking.runs import Tracker

VALUES = {
    "epochs": 4,
    "batch_size": 32,
    "layers": 1,
    "units_1": 16,
    "learning_rate": 0.01,
    "optimizer": "adam",
    "batch_norm": True,
}


class LiveStudy:
    """Records what the driver of a study would.

    Args:
        client: Client of the store.
        name: The study's name.
        study_id: Its id.
    """

    def __init__(
        self, client: mlflow.MlflowClient, name: str = "first", study_id: str = "id-1"
    ) -> None:
        self.client = client
        self.tracker = Tracker(client, "digits", name, study_id)
        self.open()

    def open(self) -> None:
        """Begin or resume the study."""
        data = DataRecord("digits", "d1", "{}", json.dumps(PROFILE))
        self.tracker.open_study({**PARAMS, "search.max_trials": 20}, data, [])
        self.tell(NUM_TRIALS="20")

    @property
    def run(self) -> Run:
        return self.client.get_run(self.tracker.run_id)

    def tell(self, **tags: str) -> None:
        """Say how far the study is, in the tags of its run."""
        self.tracker.log_study({}, {getattr(names, key): text for key, text in tags.items()})

    def train(self, trial_id: str, *scores: float, **values: Any) -> None:
        """Begin a trial, unless it runs, and log the accuracy of all epochs so far."""
        trial = self.tracker.open_trial(trial_id, {**VALUES, **values}, {})
        for epoch, score in enumerate(scores, 1):
            metrics = {"val_accuracy": score, "loss": 1 / epoch}
            self.tracker.log_epoch(trial_id, epoch, metrics)
        trial.write_pending(self.client)

    def finish(self, trial_id: str, *scores: float, **values: Any) -> None:
        """Train a trial to its end."""
        self.train(trial_id, *scores, **values)
        self.client.set_terminated(self.tracker.run_of(trial_id), "FINISHED")

    def fail(self, trial_id: str, error: str) -> None:
        self.tracker.fail_trial(TrialFailure(trial_id, error, error, "error"))

    def stop_tag(self, trial_id: str | None = None) -> str | None:
        """Return what the study or a trial has been asked for."""
        run_id = self.tracker.run_id if trial_id is None else self.tracker.run_of(trial_id)
        return self.client.get_run(run_id).data.tags.get(names.STOP)


def soon(holds: Any, seconds: float = 60) -> None:
    """Wait until something holds that the machine does in its own time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
