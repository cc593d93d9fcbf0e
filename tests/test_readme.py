"""What the README shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.commands import command, runs
from support.paths import ROOT
from tuner.datasets import npz

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
QUICK = ("search=grid", "space.epochs=1", "space.batch_size=32")


def block(containing: str) -> str:
    [found] = [text for text in BLOCKS if containing in text]
    return str(found)


def test_archive_of_the_readme_can_be_searched_on(tmp_path: Path) -> None:
    code = block("numerals.npz")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    data = npz.read(tmp_path / "numerals.npz")
    assert data.class_names[9] == "nine"
    assert len(data.train) == 1400


@pytest.mark.slow
def test_loader_and_model_of_the_readme_run(tmp_path: Path) -> None:
    (tmp_path / "my_data.py").write_text(block("# my_data.py"))
    (tmp_path / "my_models.py").write_text(block("# my_models.py"))
    done = command(
        tmp_path,
        "search",
        "data=custom",
        "data._target_=my_data.load",
        "data.name=stripes",
        "model=custom",
        "model._target_=my_models.build",
        "+space.filters=4",
        "+space.dropout=0.1",
        *QUICK,
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "Registered as stripes-classifier version 1, now champion." in done.stdout
    [trial] = runs(tmp_path, "trial")
    assert trial.inputs.dataset_inputs[0].dataset.name == "stripes"


@pytest.mark.slow
def test_folder_of_images_is_searched_with_a_cnn_that_thins_and_augments(
    tmp_path: Path, digits: object
) -> None:
    from PIL import Image

    for split, part in (("train", digits.train), ("test", digits.test)):  # type: ignore[attr-defined]
        for label in range(10):
            folder = tmp_path / "images" / split / f"digit {label}"
            folder.mkdir(parents=True)
            for i in np.flatnonzero(part.labels == label)[:20]:
                Image.fromarray(part.images[i]).save(folder / f"{i}.png")
    done = command(
        tmp_path,
        "search",
        "data=image_folder",
        "data.path=images",
        "data.name=drawn",
        "model=cnn",
        "space.filters=4",
        "space.kernel_size=3",
        "space.transform=[rescale,thin]",
        "space.augment.shift=[0.0,0.1]",
        "space.augment.elastic=0.05",
        *QUICK,
        GLASSY_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
    trials = runs(tmp_path, "trial")
    assert {(t.data.params["transform"], t.data.params["augment_shift"]) for t in trials} == {
        (transform, shift) for transform in ("rescale", "thin") for shift in ("0.0", "0.1")
    }
    done = command(
        tmp_path,
        "predict",
        "images=images/test",
        "model=models:/drawn-classifier@champion",
        "show=true",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "digit 3/" in done.stdout
    with Image.open(tmp_path / "predictions.png") as sheet:
        assert sheet.size[0] > 500
