"""A user's own modules, whatever they do, searched, promoted and used from the command line."""

import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from support.commands import command

LAYERS = """
import keras


@keras.saving.register_keras_serializable()
class Scale(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""
MODEL = """
import argparse, os, signal
import keras, numpy as np, tensorflow as tf
import own_layers

argparse.ArgumentParser().parse_args()
os.chdir("/")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
tf.config.threading.set_inter_op_parallelism_threads(2)
keras.config.set_dtype_policy("mixed_float16")
AUGMENT = keras.Sequential([keras.layers.RandomFlip()])
METRIC = keras.metrics.SparseCategoricalAccuracy()
HALF = tf.constant(0.5)
keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])(np.zeros((1, 4)))


def build(values, image_shape, num_classes):
    images = keras.Input((*image_shape, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Dense(num_classes)(own_layers.Scale()(x))
    x = keras.layers.Activation("softmax", dtype="float32")(x)
    model = keras.Model(images, x)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
DATA = """
import numpy as np, tensorflow as tf
from sklearn.model_selection import train_test_split
from tuner.datasets import LabelledImages, digits

THREE = tf.constant(3.0)


def load(config):
    train, test = digits.load(config).train, digits.load(config).test
    small = tf.image.resize(train.images[..., None], (8, 8)).numpy()[..., 0]
    return LabelledImages.from_arrays(
        small[:200].astype(np.uint8), train.labels[:200], test.images[:50], test.labels[:50]
    )


def at_random(config):
    source = digits.load(config).train
    a, b, c, d = train_test_split(source.images, source.labels)
    return LabelledImages.from_arrays(a, c, b, d)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in (("own_layers", LAYERS), ("own_model", MODEL), ("own_data", DATA)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


SEARCH = (
    "model=custom",
    "model._target_=own_model.build",
    "data=custom",
    "data.name=own",
    "data._target_=own_data.load",
    "search=grid",
    "space.epochs=1",
    "study=own",
)


@pytest.mark.long
@pytest.mark.parametrize("executor", ["processes", "serial"])
def test_own_modules_from_search_to_prediction(project: Path, executor: str) -> None:
    done = command(
        project,
        "search",
        *SEARCH,
        f"executor={executor}",
        "model.custom_objects=own_layers",
        "registry.name=own",
        "registry.refit=true",
    )
    assert done.returncode == 0, done.stderr
    assert "Registered as own version 1, now champion." in done.stdout
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(project / "a.png")
    used = ("images=a.png", "model=own")
    refused = command(project, "predict", *used)
    assert refused.returncode == 2
    assert "the class 'Scale'" in refused.stderr
    assert "custom_objects=" in refused.stderr
    permitted = command(project, "predict", *used, "custom_objects=own_layers")
    assert permitted.returncode == 0, permitted.stderr
    promoted = command(project, "promote", "study=own", "custom_objects=[own_layers]")
    assert promoted.returncode == 0, promoted.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("search.objective=val_acuracy", "Did you mean search.objective=val_accuracy?"),
        ("data._target_=own_data.at_random", "must return the same data on every call"),
        ("model.custom_objects=null", "the class 'Scale', which is not Keras's own"),
    ],
)
def test_what_cannot_end_well_is_said_beside_the_first_trial(
    project: Path, override: str, words: str
) -> None:
    overrides = (*SEARCH, "model.custom_objects=own_layers", "search.direction=max")
    # With so many epochs, only the rehearsal can end it.
    long = (*overrides, "space.epochs=100000", "executor.workers=1")
    done = command(project, "search", *long, override)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "experiments" / "own").exists()
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    names = [e.experiment_id for e in client.search_experiments()]
    assert client.search_runs(names) == []
    if "random" not in override:
        # Corrected, under the same name.
        assert command(project, "search", *overrides).returncode == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("before", "status", "words"),
    [
        ("ulimit -v 1000000;", 1, "not enough memory"),
        ("XLA_FLAGS=--nonsense=1", 2, "`XLA_FLAGS=--nonsense=1`"),
        ("TF_XLA_FLAGS=--nonsense=1", 2, "`TF_XLA_FLAGS=--nonsense=1`"),
    ],
)
def test_tensorflow_that_does_not_start_is_one_message(
    before: str, status: int, words: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{before} {sys.executable} -m tuner.search search=grid"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("Error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
