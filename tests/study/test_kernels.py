"""A study in a notebook's kernel, interrupted by its stop button and resumed by its cell."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.commands import runs

CELL = """
import keras, numpy as np, tuner

def build(values, image_shape, num_classes):
    model = keras.Sequential([keras.Input(image_shape), keras.layers.Flatten()])
    model.add(keras.layers.Dense(num_classes, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

images, labels = np.arange(960).reshape(60, 4, 4) // 4, np.arange(60) % 2
study = tuner.run_study(
    "executor.workers=1", "space.epochs=100000", "search.max_trials=1", "space.batch_size=8",
    "registry.name=null", study="cell", model=build,
    data=(images[:40], labels[:40], images[40:], labels[40:]),
)
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Any]:
    manager = pytest.importorskip("jupyter_client.manager", reason="needs ipykernel")
    started, client = manager.start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    yield started, client
    client.stop_channels()
    started.shutdown_kernel(now=True)


@pytest.mark.long
def test_stop_button_interrupts_and_the_cell_resumes(kernel: Any, tmp_path: Path) -> None:
    manager, client = kernel
    log = tmp_path / "experiments" / "cell" / "tune.log"
    for count, text in ((1, "epoch 3/"), (2, "(trained before)")):
        asked = client.execute(CELL)
        for _ in range(1200):
            if log.exists() and text in log.read_text():
                break
            time.sleep(0.1)
        manager.interrupt_kernel()
        answer = client.get_shell_msg(timeout=60)
        assert answer["parent_header"]["msg_id"] == asked
        assert answer["content"]["ename"] == "KeyboardInterrupt"
        assert log.read_text().count("Interrupted.") == count
        [trial] = runs(tmp_path, "trial")
        assert trial.info.status == "KILLED"
