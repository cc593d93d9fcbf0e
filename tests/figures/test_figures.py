"""The pictures that go with a trial."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tuner.datasets import Split
from tuner.evaluation.measures import calibration
from tuner.figures.calibration import calibration_diagram
from tuner.figures.confusion import confusion_matrix
from tuner.figures.sheets import wrong_predictions

Pixels = npt.NDArray[np.int64]


def draw(confusion: npt.NDArray[np.int64], names: list[str], path: Path) -> Pixels:
    """Draw a confusion matrix, and return the picture, RGB."""
    confusion_matrix(confusion, names, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), dtype=np.int64)


def made_up(num_classes: int) -> npt.NDArray[np.int64]:
    counts = np.random.default_rng(0).integers(0, 4, (num_classes, num_classes))
    return counts + 90 * np.eye(num_classes, dtype=np.int64)


@pytest.mark.parametrize(
    ("num_classes", "side"),
    # Half an inch a class at 100 pixels an inch, and 1.6 inches for names; from 4.5 to 14.
    [(2, 450), (10, 660), (20, 1160), (100, 1400)],
)
def test_confusion_matrix_is_a_picture_of_bounded_size(
    tmp_path: Path, num_classes: int, side: int
) -> None:
    names = [f"class number {i}" for i in range(num_classes)]
    path = tmp_path / "matrix.png"
    pixels = draw(made_up(num_classes), names, path)
    assert pixels.shape == (side, side, 3)
    assert path.stat().st_size < 500_000


def test_confusion_matrix_colours_right_blue_and_wrong_orange(tmp_path: Path) -> None:
    pixels = draw(np.array([[90, 0], [10, 100]]), ["a", "b"], tmp_path / "matrix.png")
    red, blue = pixels[..., 0], pixels[..., 2]
    bluish, orange = blue - red > 60, red - blue > 60
    # The upper half has class a: its correct images on the left, nothing on the right.
    top, bottom = slice(50, 200), slice(230, 370)
    left, right = slice(70, 220), slice(260, 410)
    assert bluish[top, left].mean() > 0.8
    assert orange[bottom, left].mean() > 0.8
    assert bluish[bottom, right].mean() > 0.8
    assert (bluish | orange)[top, right].mean() < 0.02


def test_confusion_matrix_tells_one_fault_from_none(tmp_path: Path) -> None:
    before = draw(np.diag([1000, 1000]), ["a", "b"], tmp_path / "before.png")
    after = draw(np.array([[999, 1], [0, 1000]]), ["a", "b"], tmp_path / "after.png")
    # A whole cell changes its colour, an eighth of the picture or more.
    assert (np.abs(after - before).max(axis=2) > 60).mean() > 1 / 8


@pytest.mark.parametrize(
    "confusion",
    [
        np.diag([5, 5, 5]),
        np.array([[0, 5, 0], [0, 0, 5], [5, 0, 0]]),
        np.zeros((3, 3), np.int64),
        np.array([[5, 1, 0], [0, 0, 0], [0, 0, 7]]),
        np.full((3, 3), 10**9),
    ],
    ids=["all right", "all wrong", "no images", "a class without images", "large"],
)
def test_confusion_matrix_of_extreme_counts(
    tmp_path: Path, confusion: npt.NDArray[np.int64]
) -> None:
    pixels = draw(confusion, ["a", "b", "c"], tmp_path / "matrix.png")
    assert pixels.shape == (450, 450, 3)
    assert pixels.std() > 0


@pytest.mark.parametrize(
    "name",
    ["a name of more than fourteen letters", "", "two\nlines", "$_$", "$10 to $20", "%", "\\x"],
)
def test_confusion_matrix_takes_any_class_name(tmp_path: Path, name: str) -> None:
    pixels = draw(np.array([[5, 1], [0, 5]]), [name, "b"], tmp_path / "matrix.png")
    assert pixels.shape == (450, 450, 3)


@pytest.mark.parametrize("name", ["猫", "কুকুর", "\U0001f600"])
def test_confusion_matrix_takes_names_its_font_lacks(tmp_path: Path, name: str) -> None:
    # Drawn as an empty box, and without a warning for every trial.
    pixels = draw(np.array([[5, 1], [0, 5]]), [name, "b"], tmp_path / "matrix.png")
    assert pixels.shape == (450, 450, 3)


def drawn_wrong(
    num_images: int, num_classes: int, shape: tuple[int, ...], path: Path
) -> npt.NDArray[np.int64]:
    """Draw random images, each taken for the class after its own, and return the picture."""
    drawn = np.random.default_rng(0)
    labels = drawn.integers(0, num_classes, num_images)
    probabilities = np.zeros((num_images, num_classes), np.float32)
    probabilities[np.arange(num_images), (labels + 1) % num_classes] = 0.7
    images = drawn.integers(0, 256, (num_images, *shape), dtype=np.uint8)
    names = [f"class number {i} of many" for i in range(num_classes)]
    wrong_predictions(Split(images, labels), probabilities, names, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), dtype=np.int64)


@pytest.mark.parametrize(
    ("num_images", "num_classes", "shape"),
    [(0, 3, (8, 8)), (1, 2, (8, 8)), (5_000, 100, (32, 32, 3)), (300, 10, (28, 28, 1))],
)
def test_wrong_predictions_are_a_picture_of_bounded_size(
    tmp_path: Path, num_images: int, num_classes: int, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "wrong.png"
    pixels = drawn_wrong(num_images, num_classes, shape, path)
    assert pixels.shape[0] <= 2200
    assert pixels.shape[1] <= 1200
    assert path.stat().st_size < 2_000_000


@pytest.mark.parametrize("shape", [(90, 30), (3, 200, 3), (1, 1)])
def test_wrong_predictions_take_any_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    # Grey noise is neither the white of the ground nor the black of the text.
    pixels = drawn_wrong(4, 2, shape, tmp_path / "wrong.png")
    assert ((pixels > 60) & (pixels < 200)).any(axis=2).sum() > 50


def test_wrong_predictions_show_each_class_in_a_row(tmp_path: Path) -> None:
    images = np.stack([np.full((8, 8, 3), colour, np.uint8) for colour in np.eye(3) * 255])
    images = images[[0, 0, 2]]
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.6, 0.4]], np.float32)
    wrong = Split(images, np.array([0, 0, 1]))
    wrong_predictions(wrong, probabilities, ["a", "b"], tmp_path / "wrong.png")
    with Image.open(tmp_path / "wrong.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels == (255, 0, 0)).all(axis=2)
    blue = (pixels == (0, 0, 255)).all(axis=2)
    assert red.sum() == pytest.approx(2 * blue.sum(), rel=0.1)
    assert np.nonzero(red)[0].max() < np.nonzero(blue)[0].min()


@pytest.mark.parametrize("confidences", [[0.3, 0.9, 0.95], [1.0, 1.0, 1.0]])
def test_calibration_is_a_picture(tmp_path: Path, confidences: list[float]) -> None:
    found = calibration(np.array(confidences, np.float32), np.array([True, False, True]))
    calibration_diagram(found, tmp_path / "calibration.png")
    with Image.open(tmp_path / "calibration.png") as image:
        assert image.size == (480, 420)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    # Blue bars of accuracy.
    assert (pixels[..., 2] - pixels[..., 0] > 60).sum() > 500
