"""The pictures that go with a trial."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tuner.datasets import Split
from tuner.evaluation.measures import calibration
from tuner.figures.calibration import calibration_diagram
from tuner.figures.confusion import MAX_ANNOTATED, confusion_difference, confusion_matrix
from tuner.figures.sheets import changed_predictions, predictions, wrong_predictions
from tuner.images.image_files import ImageFiles

Pixels = npt.NDArray[np.int64]


def read(path: Path) -> Pixels:
    """Return a picture's pixels, RGB."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), dtype=np.int64)


def draw(confusion: npt.NDArray[np.int64], names: list[str], path: Path) -> Pixels:
    """Draw a confusion matrix, and return the picture, RGB."""
    confusion_matrix(confusion, names, path)
    return read(path)


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


def test_confusion_matrix_has_lines_over_its_cells(tmp_path: Path) -> None:
    pixels = draw(np.full((2, 2), 50), ["a", "b"], tmp_path / "matrix.png")
    # From one cell's blue to the other's orange, above the numbers.
    row = pixels[80, 80:380]
    lines = np.flatnonzero(row.min(axis=1) > 180)
    assert lines.size == 1
    assert 130 < lines[0] < 170


def test_confusion_matrix_writes_readable_numbers(tmp_path: Path) -> None:
    # One of a hundred right: a pale diagonal and a dark mistake.
    pixels = draw(np.array([[1, 99], [0, 0]]), ["a", "b"], tmp_path / "matrix.png")
    pale, dark = pixels[100:180, 110:190], pixels[100:180, 280:360]
    assert (pale.max(axis=2) < 80).any()
    assert (dark.min(axis=2) > 230).any()
    assert not (dark.max(axis=2) < 80).any()


@pytest.mark.parametrize("num_classes", [MAX_ANNOTATED, MAX_ANNOTATED + 1])
def test_confusion_matrix_has_numbers_for_few_classes(tmp_path: Path, num_classes: int) -> None:
    names = ["x"] * num_classes
    # All of the diagonal is pale, so that its numbers are dark.
    pixels = draw(np.ones((num_classes,) * 2, np.int64), names, tmp_path / "matrix.png")
    # Right of the names, below the title and above those of the columns.
    inside = pixels[60:-100, 80:-20]
    assert (inside.max(axis=2) < 80).any() == (num_classes <= MAX_ANNOTATED)


def test_confusion_matrix_does_not_cut_its_title(tmp_path: Path) -> None:
    names = ["a rather long name", "another long one"]
    pixels = draw(np.array([[5000, 500], [500, 4000]]), names, tmp_path / "matrix.png")
    title = (pixels[:42].max(axis=2) < 128).any(axis=0)
    assert title.sum() > 100
    assert not title[:4].any()
    assert not title[-4:].any()


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
    return read(path)


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
    pixels = read(tmp_path / "wrong.png")
    red = (pixels == (255, 0, 0)).all(axis=2)
    blue = (pixels == (0, 0, 255)).all(axis=2)
    assert red.sum() == pytest.approx(2 * blue.sum(), rel=0.1)
    assert np.nonzero(red)[0].max() < np.nonzero(blue)[0].min()


@pytest.mark.parametrize("confidences", [[0.3, 0.9, 0.95], [1.0, 1.0, 1.0]])
def test_calibration_is_a_picture(tmp_path: Path, confidences: list[float]) -> None:
    found = calibration(np.array(confidences, np.float32), np.array([True, False, True]))
    calibration_diagram(found, tmp_path / "calibration.png")
    pixels = read(tmp_path / "calibration.png")
    assert pixels.shape == (420, 480, 3)
    # Blue bars of accuracy.
    assert (pixels[..., 2] - pixels[..., 0] > 60).sum() > 500


def test_calibration_has_its_legend_over_its_bars(tmp_path: Path) -> None:
    # Every bin is right always, so that all the space is bars.
    confidences = ((np.arange(15) + 0.5) / 15).astype(np.float32)
    calibration_diagram(calibration(confidences, np.ones(15, bool)), tmp_path / "all.png")
    pixels = read(tmp_path / "all.png")
    # Below the last line of the legend, and in the middle of the diagram.
    assert (pixels[94:97, 75:240].min(axis=2) > 230).all()
    assert np.median(pixels[150:250, 200:400, 0]) < 180


def any_confusion(names: list[str], seed: int, path: Path) -> None:
    classes = len(names)
    counts = np.random.default_rng(seed).integers(0, 3, (classes, classes))
    confusion_matrix(counts * seed, names, path)


def any_difference(names: list[str], seed: int, path: Path) -> None:
    shape = (2, len(names), len(names))
    before, after = np.random.default_rng(seed).integers(0, 3 * seed, shape)
    confusion_difference(before, after, names, path)


def any_calibration(names: list[str], seed: int, path: Path) -> None:
    drawn = np.random.default_rng(seed)
    confidences = drawn.random(9 * seed).astype(np.float32)
    calibration_diagram(calibration(confidences, drawn.random(9 * seed) < 0.5), path)


def any_split(names: list[str], seed: int) -> tuple[Split, list[npt.NDArray[np.float32]]]:
    drawn = np.random.default_rng(seed)
    size, classes = 20 * seed, len(names)
    images = drawn.integers(0, 256, (size, 8, 8 + seed), dtype=np.uint8)
    probabilities = drawn.dirichlet(np.ones(classes), (2, size)).astype(np.float32)
    return Split(images, drawn.integers(0, classes, size)), list(probabilities)


def any_wrong(names: list[str], seed: int, path: Path) -> None:
    split, (probabilities, _) = any_split(names, seed)
    wrong_predictions(split, probabilities, names, path)


def any_changed(names: list[str], seed: int, path: Path) -> None:
    split, (before, after) = any_split(names, seed)
    changed_predictions(split, before, after, names, path)


def any_predictions(names: list[str], seed: int, path: Path) -> None:
    split, (probabilities, _) = any_split(names, seed)
    file = path.parent / "image $1$.png"
    Image.fromarray(split.images[0]).save(file)
    has_ink = np.arange(len(split.images)) > 0
    files = ImageFiles((file,) * len(split.images), split.images, has_ink)
    predictions(files, probabilities, names, path)


FEW, OTHERS = ["0", "1", "2"], ["$a$", "猫", "a long name of a class"]
MANY = [f"class {i}" for i in range(120)]


@pytest.mark.parametrize(
    "make",
    [
        any_confusion, any_difference, any_calibration, any_wrong, any_changed,
        any_predictions,
    ],
)  # fmt: skip
def test_a_picture_does_not_depend_on_those_before_it(
    tmp_path: Path, make: Callable[[list[str], int, Path], None]
) -> None:
    """Draw A, others of its kind and size, so many that nothing of A is kept, and A again."""
    path, other = tmp_path / "a.png", tmp_path / "b.png"
    make(FEW, 1, path)
    first = path.read_bytes()
    make(FEW, 40, other)
    assert other.read_bytes() != first
    make(FEW, 1, path)
    assert path.read_bytes() == first
    for names in (OTHERS, MANY, MANY[:26], OTHERS):
        make(names, 2, other)
    make(FEW, 1, path)
    assert path.read_bytes() == first


def test_a_difference_and_a_matrix_of_the_same_classes_are_apart(tmp_path: Path) -> None:
    any_confusion(FEW, 1, tmp_path / "a.png")
    any_difference(FEW, 1, tmp_path / "difference.png")
    any_confusion(FEW, 1, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_predictions_enlarge_small_files(tmp_path: Path) -> None:
    Image.new("L", (7, 7), 0).save(file := tmp_path / "black.png")
    images = np.full((1, 8, 8), 255, np.uint8)
    files = ImageFiles((file,), images, np.array([True]))
    predictions(files, np.eye(2, dtype=np.float32)[:1], ["a", "b"], tmp_path / "sheet.png")
    pixels = read(tmp_path / "sheet.png")
    assert (pixels == 0).all(axis=2).sum() >= 70 * 70
    # The white image lies in a grey frame.
    assert (pixels == 200).all(axis=2).sum() == pytest.approx(2 * 4 * 71, abs=8)
