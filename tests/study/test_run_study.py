"""A study run from Python: in a script, under pytest, with objects, interrupted and resumed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

import tuner
from support.commands import runs, wait_for
from support.surroundings import surroundings
from tuner.datasets import LabelledImages
from tuner.errors import ConfigError, DataError, StudyError

Arrays = tuple[Any, Any, Any, Any]

SMALL = ("executor.workers=1", "space.epochs=1", "search.max_trials=1", "space.batch_size=8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    drawn = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = drawn.integers(0, 100, (60, 4, 4), dtype=np.uint8)
    images[labels == 1] += 120
    return images[:40], labels[:40], images[40:], labels[40:]


def build(values: Any, image_shape: tuple[int, ...], num_classes: int) -> Any:
    import keras

    model = keras.Sequential([keras.Input(image_shape), keras.layers.Flatten()])
    model.add(keras.layers.Dense(num_classes, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    ("overrides", "given", "words"),
    [
        (("search.max_trals=3",), {}, "`search.max_trals` is not a key .* Did you mean"),
        (("model=mlpp",), {}, "`model` must be one of cnn, custom, mlp, but got 'mlpp'"),
        (("data=npz",), {}, "`data.path` is missing"),
        (("space.units=[8",), {}, "cannot be read as key=value"),
        (("first",), {}, "takes overrides as text, .* but got 'first'"),
        (("--cfg=job",), {}, "takes overrides as text, .* but got '--cfg=job'"),
        ((3,), {}, "takes overrides as text, .* but got 3"),
        (("hydra.mode=MULTIRUN",), {}, "runs one study"),
        (("study=a",), {"study": "b"}, "either 'study=a' or the argument `study`"),
        (("model=cnn",), {"model": build}, "either 'model=cnn' or the argument `model`"),
        (("data.path=a",), {"data": 1}, "either 'data.path=a' or the argument `data`"),
        ((), {"study": "a b"}, "`study` must be letters"),
        ((), {"data": np.zeros(4)}, "`data` must be .* but is ndarray"),
        ((), {"data": (1, 2)}, "`data` must be .* but is 2 values"),
        ((), {"model": lambda values: None}, "is a lambda"),
    ],
)
def test_run_study_refuses(
    here: Path, overrides: tuple[Any, ...], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        tuner.run_study(*overrides, **given)
    assert list(here.iterdir()) == []


def test_arrays_that_cannot_be_used_are_refused(here: Path, arrays: Arrays) -> None:
    with pytest.raises(DataError, match="`x_train` must be uint8"):
        tuner.run_study(data=(arrays[0] / 255, *arrays[1:]))
    assert list(here.iterdir()) == []


@pytest.mark.slow
def test_study_with_a_function_and_arrays(
    client: mlflow.MlflowClient,
    tmp_path: Path,
    arrays: Arrays,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = LabelledImages.from_arrays(*arrays, class_names=("dark", "bright"))
    with mlflow.start_run(run_name="mine") as active:
        before = surroundings()
        study = tuner.run_study(
            *SMALL, "data.validation_split=0.2", study="own", model=build, data=names
        )
        assert surroundings() == before
        assert mlflow.active_run().info.run_id == active.info.run_id
    said = capsys.readouterr().out
    assert said.startswith("study own\n")
    assert "Best of 1 trial: 0000" in said
    assert study.state == "finished"
    assert study.best is not None
    assert study.best.load().classes == ("dark", "bright")
    # All that is asked later comes from the study's folder: a command can do it.
    settings = (tmp_path / "experiments" / "own" / "overrides.yaml").read_text().splitlines()
    assert "- data.path=experiments/own/data.npz" in settings

    def again(**given: Any) -> tuner.Study:
        call = {"study": "own", "model": build, "data": names} | given
        return tuner.run_study(*SMALL, "data.validation_split=0.2", **call)

    assert again().best == study.best
    assert "It is finished" in capsys.readouterr().out
    with pytest.raises(StudyError, match="was searched on other data"):
        again(data=(arrays[0] // 2, *arrays[1:]))
    with pytest.raises(StudyError, match=r"exists with other settings .*model\._target_"):
        again(model=None)


SCRIPT = """
import keras, numpy as np, tuner

WIDTH = 4

def layers(num_classes):
    return [keras.layers.Flatten(), keras.layers.Dense(num_classes, activation="softmax")]

def build(values, image_shape, num_classes):
    model = keras.Sequential([keras.Input((WIDTH, WIDTH)), *layers(num_classes)])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

images = np.arange(60 * 16).reshape(60, 4, 4) // 4
labels = np.repeat([0, 1], 30)[np.arange(60) // 2 + 30 * (np.arange(60) & 1)]
try:
    tuner.run_study(
        "executor.workers=1", "space.epochs=100000", "search.max_trials=1",
        "registry.name=null", "space.batch_size=8", study="script", model=build,
        data=(images[:40], labels[:40], images[40:], labels[40:]),
    )
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.long
def test_script_without_a_guard_is_interrupted(tmp_path: Path) -> None:
    said = interrupted(tmp_path, lambda running: running.send_signal(signal.SIGINT))
    assert said.splitlines()[-1] == "interrupted"
    assert 'tuner.run_study(…, study="script"), with the same arguments' in said
    [trial] = runs(tmp_path, "trial")
    assert trial.info.status == "KILLED"
    # Another function is another study.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("keras.layers.Flatten()", "keras.layers.Reshape((-1,))"))
    refused = started(script)
    assert "StudyError: study=script cannot be resumed" in refused.communicate(timeout=120)[1]
    assert refused.returncode == 1


@pytest.mark.long
def test_study_is_interrupted_when_nobody_listens_any_more(tmp_path: Path) -> None:
    interrupted(tmp_path, lambda running: running.send_signal(signal.SIGINT))
    log = tmp_path / "experiments" / "script" / "tune.log"
    running = started(tmp_path / "script.py")
    wait_for(log, "(trained before)")
    running.kill()
    running.communicate()
    for _ in range(600):
        if log.read_text().count("Interrupted.") == 2:
            break
        time.sleep(0.1)
    assert log.read_text().count("Interrupted.") == 2
    [trial] = runs(tmp_path, "trial")
    assert trial.info.status == "KILLED"


def interrupted(folder: Path, stop: Callable[[subprocess.Popen[str]], None]) -> str:
    """Run the script, stop it while its trial trains, and return what it has printed."""
    (folder / "script.py").write_text(SCRIPT)
    running = started(folder / "script.py")
    wait_for(folder / "experiments" / "script" / "tune.log", "epoch 3/")
    stop(running)
    return running.communicate(timeout=120)[0]


def started(script: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=script.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
