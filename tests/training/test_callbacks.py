"""What a training is told besides its values: how callbacks are made, kept and read."""

import json
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from support import callbacks as own
from support import models
from tuner.config.training import CallbackFacts
from tuner.errors import ConfigError, InfeasibleTrial
from tuner.training import state
from tuner.training.callbacks import Told, class_weights, examine
from tuner.trial import TrainingOptions


@pytest.mark.parametrize(("value", "is_kept"), [
    *((value, True) for value in own.KEPT.values()),
    *((value, False) for value in own.NOT_KEPT.values()),
], ids=[*own.KEPT, *own.NOT_KEPT])  # fmt: skip
def test_unkept_state_is_what_a_checkpoint_cannot_hold(value: Any, is_kept: bool) -> None:
    found = state.unkept_state(own.Keeps(value))
    if is_kept:
        assert found is None
    else:
        kind = type(value).__name__
        assert found is not None
        assert found.startswith(f"Keeps has an attribute value of type {kind}, ")


def test_its_own_methods_are_no_state() -> None:
    callback = own.Keeps(None)
    callback.value = callback.compare
    assert state.unkept_state(callback) is None


@pytest.mark.parametrize("name", ["plain", "numbers as keys", "set", "path"])
def test_kept_state_comes_back_through_json(name: str) -> None:
    kept = own.Keeps(own.KEPT[name])
    model = models.mlp()
    state.make_variables(model, np.zeros((1, 8, 8), np.uint8), np.zeros(1, np.int64))
    copied = state.capture(model, [kept])
    through = state.TrainingState(
        copied.arrays, json.loads(json.dumps(copied.callbacks)), copied.is_stopped
    )
    empty = own.Keeps(None)
    state.restore_callbacks([empty], through)
    assert empty.value == kept.value
    assert type(empty.value) is type(kept.value)


def test_number_of_numpy_keeps_its_type() -> None:
    model = models.mlp()
    state.make_variables(model, np.zeros((1, 8, 8), np.uint8), np.zeros(1, np.int64))
    copied = state.capture(model, [own.Keeps(np.float32(0.1))])
    state.restore_callbacks([empty := own.Keeps(None)], copied)
    assert empty.value == np.float32(0.1)
    assert isinstance(empty.value, np.float32)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shared", "must make new callbacks each time it is called"),
        ("text", "but it returned str."),
        ("list_of_text", "but it returned a list with str."),
        ("needs_argument", "must need no arguments, but it takes (patience: int)"),
        ("Keeps", "must need no arguments, but it takes (value: object)"),
        ("raises", "support/callbacks.py, line"),
        ("KEPT", "must be a function, but support.callbacks has none named KEPT"),
        ("fallin", "Did you mean falling?"),
    ],
)
def test_examine_refuses_what_makes_no_callbacks(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        examine([f"support.callbacks.{name}"])
    assert f"`training.callbacks=support.callbacks.{name}`" in str(caught.value)
    assert said in str(caught.value)


def test_examine_refuses_a_module_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"training\.callbacks=my_callback\.make.*imported"):
        examine(["my_callback.make"])


@pytest.mark.parametrize(
    ("name", "hook", "unkept"),
    [
        ("support.callbacks.falling", None, None),
        ("support.callbacks.patient", None, None),
        ("support.callbacks.ReadsEpochs", None, None),
        ("support.callbacks.ForBatches", "ForBatches has a hook for every batch", None),
        ("keras.callbacks.TerminateOnNaN", "TerminateOnNaN has a hook for every batch", None),
        ("keras.callbacks.ProgbarLogger", "ProgbarLogger has a hook", None),
    ],
)
def test_examine_says_what_callbacks_mean(
    name: str, hook: str | None, unkept: str | None
) -> None:
    found = examine(["support.callbacks.falling", name])
    assert (found.batch_hook or "").startswith(hook or "")
    assert (found.batch_hook is None) == (hook is None)
    assert found.unkept == unkept


def test_notices_say_what_cannot_be_done() -> None:
    assert list(CallbackFacts().notices()) == []
    loop, resumed = CallbackFacts("Spy has a hook", "Spy keeps a Spoon").notices()
    assert "Spy has a hook, so epochs are run by Keras's own loop" in loop
    assert "Spy keeps a Spoon. So no training is resumed" in resumed


def test_users_own_callbacks_come_first() -> None:
    told = Told(
        TrainingOptions(
            early_stopping={"monitor": "val_worst", "mode": "min", "patience": 1},
            reduce_on_plateau={"monitor": "val_loss", "mode": "min", "factor": 0.5},
            callbacks=("support.callbacks.falling",),
        )
    )
    kinds = [type(callback).__name__ for callback in told.callbacks]
    assert kinds == ["_Watching", "Falling", "_Monitors", "ReduceLROnPlateau", "EarlyStopping"]
    assert Told(TrainingOptions()).callbacks == []


def test_rate_that_follows_a_schedule_is_refused() -> None:
    told = Told(TrainingOptions(reduce_on_plateau={"monitor": "val_loss", "mode": "min"}))
    told.check(models.mlp())
    scheduled = models.falling_rate({"epochs": 3}, (8, 8), 10)
    with pytest.raises(InfeasibleTrial, match="a schedule \\(CosineDecay\\)"):
        told.check(scheduled)
    Told(TrainingOptions()).check(scheduled)


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 2, 2], [0, 1], [0, 2, 2]])
def test_balanced_weights_are_those_of_scikit_learn(labels: list[int]) -> None:
    given = np.array(labels)
    classes = np.unique(given)
    theirs = compute_class_weight("balanced", classes=classes, y=given)
    found = class_weights("balanced", given, ["a", "b", "c"])
    assert found == dict(zip(classes.tolist(), theirs.tolist(), strict=True))


def test_weights_by_name_are_those_of_numbers() -> None:
    labels = np.array([0, 1, 2])
    assert class_weights({"c": 2.0, "a": 0.5}, labels, ["a", "b", "c"]) == {2: 2.0, 0: 0.5}
    assert class_weights(None, labels, ["a", "b", "c"]) is None


@pytest.mark.parametrize(
    ("options", "said", "best"),
    [
        ({"min_delta": 0.25}, "val_loss has not improved by more than 0.25 for 2 epochs", 1),
        ({}, "val_loss has not improved for 2 epochs, best at epoch 2", 2),
        ({"restore_best_weights": False}, "best at epoch 2", None),
    ],
)
def test_told_says_why_it_stopped_and_which_epoch_it_restored(
    options: dict[str, Any], said: str, best: int | None
) -> None:
    arguments = {"monitor": "val_loss", "mode": "min", "patience": 2,
                 "restore_best_weights": True, **options}  # fmt: skip
    told = Told(TrainingOptions(early_stopping=arguments))
    model = models.mlp()
    hooks = keras.callbacks.CallbackList(told.callbacks, model=model, epochs=9, steps=1)
    hooks.on_train_begin()
    losses = [1.0, 0.9, 0.95, 0.95] if not options.get("min_delta") else [1.0, 0.9, 0.8]
    for epoch, loss in enumerate(losses):
        assert not model.stop_training
        hooks.on_epoch_end(epoch, {"val_loss": loss})
    assert model.stop_training
    hooks.on_train_end()
    assert said in told.why_stopped
    assert told.best_epoch(len(losses)) == best
    if best is not None:
        assert told.best_epoch(best) is None
