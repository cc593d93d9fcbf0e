"""The floor: the compiled epochs of a list of trials, and nothing else.

Nothing is proposed, recorded, drawn or saved. Each shape is compiled once, in one process per
core. The epochs are exactly those that Glassy trains, so the validation accuracies must be the
same to the last digit.
"""

import functools
import multiprocessing
from collections.abc import Sequence
from typing import Any

from benchmarks.job import Job, Values, load_splits, write_scores
from benchmarks.values import PLAIN
from tuner.runtime import tensorflow_setup
from tuner.trial import Value, trial_seed

FIXED: dict[str, Value] = {"layers": 2, **PLAIN}
"""The rest of the values, as `conf/model/mlp.yaml` has them; a seed follows from all."""


def main() -> None:
    """Train all trials of the job."""
    job = Job.from_command_line()
    by_shape: dict[tuple[int, int], list[Values]] = {}
    for values in job.trials():
        by_shape.setdefault((values["units_1"], values["units_2"]), []).append(values)
    # Widest first, so that the processes end at about the same time.
    groups = [by_shape[shape] for shape in sorted(by_shape, reverse=True)]
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(job.workers) as pool:
        scores = pool.map(functools.partial(_train, job), groups, chunksize=1)
    write_scores([score for of_group in scores for score in of_group])


def _train(job: Job, group: Sequence[Values]) -> list[tuple[Values, float]]:
    """Train trials of one shape, and return their last validation accuracies."""
    train, validation = _load(job.splits)
    return [(values, _fit(job, values, train, validation)) for values in group]


@functools.cache
def _load(splits: str) -> tuple[Any, Any]:
    """Load the images once per process: a compiled program is bound to arrays in memory."""
    from tuner.datasets import Split

    tensorflow_setup.set_threads(1)
    arrays = load_splits(splits)
    train, validation = (
        Split(arrays[f"{name}_images"], arrays[f"{name}_labels"])
        for name in ("train", "validation")
    )
    return train, validation


def _fit(job: Job, values: Values, train: Any, validation: Any) -> float:
    from tuner import training
    from tuner.models import mlp

    complete = {**FIXED, **values, "batch_size": job.batch_size}
    seed = trial_seed(job.seed, complete)
    training.seed_everything(seed)
    num_classes = int(train.labels.max()) + 1
    history = training.fit(
        mlp.build(complete, train.images.shape[1:], num_classes),
        train,
        validation,
        epochs=values["epochs"],
        batch_size=job.batch_size,
        seed=seed,
        engine="xla",
    )
    return float(history.history["val_accuracy"][-1])


if __name__ == "__main__":
    main()
