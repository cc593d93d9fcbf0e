"""The rehearsal finds beside the first trial what would else fail at the study's end."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tuner.config.schema import DataConfig, StudyConfig
from tuner.datasets import ImageData
from tuner.driver import rehearsal
from tuner.driver.rehearsal import Rehearsal
from tuner.errors import DataError, ModelError
from tuner.runtime import forkserver
from tuner.trial import Objective, TrainingOptions, WorkerSetup

DIGITS = DataConfig("tuner.datasets.digits.load", "digits", validation_split=0.15)
VALUES = {"epochs": 1, "batch_size": 32}


def setup(function: str, objective: str = "val_accuracy", *modules: str) -> WorkerSetup:
    goal = Objective(objective, "max")
    return WorkerSetup(f"{__name__}.{function}", {}, goal, 1, custom_objects=modules)


def _model(*inner: Any, **head: Any) -> Any:
    images = keras.Input((8, 8))
    x = keras.layers.Flatten()(images)
    for layer in inner:
        x = layer(x)
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax", **head)(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class NotRegistered(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x


class ForgetsItsFactor(keras.layers.Layer):
    """It is saved without its constructor's argument, so another layer is loaded."""

    def __init__(self, factor: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config

    def call(self, x: Any) -> Any:
        return self.factor * x


class CannotBeSaved(keras.layers.Layer):
    def __init__(self, made_with: object) -> None:
        super().__init__()

    def get_config(self) -> dict[str, Any]:
        raise RuntimeError("no configuration")

    def call(self, x: Any) -> Any:
        return x


def good(*_: Any) -> Any:
    return _model()


def own_layer(*_: Any) -> Any:
    return _model(NotRegistered())


def forgetful(*_: Any) -> Any:
    return _model(ForgetsItsFactor(0.01))


def not_to_be_saved(*_: Any) -> Any:
    return _model(CannotBeSaved(object()))


def too_small(*_: Any) -> Any:
    raise ValueError("these values cannot work")


def dictionary(*_: Any) -> Any:
    model = good()
    model = keras.Model(model.input, {"probs": model.output})
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def rehearse(made: WorkerSetup, data: ImageData, folder: Path) -> None:
    """Run the steps of two children in this process."""
    part = rehearsal.Part(made, VALUES, 0, data, folder / "model")
    saved = rehearsal.save_model(part)
    assert saved is not None
    # Keras knows a registered class for as long as the process lives.
    rehearsal.check_model(made, saved)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_model_that_can_be_used_passes(few_digits: ImageData, tmp_path: Path) -> None:
    rehearse(setup("good"), few_digits, tmp_path)
    rehearse(setup("own_layer", "val_loss", __name__), few_digits, tmp_path / "own")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (setup("own_layer"), "the class 'NotRegistered', which is not Keras's own"),
        (setup("forgetful", "val_accuracy", __name__), "changes when it is saved"),
        (setup("not_to_be_saved"), "cannot be saved (RuntimeError: no configuration)"),
        (setup("good", "val_acuracy"), "Did you mean search.objective=val_accuracy?"),
        (setup("good", "val_f1"), "val_f1 is not among"),
        (
            dataclasses.replace(
                setup("good"), options=TrainingOptions(early_stopping={"monitor": "val_f1"})
            ),
            "`training.early_stopping.monitor` must be a metric of the model, but val_f1",
        ),
        (setup("dictionary"), "returns a dictionary of probs"),
    ],
)
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_model_that_cannot_be_used_is_refused(
    made: WorkerSetup, words: str, few_digits: ImageData, tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as caught:
        rehearse(made, few_digits, tmp_path)
    assert words in str(caught.value)


def test_data_that_differ_are_refused(digits: ImageData) -> None:
    made = setup("good")
    rehearsal.check_data(made, DIGITS, 0, digits.digest)
    with pytest.raises(DataError) as caught:
        rehearsal.check_data(made, DIGITS, 0, "another")
    for words in ("`data._target_=tuner.datasets.digits.load`", "random_state", "another"):
        assert words in str(caught.value)


# The children, for real.


def config(**changes: Any) -> StudyConfig:
    return StudyConfig(data=dataclasses.replace(DIGITS, **changes))


def load_at_random(config: DataConfig) -> Any:
    from tuner.datasets import LabelledImages, Split, digits

    source = digits.load(config)
    order = np.random.permutation(len(source.train))
    train = Split(source.train.images[order], source.train.labels[order])
    return LabelledImages(train, source.test, source.class_names)


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    forkserver.begin_imports(["tuner.worker.preload"])
    return tmp_path / "log"


def test_ours_need_no_rehearsal(few_digits: ImageData, log_file: Path) -> None:
    made = dataclasses.replace(setup("good"), model_function="tuner.models.mlp.build")
    beside = Rehearsal(config(), made, few_digits, log_file)
    beside.offer(VALUES, 0)
    assert beside.connections == []
    assert not beside.attend()
    beside.finish()
    beside.close()


@pytest.mark.long
def test_rehearsal_takes_other_values_where_the_first_do_not_work(
    few_digits: ImageData, log_file: Path
) -> None:
    beside = Rehearsal(config(), setup("too_small"), few_digits, log_file)
    for _ in range(rehearsal.MAX_TRIES + 2):
        beside.offer(VALUES, 0)
        beside.finish_model()
    beside.offer(VALUES, 0)
    assert beside.connections == []
    beside.finish()
    beside.close()
    said = "ValueError: these values cannot work"
    assert log_file.read_text().count(said) == rehearsal.MAX_TRIES


@pytest.mark.slow
def test_rehearsal_finds_a_class_that_the_building_process_knew(
    few_digits: ImageData, log_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    random = config(_target_=f"{__name__}.load_at_random")
    beside = Rehearsal(config(), setup("own_layer"), few_digits, log_file)
    beside.offer(VALUES, 0)
    with pytest.raises(ModelError, match="NotRegistered"):
        beside.finish_model()
    beside.close()
    beside = Rehearsal(random, setup("good"), few_digits, log_file)
    beside.offer(VALUES, 0)
    with pytest.raises(DataError, match="must return the same data"):
        beside.finish()
    assert len(list(tmp_path.glob("glassy-rehearsal-*"))) == 1
    beside.close()
    assert list(tmp_path.glob("glassy-rehearsal-*")) == []
