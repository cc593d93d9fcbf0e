"""Trials that are told more than their values: what they do, and that they resume exactly."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from support.networks import VALUES
from tuner.curves.checkpoints import Curve
from tuner.datasets import ImageData
from tuner.outcomes import TrialFailure, TrialResult
from tuner.trial import Objective, TrainingOptions, TrialRequest, WorkerSetup
from tuner.worker.worker import Worker

STOPPING = {
    "monitor": "val_loss",
    "mode": "min",
    "patience": 2,
    "min_delta": 0.0,
    "restore_best_weights": True,
}
PLATEAU = {"monitor": "val_accuracy", "mode": "max", "factor": 0.5, "patience": 1}
ALL = TrainingOptions(STOPPING, PLATEAU, {"3": 2.0}, ("support.callbacks.falling",))


def run(
    data: ImageData,
    folder: Path,
    epochs: int,
    options: TrainingOptions,
    *,
    curve: str | None = None,
    function: str = "tuner.models.mlp.build",
    engine: str = "graph",
    **more: Any,
) -> TrialResult | TrialFailure:
    """Run a trial in an empty folder; its last number tells it from others."""
    output_dir = folder / f"{len(list(folder.iterdir())):04d}"
    output_dir.mkdir()
    request = TrialRequest(
        output_dir.name,
        {**VALUES, "epochs": epochs, "learning_rate": 0.05},
        seed=1,
        output_dir=str(output_dir),
        curve_dir=None if curve is None else str(folder.parent / curve),
        **more,
    )
    objective = Objective("val_accuracy", "max")
    setup = WorkerSetup(function, {}, objective, 1, engine, options=options)
    return Worker(setup, data).run(request, lambda *_: None)


def succeeded(outcome: TrialResult | TrialFailure) -> TrialResult:
    assert isinstance(outcome, TrialResult), outcome
    return outcome


def weights(result: TrialResult) -> list[Any]:
    path = Path(result.files.model_dir, "data", "model.keras")
    return list(keras.models.load_model(path, compile=False).get_weights())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trials").mkdir()
    return tmp_path / "trials"


@pytest.mark.parametrize("engine", ["graph", "keras"])
def test_told_training_that_is_resumed_is_the_same(
    few_digits: ImageData, folder: Path, engine: str
) -> None:
    whole = succeeded(run(few_digits, folder, 30, ALL, engine=engine))
    assert len(whole.epochs) < 30
    # Something of everything that it was told has happened.
    assert len({epoch["learning_rate"] for epoch in whole.epochs}) > 2
    assert whole.epochs[-1]["val_worst"] > 1
    parts = [
        succeeded(run(few_digits, folder, epochs, ALL, curve="curve", engine=engine))
        for epochs in (1, 3, 30, 40)
    ]
    assert [part.epochs_reused for part in parts] == [0, 1, 3, len(whole.epochs)]
    for part in parts[2:]:
        assert part.epochs == whole.epochs
        assert part.test == whole.test
        assert (part.stopped, part.stopped_because, part.best_epoch) == (
            whole.stopped,
            whole.stopped_because,
            whole.best_epoch,
        )
        for one, other in zip(weights(part), weights(whole), strict=True):
            np.testing.assert_array_equal(one, other)


def test_best_epoch_is_told_and_logged_but_not_continued_from(
    few_digits: ImageData, folder: Path
) -> None:
    options = TrainingOptions(early_stopping={**STOPPING, "patience": 3})
    result = succeeded(run(few_digits, folder, 40, options, curve="curve"))
    best = result.best_epoch
    assert best is not None
    assert result.stopped == "early"
    assert result.stopped_because == (
        f"val_loss has not improved for 3 epochs, best at epoch {best}"
    )
    assert len(result.epochs) == best + 3
    losses = [epoch["val_loss"] for epoch in result.epochs]
    assert best == 1 + int(np.argmin(losses))
    assert result.final["val_loss"] == min(losses)
    assert result.score(Objective("val_loss", "min")) == min(losses)
    # The model is that of a training which ended there.
    at_best = succeeded(run(few_digits, folder, best, TrainingOptions()))
    assert at_best.epochs[-1] == result.final
    assert at_best.test == result.test
    for one, other in zip(weights(at_best), weights(result), strict=True):
        np.testing.assert_array_equal(one, other)
    # The checkpoint holds the last epoch's.
    last = succeeded(run(few_digits, folder, best + 3, TrainingOptions(), curve="plain"))
    states = [Curve(folder.parent / name).find(best + 3) for name in ("curve", "plain")]
    kept = [state.state.arrays for state in states if state is not None]
    assert len(kept) == 2
    for name, array in kept[1].items():
        np.testing.assert_array_equal(kept[0][name], array)
    assert last.best_epoch is None


def test_trial_of_all_its_epochs_may_have_an_earlier_one_as_its_model(
    few_digits: ImageData, folder: Path
) -> None:
    options = TrainingOptions(early_stopping={**STOPPING, "patience": 3})
    stopped = succeeded(run(few_digits, folder, 40, options, curve="curve"))
    assert stopped.best_epoch is not None
    result = succeeded(run(few_digits, folder, stopped.best_epoch + 1, options, curve="curve"))
    assert (result.stopped, result.stopped_because) == (None, "")
    assert result.best_epoch == stopped.best_epoch
    assert result.final == stopped.final


@pytest.mark.parametrize(
    ("name", "epochs", "said"),
    [
        ("StopsAtThree", 3, "a callback of training.callbacks has ended it"),
        ("patient", None, "val_loss has not improved for 2 epochs, best at epoch "),
    ],
)
def test_callback_of_the_users_own_may_stop_a_trial(
    few_digits: ImageData, folder: Path, name: str, epochs: int | None, said: str
) -> None:
    options = TrainingOptions(callbacks=(f"support.callbacks.{name}",))
    result = succeeded(run(few_digits, folder, 40, options))
    assert result.stopped == "early"
    assert result.stopped_because.startswith(said)
    assert (result.best_epoch is None) is (name == "StopsAtThree")
    assert epochs in (None, len(result.epochs))


@pytest.mark.parametrize(
    ("name", "last", "said"),
    [
        ("KeepsLater", 1, "KeepsLater has an attribute drawn of type Random"),
        ("ReadsEpochs", None, "ReadsEpochs reads the number of epochs"),
        ("ReadsSteps", 4, None),
    ],
)
def test_state_that_cannot_be_kept_is_in_no_checkpoint(
    few_digits: ImageData,
    folder: Path,
    name: str,
    last: int | None,
    said: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = TrainingOptions(callbacks=(f"support.callbacks.{name}",))
    first = succeeded(run(few_digits, folder, 4, options, curve="curve"))
    assert max(Curve(folder.parent / "curve").epochs(), default=None) == last
    again = succeeded(run(few_digits, folder, 4, options, curve="curve"))
    assert again.epochs == first.epochs
    warned = [r.getMessage() for r in caplog.records if "resumed" in r.getMessage()]
    # Once, however many trials there are.
    assert len(warned) == (said is not None)
    assert all(said in message for message in warned if said is not None)


def test_weights_of_classes_count_in_the_loss(few_digits: ImageData, folder: Path) -> None:
    plain, told, balanced = (
        succeeded(run(few_digits, folder, 1, TrainingOptions(class_weight=weight)))
        for weight in (None, {str(i): 2.0 for i in range(10)}, "balanced")
    )
    # The mean over the first epoch, of which the first step is the same but for the factor.
    assert told.epochs[0]["loss"] > 1.5 * plain.epochs[0]["loss"]
    assert balanced.epochs[0]["loss"] != plain.epochs[0]["loss"]


@pytest.mark.parametrize(
    ("options", "function", "kind", "said"),
    [
        (
            TrainingOptions(early_stopping={**STOPPING, "monitor": "val_los"}),
            "tuner.models.mlp.build",
            "fatal",
            "`training.early_stopping.monitor` must be a metric of the model, but val_los is "
            "not among",
        ),
        (
            TrainingOptions(reduce_on_plateau=PLATEAU),
            "support.models.falling_rate",
            "infeasible",
            "follows a schedule (CosineDecay)",
        ),
    ],
)
def test_trial_refuses_what_it_cannot_do(
    few_digits: ImageData,
    folder: Path,
    options: TrainingOptions,
    function: str,
    kind: str,
    said: str,
) -> None:
    outcome = run(few_digits, folder, 2, options, function=function)
    assert isinstance(outcome, TrialFailure)
    assert outcome.kind == kind
    assert said in outcome.error


def test_refit_trains_as_many_epochs_as_asked(few_digits: ImageData, folder: Path) -> None:
    three = succeeded(run(few_digits, folder, 3, TrainingOptions()))
    asked = succeeded(run(few_digits, folder, 9, TrainingOptions(), num_epochs=3))
    assert asked.stopped is None
    assert asked.epochs == three.epochs
    assert asked.test == three.test


@pytest.mark.parametrize("epoch", [0, 2, 3])
def test_result_refuses_a_best_epoch_that_it_does_not_have(
    trained: TrialResult, epoch: int
) -> None:
    with pytest.raises(ValueError, match="must be an epoch before its last, 2"):
        dataclasses.replace(trained, best_epoch=epoch)
