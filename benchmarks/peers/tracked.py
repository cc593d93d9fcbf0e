"""One trial, trained by Keras and recorded with MLflow's fluent interface, as users do.

Keras is imported where it is used: a process that only starts others need not wait for it.
"""

import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from benchmarks.job import Job, SearchJob, Values


def open_store() -> str:
    """Make a store in the current folder, and return its address for other processes."""
    uri = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    use_store(uri)
    return uri


def use_store(uri: str) -> None:
    """Record in this store from now on."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("benchmark")


def run_trial(
    job: Job, values: Values, splits: dict[str, Any], parent_run_id: str, pinned: bool = True
) -> float:
    """Train, evaluate and record one trial, and return its last validation accuracy.

    Args:
        job: The settings that all trials share.
        values: One point of the space.
        splits: The images.
        parent_run_id: The search's run.
        pinned: Whether MLflow is given the model's requirements instead of inferring them.
    """
    import keras

    from benchmarks.peers import network

    keras.utils.set_random_seed(job.seed)
    with mlflow.start_run(nested=True, parent_run_id=parent_run_id):
        mlflow.log_params(dict(values))
        model = network.build(values, splits["train_images"], splits["train_labels"])
        history = network.fit(model, job.batch_size, values, splits)
        for epoch in range(values["epochs"]):
            metrics = {name: by_epoch[epoch] for name, by_epoch in history.items()}
            mlflow.log_metrics(metrics, step=epoch + 1)
        _log_test(model, splits["test_images"], splits["test_labels"], pinned)
    return history["val_accuracy"][-1]


def run_watched_trial(
    job: SearchJob,
    values: Mapping[str, Any],
    splits: dict[str, Any],
    parent_run_id: str,
    report: Callable[[int, float], None],
) -> float:
    """Train one trial for all epochs, and record each as it ends; return the last accuracy.

    Args:
        job: The settings that all trials share.
        values: One point of the space.
        splits: The images.
        parent_run_id: The search's run.
        report: Called with the number of each epoch, from 1, and its validation accuracy. If it
            raises, the trial ends there. Of the last epoch it is told when the test and the
            model are recorded, since Ray's scheduler ends a trial with that report.
    """
    import keras

    from benchmarks.peers import network

    # Nothing from earlier trials is kept.
    keras.backend.clear_session()
    keras.utils.set_random_seed(job.seed)

    def end_epoch(epoch: int, logs: Mapping[str, float]) -> None:
        mlflow.log_metrics(dict(logs), step=epoch + 1)
        if epoch + 1 < job.max_epochs:
            report(epoch + 1, logs["val_accuracy"])

    with mlflow.start_run(nested=True, parent_run_id=parent_run_id):
        mlflow.log_params(dict(values))
        model = network.build(values, splits["train_images"], splits["train_labels"])
        history = network.fit(
            model,
            job.batch_size,
            {**values, "epochs": job.max_epochs},
            splits,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=end_epoch)],
        )
        _log_test(model, splits["test_images"], splits["test_labels"], pinned=True)
        accuracy = history["val_accuracy"][-1]
        report(job.max_epochs, accuracy)
    return accuracy


def _log_test(model: Any, images: Any, labels: Any, pinned: bool) -> None:
    """Record the test accuracy, the confusion matrix and the model."""
    import matplotlib.pyplot as plt
    from sklearn.metrics import ConfusionMatrixDisplay

    probabilities = model.predict(images, verbose=0)
    predictions = probabilities.argmax(axis=1)
    mlflow.log_metric("test_accuracy", float(np.mean(predictions == labels)))
    figure = ConfusionMatrixDisplay.from_predictions(labels, predictions).figure_
    mlflow.log_figure(figure, "confusion_matrix.png")
    plt.close(figure)
    mlflow.tensorflow.log_model(
        model,
        name="model",
        signature=mlflow.models.infer_signature(images[:2], probabilities[:2]),
        pip_requirements=_requirements() if pinned else None,
    )


def _requirements() -> list[str]:
    packages = ("mlflow", "tensorflow", "keras", "numpy")
    return [f"{package}=={importlib.metadata.version(package)}" for package in packages]
