"""Keras Tuner and nothing else: its stock `run_trial`, and no records except its own.

It follows Keras Tuner's guide "Getting started", section "Tune model training".
"""

from typing import Any

import keras
import keras_tuner

from benchmarks.job import Job, Values, load_splits, write_scores
from benchmarks.peers import network


class Network(keras_tuner.HyperModel):  # type: ignore[misc]
    """The network and how it is trained.

    Attributes:
        scores: The values and the last validation accuracy of every trial that has ended.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.scores: list[tuple[Values, float]] = []
        self._job = job
        self._splits = load_splits(job.splits)

    def build(self, hp: Any) -> Any:
        """Build the network."""
        keras.utils.set_random_seed(self._job.seed)
        splits = self._splits
        return network.build(hp.values, splits["train_images"], splits["train_labels"])

    def fit(self, hp: Any, model: Any, **arguments: Any) -> dict[str, float]:
        """Train it, with the tuner's callbacks among the arguments."""
        history = network.fit(model, self._job.batch_size, hp.values, self._splits, **arguments)
        accuracy = history["val_accuracy"][-1]
        self.scores.append((dict(hp.values), accuracy))
        return {"val_accuracy": accuracy}


def main() -> None:
    """Search the job's space."""
    job = Job.from_command_line()
    space = keras_tuner.HyperParameters()
    for name, options in job.space.items():
        space.Choice(name, options)
    model = Network(job)
    tuner = keras_tuner.GridSearch(
        model,
        objective=keras_tuner.Objective("val_accuracy", "max"),
        hyperparameters=space,
        directory="keras_tuner",
    )
    tuner.search()
    write_scores(model.scores)


if __name__ == "__main__":
    main()
