"""One trial, from its values to its files, and every way in which it may fail."""

import dataclasses
import importlib.metadata
import json
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import tensorflow as tf
from mlflow.models import Model
from PIL import Image

from support.networks import VALUES
from support.trials import ARTIFACTS
from tuner.constraints import Constraints
from tuner.curves.checkpoints import Curve
from tuner.datasets import ImageData
from tuner.errors import ConfigError
from tuner.evaluation import measures
from tuner.outcomes import Outcome, TrialFailure, TrialPause, TrialResult
from tuner.runtime import interrupt
from tuner.trial import CheckpointSetup, Metrics, Objective, Stopped, TrialRequest, WorkerSetup
from tuner.worker.worker import Worker, failure_of

MLP = "tuner.models.mlp.build"


def make_worker(
    data: ImageData,
    function: str = MLP,
    *,
    objective: str = "val_accuracy",
    engine: str = "graph",
    constraints: Mapping[str, Any] | None = None,
    with_latency: bool = False,
    **arguments: Any,
) -> Worker:
    goal = Objective(objective, "min" if "loss" in objective else "max")
    setup = WorkerSetup(
        function,
        arguments,
        goal,
        1,
        engine,
        constraints=Constraints.parse(constraints),
        with_latency=with_latency,
    )
    return Worker(setup, data)


def make_request(
    folder: Path,
    *,
    trial_id: str = "0000",
    seed: int = 1,
    deadline: float | None = None,
    curve: str | None = None,
    **values: Any,
) -> TrialRequest:
    curve_dir = None if curve is None else str(folder / "curves" / curve)
    output_dir = folder / f"{trial_id}-{len(list(folder.iterdir()))}"
    output_dir.mkdir()
    given = {**VALUES, **values}
    return TrialRequest(trial_id, given, seed, str(output_dir), deadline, curve_dir)


def ignore(*_: Any) -> None:
    pass


def run_own_model(data: ImageData, folder: Path, name: str, **values: Any) -> Outcome:
    worker = make_worker(data, f"support.models.{name}")
    return worker.run(make_request(folder, **values), ignore)


def succeeded(outcome: Outcome) -> TrialResult:
    assert isinstance(outcome, TrialResult), outcome
    return outcome


def failed(outcome: Outcome, kind: str) -> TrialFailure:
    assert isinstance(outcome, TrialFailure), outcome
    assert outcome.kind == kind, outcome
    assert "\n" not in outcome.error
    assert outcome.traceback.startswith("Traceback")
    return outcome


# The result of a trial


def test_run_measures_and_writes(trained: TrialResult, few_digits: ImageData) -> None:
    # (64 * 8 + 8) + (8 * 10 + 10)
    assert trained.num_parameters == 610
    assert len(trained.epochs) == 2
    for metrics in trained.epochs:
        assert set(metrics) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        assert 0 <= metrics["val_accuracy"] <= 1
    assert set(trained.test) == {
        "test_loss",
        "test_accuracy",
        "test_calibration_error",
        "test_right",
        "test_wrong",
    }
    assert trained.test["test_right"] + trained.test["test_wrong"] == 80
    parts = (trained.train_seconds, trained.compile_seconds, trained.evaluate_seconds)
    assert all(part > 0 for part in parts)
    assert sum(parts) < trained.seconds
    files = {Path(path).name: Path(path) for path in trained.files.artifacts}
    assert set(files) == set(ARTIFACTS)
    picture, table = files["confusion_matrix.png"], files["confusion_matrix.json"]
    with Image.open(picture) as image:
        assert image.format == "PNG"
    counts = json.loads(table.read_text())
    assert counts["class_names"] == [str(i) for i in range(10)]
    confusion = np.array(counts["counts"])
    # Rows are true classes.
    assert confusion.sum(axis=1).tolist() == np.bincount(few_digits.test.labels).tolist()
    assert np.trace(confusion) / 80 == trained.test["test_accuracy"]


def test_run_replaces_what_a_worker_that_died_has_left(
    few_digits: ImageData, tmp_path: Path
) -> None:
    request = make_request(tmp_path, epochs=1)
    model = Path(request.output_dir, "model")
    (model / "data").mkdir(parents=True)
    (model / "data" / "model.keras").write_bytes(b"half a model")
    (model.parent / "calibration.png").write_bytes(b"half a picture")
    result = succeeded(make_worker(few_digits).run(request, ignore))
    predictions = mlflow.pyfunc.load_model(result.files.model_dir).predict(
        few_digits.test.images
    )
    assert predictions.shape == (80, 10)


def test_run_reports_every_epoch(few_digits: ImageData, tmp_path: Path) -> None:
    reported: list[tuple[str, int, Metrics]] = []
    request = make_request(tmp_path, trial_id="0007", epochs=3)
    outcome = make_worker(few_digits).run(request, lambda *epoch: reported.append(epoch))
    result = succeeded(outcome)
    assert result.trial_id == "0007"
    assert [epoch[:2] for epoch in reported] == [("0007", 1), ("0007", 2), ("0007", 3)]
    assert tuple(epoch[2] for epoch in reported) == result.epochs


def test_run_reports_metrics_as_they_would_be_written(
    trained: TrialResult, few_digits: ImageData
) -> None:
    # A share of 80 images is a whole number of eightieths, and not 0.3499999940395355.
    value = trained.epochs[-1]["val_accuracy"]
    assert value == round(value * 80) / 80


def test_logged_model_is_the_one_that_was_measured(
    trained: TrialResult, few_digits: ImageData
) -> None:
    model = mlflow.pyfunc.load_model(trained.files.model_dir)
    probabilities = model.predict(few_digits.test.images)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (80, 10)
    result = measures.evaluate(probabilities, few_digits.test.labels)
    assert result.accuracy == trained.test["test_accuracy"]
    assert result.loss == pytest.approx(trained.test["test_loss"], abs=1e-6)
    table = json.loads(Path(trained.files.artifacts[1]).read_text())
    assert result.confusion.tolist() == table["counts"]


def test_logged_model_says_what_it_takes(trained: TrialResult, few_digits: ImageData) -> None:
    signature = Model.load(trained.files.model_dir).signature
    [images] = signature.inputs.inputs
    [probabilities] = signature.outputs.inputs
    assert (images.type, images.shape) == (np.dtype("uint8"), (-1, 8, 8))
    assert (probabilities.type, probabilities.shape) == (np.dtype("float32"), (-1, 10))


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_logged_model_refuses_images_that_are_not_raw(
    trained: TrialResult, few_digits: ImageData, dtype: Any
) -> None:
    model = mlflow.pyfunc.load_model(trained.files.model_dir)
    with pytest.raises(mlflow.MlflowException, match="uint8"):
        model.predict(few_digits.test.images.astype(dtype))


def test_logged_model_names_its_classes_and_data(
    trained: TrialResult, few_digits: ImageData
) -> None:
    metadata = Model.load(trained.files.model_dir).metadata
    assert metadata["class_names"] == [str(i) for i in range(10)]
    assert metadata["image_shape"] == [8, 8]
    assert metadata["data"] == "digits"
    assert metadata["data_digest"] == few_digits.digest


def test_logged_model_pins_what_it_needs(trained: TrialResult) -> None:
    lines = (Path(trained.files.model_dir) / "requirements.txt").read_text().split()
    names = ["keras", "mlflow", "numpy", "tensorflow"]
    assert sorted(lines) == [f"{name}=={importlib.metadata.version(name)}" for name in names]


def test_run_takes_colours(few_digits: ImageData, tmp_path: Path) -> None:
    def coloured(split: Any) -> Any:
        return dataclasses.replace(split, images=np.repeat(split.images[..., None], 3, axis=3))

    data = dataclasses.replace(
        few_digits,
        train=coloured(few_digits.train),
        validation=coloured(few_digits.validation),
        test=coloured(few_digits.test),
    )
    result = succeeded(make_worker(data).run(make_request(tmp_path, epochs=1), ignore))
    # (192 * 16 + 16) + (16 * 10 + 10)
    assert result.num_parameters == 3_258


def test_run_passes_arguments_to_the_model(few_digits: ImageData, tmp_path: Path) -> None:
    worker = make_worker(few_digits, "support.models.with_arguments", units=3)
    result = succeeded(worker.run(make_request(tmp_path, epochs=1), ignore))
    # (64 * 3 + 3) + (3 * 10 + 10)
    assert result.num_parameters == 235


# Constraints


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        (
            {"num_parameters": {"max": 1209}},
            "num_parameters 1,210 is above search.constraints.num",
        ),
        ({"latency_ms": {"max": 1e-6}}, " ms is above search.constraints.latency_ms.max=1e-"),
        (
            {"num_parameters": {"min": 9999}, "val_loss": {"max": 9}},
            "is below search.constraints",
        ),
    ],
)
def test_run_trains_no_epoch_of_a_model_that_breaks_a_constraint(
    few_digits: ImageData, tmp_path: Path, constraints: dict[str, Any], said: str
) -> None:
    epochs: list[int] = []
    worker = make_worker(few_digits, constraints=constraints, with_latency=True)
    request = make_request(tmp_path, curve="c")
    outcome = worker.run(request, lambda _, epoch, *__: epochs.append(epoch))
    assert isinstance(outcome, TrialFailure)
    assert (outcome.kind, outcome.traceback, epochs) == ("constraint", "", [])
    assert said in outcome.error
    assert outcome.of_model["num_parameters"] == 1210
    assert outcome.of_model["latency_ms"] > 0
    assert not (tmp_path / "curves").exists()


@pytest.mark.parametrize("engine", ["graph", "keras", "xla"])
def test_run_measures_latency_without_changing_the_training(
    few_digits: ImageData, tmp_path: Path, engine: str
) -> None:
    limits = {"num_parameters": {"max": 1210}, "val_loss": {"max": 1e-9}}
    values = {"dropout": 0.2} if engine != "xla" else {}
    measured = make_worker(few_digits, engine=engine, constraints=limits, with_latency=True)
    plain = make_worker(few_digits, engine=engine)
    first, second = (
        succeeded(worker.run(make_request(tmp_path, **values), ignore))
        for worker in (measured, plain)
    )
    assert (first.epochs, first.test) == (second.epochs, second.test)
    assert second.latency_ms is None
    assert first.latency_ms is not None
    assert 0 < first.latency_ms < 10_000
    assert first.of_model == {
        **first.epochs[-1],
        "num_parameters": 1210,
        "latency_ms": first.latency_ms,
    }


def test_run_constraint_on_a_metric_that_nobody_logs(
    few_digits: ImageData, tmp_path: Path
) -> None:
    worker = make_worker(few_digits, constraints={"val_acuracy": {"min": 0.5}})
    failure = failed(worker.run(make_request(tmp_path), ignore), "fatal")
    assert "`search.constraints.val_acuracy.min` must limit a metric" in failure.error
    assert failure.error.endswith("Did you mean search.constraints.val_accuracy.min?")


# Order


@pytest.mark.slow
def test_run_is_the_same_whatever_ran_before(few_digits: ImageData, tmp_path: Path) -> None:
    worker = make_worker(few_digits)
    dropout = {"dropout": 0.3}
    first = succeeded(worker.run(make_request(tmp_path, **dropout), ignore))
    # The same layers, which share a compiled program, and others.
    other = succeeded(
        worker.run(make_request(tmp_path, **dropout, learning_rate=0.1, seed=2), ignore)
    )
    failed(
        worker.run(make_request(tmp_path, **dropout, learning_rate=1e30), ignore), "infeasible"
    )
    succeeded(worker.run(make_request(tmp_path, units_1=8), ignore))
    again = succeeded(worker.run(make_request(tmp_path, **dropout), ignore))
    assert (again.epochs, again.test) == (first.epochs, first.test)
    assert (other.epochs, other.test) != (first.epochs, first.test)
    predictions = [
        mlflow.pyfunc.load_model(result.files.model_dir).predict(few_digits.test.images)
        for result in (first, again)
    ]
    np.testing.assert_array_equal(*predictions)


def test_run_longer_begins_as_the_shorter_trial(few_digits: ImageData, tmp_path: Path) -> None:
    worker = make_worker(few_digits)
    short = succeeded(worker.run(make_request(tmp_path, epochs=2), ignore))
    long = succeeded(worker.run(make_request(tmp_path, epochs=4), ignore))
    assert long.epochs[:2] == short.epochs


# Curves


def same_files(one: TrialResult, other: TrialResult, data: ImageData) -> bool:
    """Say whether two logged models are the same, to the last bit."""
    predictions = [
        mlflow.pyfunc.load_model(result.files.model_dir).predict(data.test.images)
        for result in (one, other)
    ]
    return bool(np.array_equal(*predictions)) and one.test == other.test


@pytest.mark.parametrize("engine", ["xla", "graph", "keras"])
def test_run_goes_on_where_another_trial_ended(
    few_digits: ImageData, tmp_path: Path, engine: str
) -> None:
    worker = make_worker(few_digits, engine=engine)
    whole = succeeded(worker.run(make_request(tmp_path, epochs=5, dropout=0.2), ignore))
    assert (whole.epochs_reused, whole.continued_from, whole.curve) == (0, None, "")

    options = {"curve": "key", "dropout": 0.2}
    short = succeeded(worker.run(make_request(tmp_path, epochs=2, **options), ignore))
    assert (short.epochs_reused, short.continued_from, short.curve) == (0, None, "key")
    seen: list[tuple[int, bool]] = []
    long = succeeded(
        worker.run(
            make_request(tmp_path, trial_id="0001", epochs=5, **options),
            lambda _, epoch, metrics, is_reused=False: seen.append((epoch, is_reused)),
        )
    )
    assert seen == [(1, True), (2, True), (3, False), (4, False), (5, False)]
    assert 0 < long.compile_seconds < long.seconds
    assert (long.epochs_reused, long.continued_from) == (2, "/0000")
    assert long.epochs == whole.epochs
    assert same_files(long, whole, few_digits)


def test_run_shorter_than_an_earlier_trial_trains_nothing(
    few_digits: ImageData, tmp_path: Path
) -> None:
    worker = make_worker(few_digits)
    alone = succeeded(worker.run(make_request(tmp_path, epochs=2), ignore))
    worker.run(make_request(tmp_path, epochs=4, curve="key"), ignore)
    # Epochs as short as these have no checkpoint of their own, unless a trial ends there.
    curve = Curve(tmp_path / "curves" / "key")
    worker.run(make_request(tmp_path, epochs=2, curve="key"), ignore)
    assert {2, 4} <= set(curve.epochs())
    request = make_request(tmp_path, trial_id="0001", epochs=2, curve="key")
    again = succeeded(worker.run(request, ignore))
    assert (again.epochs_reused, again.train_seconds, again.compile_seconds) == (2, 0.0, 0.0)
    assert again.epochs == alone.epochs
    assert same_files(again, alone, few_digits)


def test_run_again_after_an_interrupt_counts_what_it_has_trained(
    few_digits: ImageData, tmp_path: Path
) -> None:
    def interrupted(_: str, epoch: int, metrics: Metrics, is_reused: bool = False) -> None:
        if epoch == 3:
            raise KeyboardInterrupt

    setup = WorkerSetup(
        MLP,
        {},
        Objective("val_accuracy", "max"),
        1,
        study="s",
        checkpoints=CheckpointSetup(0.0),
    )
    worker = Worker(setup, few_digits)
    with pytest.raises(KeyboardInterrupt):
        worker.run(make_request(tmp_path, epochs=4, curve="key"), interrupted)
    result = succeeded(worker.run(make_request(tmp_path, epochs=4, curve="key"), ignore))
    assert (result.epochs_reused, result.continued_from) == (0, None)
    whole = succeeded(worker.run(make_request(tmp_path, epochs=4), ignore))
    assert result.epochs == whole.epochs


@pytest.mark.parametrize("name", ["falling_rate", "all_values_at_once"])
def test_run_model_that_depends_on_the_epochs_shares_nothing(
    few_digits: ImageData, tmp_path: Path, name: str
) -> None:
    worker = make_worker(few_digits, f"support.models.{name}")
    results = [
        succeeded(worker.run(make_request(tmp_path, curve="key", epochs=epochs), ignore))
        for epochs in (2, 4, 2)
    ]
    assert [result.curve for result in results] == [f"key/epochs-{n}" for n in (2, 4, 2)]
    assert results[1].continued_from is None
    # It does not train again what it has trained before, either.
    assert results[2].train_seconds == results[0].train_seconds
    alone = succeeded(worker.run(make_request(tmp_path, epochs=4), ignore))
    assert results[1].epochs == alone.epochs
    if name == "falling_rate":
        assert results[1].epochs[:2] != results[0].epochs


def test_run_trains_again_what_is_damaged(
    few_digits: ImageData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = make_worker(few_digits)
    first = succeeded(worker.run(make_request(tmp_path, curve="key"), ignore))
    path = Curve(tmp_path / "curves" / "key").path(2)
    path.write_bytes(path.read_bytes()[:-1])
    again = succeeded(worker.run(make_request(tmp_path, curve="key"), ignore))
    assert "is damaged" in caplog.text
    assert again.epochs == first.epochs
    assert same_files(again, first, few_digits)


def test_run_without_room_for_a_checkpoint(few_digits: ImageData, tmp_path: Path) -> None:
    request = make_request(tmp_path, curve="key")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        outcome = make_worker(few_digits).run(request, ignore)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    failure = failed(outcome, "storage")
    assert "File too large" in failure.error


# Failures


def test_run_model_that_raises(few_digits: ImageData, tmp_path: Path) -> None:
    failure = failed(run_own_model(few_digits, tmp_path, "raises"), "error")
    assert failure.trial_id == "0000"
    assert failure.error == "KeyError: 'this model has a fault of its own'"
    assert "this model has a fault of its own" in failure.traceback
    assert "support/models.py" in failure.traceback


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("returns_nothing", "must return a compiled keras.Model, but returned NoneType"),
        ("not_compiled", "must return a compiled keras.Model: call model.compile"),
        ("one_class_too_many", "shape (images, 10), but returned (2, 11) for 2 images"),
        ("logits", "must return probabilities, from 0 and summing to 1"),
        ("two_outputs", "shape (images, 10), but returns a list of 2"),
        ("other_images", "(None, 5, 5)"),
    ],
)
def test_run_model_that_no_values_can_mend(
    few_digits: ImageData, tmp_path: Path, name: str, message: str
) -> None:
    failure = failed(run_own_model(few_digits, tmp_path, name), "fatal")
    assert message in failure.error
    assert f"`model._target_=support.models.{name}`" in failure.error


def test_run_objective_that_is_no_metric(few_digits: ImageData, tmp_path: Path) -> None:
    worker = make_worker(few_digits, objective="val_recall")
    failure = failed(worker.run(make_request(tmp_path), ignore), "fatal")
    assert "`search.objective` must be a metric of the model, but val_recall" in failure.error
    assert "val_accuracy" in failure.error


@pytest.mark.parametrize("engine", ["graph", "keras"])
def test_run_loss_that_is_no_number(few_digits: ImageData, tmp_path: Path, engine: str) -> None:
    reported: list[int] = []
    outcome = make_worker(few_digits, engine=engine).run(
        make_request(tmp_path, learning_rate=1e30, epochs=5),
        lambda _, epoch, metrics: reported.append(epoch),
    )
    failure = failed(outcome, "infeasible")
    assert "All metrics must be finite, but after epoch 1 they are" in failure.error
    # Not one epoch more, and none of it reported.
    assert reported == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (KeyError(), "KeyError"),
        (
            tf.errors.InvalidArgumentError(
                None,
                None,
                "Graph execution error:\n\n"
                "Detected at node MatrixInverse defined at (most recent call last):\n"
                '  File "my_models.py", line 12, in call\n\n'
                "Detected at node Other defined at (most recent call last):\n"
                "<stack traces unavailable>\n"
                "Input is not invertible.\n"
                "\t [[{{node MatrixInverse}}]] [Op:__inference_g_45]",
            ),
            "Input is not invertible.",
        ),
    ],
)
def test_failure_says_what_is_wrong_in_one_line(error: Exception, expected: str) -> None:
    request = TrialRequest("0000", VALUES, 0, "unused")
    assert failure_of(request, error, "infeasible").error == expected


def test_run_output_that_is_no_number(few_digits: ImageData, tmp_path: Path) -> None:
    # Other values may start with numbers, so the search continues.
    failed(run_own_model(few_digits, tmp_path, "not_a_number"), "infeasible")


@pytest.mark.parametrize("name", ["no_memory", "no_device_memory", "no_memory_to_train"])
def test_run_model_too_large(few_digits: ImageData, tmp_path: Path, name: str) -> None:
    failure = failed(run_own_model(few_digits, tmp_path, name), "infeasible")
    # Python's own MemoryError has no text.
    assert "Memory" in failure.error or "OOM" in failure.error


@pytest.mark.parametrize("engine", ["graph", "keras"])
@pytest.mark.parametrize("why", ["deadline", "max_seconds", "user"])
def test_run_ends_with_its_epoch_and_is_resumed(
    few_digits: ImageData, tmp_path: Path, why: str, engine: str
) -> None:
    asked: Stopped | None = "user" if why == "user" else None
    limits: dict[str, Any] = {"deadline": time.time() - 1} if why == "deadline" else {}
    if why == "max_seconds":
        limits = {"max_seconds": 0.0}
    worker = make_worker(few_digits, engine=engine)
    request = make_request(tmp_path, curve="key", epochs=3)
    cut = succeeded(worker.run(dataclasses.replace(request, **limits), lambda *_: asked))
    assert len(cut.epochs) == 1
    assert cut.stopped == ("user" if why == "user" else "time")
    assert cut.test["test_accuracy"] >= 0
    assert Path(cut.files.model_dir, "MLmodel").exists()
    # A checkpoint does not say that more epochs change nothing: somebody else ended it.
    whole = succeeded(worker.run(make_request(tmp_path, curve="key", epochs=3), ignore))
    alone = succeeded(worker.run(make_request(tmp_path, epochs=3), ignore))
    assert whole.epochs == alone.epochs
    assert whole.test == alone.test
    assert whole.stopped is None


@pytest.mark.parametrize("engine", ["graph", "xla", "keras"])
def test_run_that_was_paused_at_rungs_ends_as_one_that_was_not(
    few_digits: ImageData, tmp_path: Path, engine: str
) -> None:
    worker = make_worker(few_digits, engine=engine)
    whole = make_request(tmp_path, curve="key", epochs=4)
    alone = succeeded(worker.run(make_request(tmp_path, epochs=4), ignore))
    for rung in (1, 3):
        paused = worker.run(dataclasses.replace(whole, num_epochs=rung, pauses=True), ignore)
        assert isinstance(paused, TrialPause)
        assert paused.epochs == alone.epochs[:rung]
        assert paused.num_parameters == alone.num_parameters
        # A checkpoint, and no model or picture.
        assert list(Path(whole.output_dir).iterdir()) == []
    resumed = succeeded(worker.run(whole, ignore))
    assert (resumed.epochs, resumed.test) == (alone.epochs, alone.test)
    assert (resumed.epochs_reused, resumed.continued_from) == (0, None)


def test_run_that_is_stopped_before_its_rung_has_a_result(
    few_digits: ImageData, tmp_path: Path
) -> None:
    stop: Stopped = "user"
    request = make_request(tmp_path, curve="key", epochs=4)
    request = dataclasses.replace(request, num_epochs=3, pauses=True)
    result = succeeded(make_worker(few_digits).run(request, lambda *_: stop))
    assert (len(result.epochs), result.stopped) == (1, "user")


def test_model_that_depends_on_epochs_is_not_paused(
    few_digits: ImageData, tmp_path: Path
) -> None:
    worker = make_worker(few_digits, "support.models.falling_rate")
    request = make_request(tmp_path, curve="key", epochs=4)
    failure = failed(
        worker.run(dataclasses.replace(request, num_epochs=1, pauses=True), ignore), "fatal"
    )
    assert "`search=asha`" in failure.error
    assert "depends on `epochs`" in failure.error


@pytest.mark.parametrize("engine", ["graph", "keras"])
@pytest.mark.parametrize("before", [None, 2, 4], ids=lambda epochs: f"trained before: {epochs}")
def test_run_that_is_pruned_ends_with_its_epoch_whoever_has_trained_it(
    few_digits: ImageData, tmp_path: Path, before: int | None, engine: str
) -> None:
    worker = make_worker(few_digits, engine=engine)
    alone = succeeded(worker.run(make_request(tmp_path, epochs=2, dropout=0.2), ignore))
    options = {"curve": "key", "dropout": 0.2}
    if before is not None:
        worker.run(make_request(tmp_path, epochs=before, **options), ignore)
    seen: list[int] = []

    def judge(trial_id: str, epoch: int, *_: Any) -> Stopped | None:
        seen.append(epoch)
        return "pruned" if epoch == 2 else None

    request = make_request(tmp_path, trial_id="0001", epochs=6, **options)
    pruned = succeeded(worker.run(dataclasses.replace(request, is_judged=True), judge))
    assert pruned.epochs == alone.epochs
    assert pruned.stopped == "pruned"
    assert same_files(pruned, alone, few_digits)
    # Nothing is trained that is not recorded.
    assert max(seen) == 2
    # It can be resumed like any other.
    whole = succeeded(worker.run(make_request(tmp_path, epochs=3, **options), ignore))
    assert whole.epochs[:2] == alone.epochs


def test_run_that_is_asked_to_end_with_its_last_epoch_was_not_stopped(
    few_digits: ImageData, tmp_path: Path
) -> None:
    stop: Stopped = "user"
    result = succeeded(
        make_worker(few_digits).run(
            make_request(tmp_path, epochs=2),
            lambda trial_id, epoch, metrics, is_reused=False: stop if epoch == 2 else None,
        )
    )
    assert (len(result.epochs), result.stopped) == (2, None)


def test_run_before_its_deadline(few_digits: ImageData, tmp_path: Path) -> None:
    request = make_request(tmp_path, deadline=time.time() + 600)
    assert len(succeeded(make_worker(few_digits).run(request, ignore)).epochs) == 2


def test_run_raises_an_interrupt_that_came_as_another_error(
    few_digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check() -> None:
        raise KeyboardInterrupt

    def interrupted(*_: Any) -> None:
        # The signal's own KeyboardInterrupt is lost in C, but `check` remembers it.
        monkeypatch.setattr(interrupt, "check", check)
        raise ImportError("initialization failed")

    with pytest.raises(KeyboardInterrupt):
        make_worker(few_digits).run(make_request(tmp_path), interrupted)


def test_run_raises_an_interrupt(few_digits: ImageData, tmp_path: Path) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_worker(few_digits).run(make_request(tmp_path), interrupted)
    interrupt.check()


def test_run_after_a_failure(few_digits: ImageData, tmp_path: Path) -> None:
    worker = make_worker(few_digits)
    failed(worker.run(make_request(tmp_path, optimizer="none"), ignore), "error")
    succeeded(worker.run(make_request(tmp_path, epochs=1), ignore))


def test_worker_refuses_missing_model_function(few_digits: ImageData) -> None:
    with pytest.raises(ConfigError, match=r"model\._target_=support\.models\.no_such"):
        make_worker(few_digits, "support.models.no_such")


@pytest.mark.parametrize(
    ("name", "engine", "message"),
    [
        ("augmented", "xla", "random numbers"),
        ("own_fit", "graph", "has its own fit()"),
    ],
)
def test_run_model_that_the_engine_asked_for_cannot_train(
    few_digits: ImageData, tmp_path: Path, name: str, engine: str, message: str
) -> None:
    setup = WorkerSetup(
        f"support.models.{name}_of_values",
        {},
        Objective("val_accuracy", "max"),
        1,
        engine,
        falls_back=False,
    )
    outcome = Worker(setup, few_digits).run(make_request(tmp_path), ignore)
    # No other values help, so the search ends.
    failure = failed(outcome, "fatal")
    assert message in failure.error
    assert f"`training.engine={engine}`" in failure.error


def test_fold_is_trained_and_validated_as_data_of_its_own(
    few_digits: ImageData, tmp_path: Path
) -> None:
    train, validation = few_digits.train, few_digits.validation
    size = len(validation)
    sizes = (size, size, len(train) - size)
    folds = dataclasses.replace(few_digits, fold_sizes=sizes)
    request = dataclasses.replace(make_request(tmp_path), fold=2)
    found = make_worker(folds).run(request, ignore)
    own = make_worker(folds.fold(2)).run(make_request(tmp_path), ignore)
    plain = make_worker(few_digits).run(make_request(tmp_path), ignore)
    assert isinstance(found, TrialResult)
    assert isinstance(own, TrialResult)
    assert isinstance(plain, TrialResult)
    assert found.epochs == own.epochs != plain.epochs
    assert found.test == own.test
