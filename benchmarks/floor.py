"""The floor: the compiled epochs of a list of trials, and nothing else.

Nothing is proposed, recorded, drawn or saved. Each shape is traced and compiled by XLA once, in
one process per core. This is how Glassy trained before shapes shared a trace, kept here so that
the floor does not move with its own training code. The batches are those that Glassy trains, in
its order.
"""

import functools
import multiprocessing
from collections.abc import Sequence
from typing import Any

from benchmarks.job import Job, Values, load_splits, write_scores
from benchmarks.values import PLAIN
from tuner.runtime import tensorflow_setup
from tuner.trial import Value, trial_seed

EVALUATION_BATCH = 1024

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
    epochs: _Epochs | None = None
    scores = []
    for values in group:
        complete = {**FIXED, **values, "batch_size": job.batch_size}
        seed = trial_seed(job.seed, complete)
        model = _built(job, complete, seed)
        if epochs is None:
            epochs = _Epochs(model, job)
        scores.append((values, epochs.train(model, values["epochs"], seed)))
    return scores


def _built(job: Job, values: dict[str, Value], seed: int) -> Any:
    """Return a new model of a trial, with the weights that its seed gives it."""
    import keras

    from tuner.models import mlp

    keras.utils.set_random_seed(seed)
    arrays = _load(job.splits)
    num_classes = int(arrays["train_labels"].max()) + 1
    return mlp.build(values, arrays["train_images"].shape[1:], num_classes)


@functools.cache
def _load(splits: str) -> dict[str, Any]:
    """Load the images once per process."""
    tensorflow_setup.set_threads(1)
    return load_splits(splits)


class _Epochs:
    """The compiled epochs of one shape.

    Args:
        model: A model of the shape.
        job: The job.
    """

    def __init__(self, model: Any, job: Job) -> None:
        import tensorflow as tf

        arrays = _load(job.splits)
        images, labels, seen, known = (
            tf.constant(arrays[f"{split}_{what}"])
            for split in ("train", "validation")
            for what in ("images", "labels")
        )
        self._model, self._num_images, self._batch_size = model, len(images), job.batch_size

        def batch(chosen: Any) -> tuple[Any, Any]:
            return tf.gather(images, chosen), tf.gather(labels, chosen)

        @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
        def steps(batches: Any) -> None:
            def step(i: Any) -> Any:
                model.train_step(batch(batches[i]))
                return i + 1

            tf.while_loop(lambda i: i < batches.shape[0], step, [0], parallel_iterations=1)

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def last_step(chosen: Any) -> None:
            model.train_step(batch(chosen))

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def validation() -> None:
            for first in range(0, len(seen), EVALUATION_BATCH):
                part = slice(first, first + EVALUATION_BATCH)
                model.test_step((seen[part], known[part]))

        self._steps, self._last_step, self._validation = steps, last_step, validation
        model.test_step((images[:1], labels[:1]))
        self._fresh = [variable.numpy() for variable in model.optimizer.variables]

    def train(self, model: Any, epochs: int, seed: int) -> float:
        """Train with the weights of a model, and return the last validation accuracy."""
        import tensorflow as tf

        from tuner.training.keras_loop import order

        own = self._model
        own.set_weights(model.get_weights())
        for variable, value in zip(own.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        in_full = self._num_images - self._num_images % self._batch_size
        for epoch in range(1, epochs + 1):
            shuffled = order(self._num_images, seed, epoch)
            self._steps(tf.reshape(shuffled[:in_full], (-1, self._batch_size)))
            if in_full < self._num_images:
                self._last_step(shuffled[in_full:])
            own.reset_metrics()
            self._validation()
        return float(own.get_metrics_result()["accuracy"])


if __name__ == "__main__":
    main()
