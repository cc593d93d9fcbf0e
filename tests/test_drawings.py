"""Drawings of any kind come out in the form of the training images."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from benchmarks.drawings import draw_all
from tuner.datasets import ImageData
from tuner.drawings import Form, Steps, measure, prepare, stroke_width

MNIST = Form(is_light=True, longer_side=20.0, stroke_width=2.35, is_centred_by_mass=True)
SHAPE = (28, 28)


def line(width: int, side: int = 200, ink: int = 0, ground: int = 255) -> npt.NDArray[np.uint8]:
    """Draw a rough L, tall and narrow, in the upper left of its canvas."""
    canvas = Image.new("L", (side, side), ground)
    points = [(0.2 * side, 0.1 * side), (0.22 * side, 0.6 * side), (0.4 * side, 0.6 * side)]
    ImageDraw.Draw(canvas).line(points, fill=ink, width=width, joint="curve")
    return np.asarray(canvas)


def assert_in_form(image: npt.NDArray[np.uint8], form: Form = MNIST) -> None:
    light = image if form.is_light else 255 - image
    assert light.max() > 200
    rows, columns = np.nonzero(light > 25)
    longer = max(np.ptp(rows), np.ptp(columns)) + 1
    assert longer == pytest.approx(form.longer_side, abs=1.01)
    centre = ndimage.center_of_mass(light)
    assert centre == pytest.approx([(side - 1) / 2 for side in light.shape], abs=0.2)
    enlarged = Image.fromarray(light).resize((280, 280), Image.Resampling.BILINEAR)
    width = stroke_width(np.asarray(enlarged) >= 128) / 10
    assert width == pytest.approx(form.stroke_width, rel=0.25)


@pytest.mark.parametrize(
    ("width", "side"), [(1, 60), (3, 60), (1, 200), (12, 200), (1, 600), (3, 600), (24, 600)]
)
@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (255, 0), (40, 220), (200, 60)])
def test_prepare_any_line_on_any_canvas(width: int, side: int, ink: int, ground: int) -> None:
    assert_in_form(prepare(line(width, side, ink, ground), SHAPE, MNIST))


def test_prepare_for_dark_strokes() -> None:
    form = dataclasses.replace(MNIST, is_light=False)
    for drawing in (line(3), 255 - line(3)):
        assert_in_form(prepare(drawing, SHAPE, form), form)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (32, 40)])
def test_prepare_returns_the_shape(shape: tuple[int, ...]) -> None:
    image = prepare(line(3), shape, MNIST)
    assert image.shape == shape
    assert image.dtype == np.uint8


def test_prepare_a_hundred_drawings_of_digits() -> None:
    drawn = draw_all()
    assert [drawing.digit for drawing in drawn] == [i // 10 for i in range(100)]
    assert {drawing.tool for drawing in drawn} == {"pixel", "line", "brush"}
    sides = [len(drawing.pixels) for drawing in drawn]
    assert min(sides) < 40
    assert max(sides) > 500
    for drawing in drawn:
        image = prepare(drawing.pixels, SHAPE, MNIST)
        rows, columns = np.nonzero(image > 25)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(20, abs=1.01)


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_prepare_a_blank_canvas_is_nothing_but_ground(grey: int) -> None:
    blank = np.full((50, 70), grey, np.uint8)
    assert not prepare(blank, SHAPE, MNIST).any()
    assert (prepare(blank, SHAPE, dataclasses.replace(MNIST, is_light=False)) == 255).all()


def test_prepare_takes_no_noise_of_the_ground_for_ink() -> None:
    noisy = line(5).astype(np.int16)
    noisy -= np.random.default_rng(0).integers(0, 12, noisy.shape)
    assert_in_form(prepare(np.clip(noisy, 0, 255).astype(np.uint8), SHAPE, MNIST))


def test_prepare_a_single_pixel() -> None:
    dot = np.zeros((40, 40), np.uint8)
    dot[3, 30] = 255
    assert prepare(dot, SHAPE, MNIST)[13:15, 13:15].min() > 100


@pytest.mark.parametrize("step", ["invert", "crop", "stroke", "center"])
def test_prepare_leaves_out_a_step(step: str) -> None:
    drawing = line(3, side=112)
    steps = dataclasses.replace(Steps(), **{step: False})
    full, without = prepare(drawing, SHAPE, MNIST), prepare(drawing, SHAPE, MNIST, steps)
    assert not np.array_equal(full, without)
    if step == "crop":
        # A quarter of the canvas' size: the ink is 56 high there.
        rows, _ = np.nonzero(without > 128)
        assert 13 <= np.ptp(rows) + 1 <= 17
    if step == "center":
        box = [np.ptp(axis) / 2 + axis.min() for axis in np.nonzero(without > 25)]
        assert box == pytest.approx([13.5, 13.5], abs=0.6)
    if step == "stroke":
        assert stroke_width(without > 128) < stroke_width(full > 128)


def test_prepare_without_any_step_but_one_keeps_the_place() -> None:
    steps = Steps(invert=True, crop=False, stroke=False, center=False)
    image = prepare(line(8, side=280), SHAPE, MNIST, steps)
    rows, columns = np.nonzero(image > 100)
    # A tenth of what it is on the canvas.
    assert (rows.min(), rows.max()) == pytest.approx((2.8, 16.8), abs=1)
    assert columns.min() == pytest.approx(5.6, abs=1)


def test_images_of_the_data_set_stay_as_they_are(digits: ImageData) -> None:
    form = measure(digits.train.images)
    assert form is not None
    for image in digits.test.images[:100]:
        np.testing.assert_array_equal(prepare(image, (8, 8), form), image)
        np.testing.assert_array_equal(prepare(255 - image, (8, 8), form), image)


def test_measure_of_the_embedded_digits(digits: ImageData) -> None:
    form = measure(digits.train.images)
    assert form is not None
    assert form == Form(True, 8.0, pytest.approx(1.5, abs=0.1), False)  # type: ignore[arg-type]
    assert Form.from_dict(form.to_dict()) == form
    inverted = measure(255 - digits.train.images)
    assert inverted == dataclasses.replace(form, is_light=False)
    assert measure(digits.train.images[..., None]) == form


def test_measure_of_mnist(mnist_path: str) -> None:
    with np.load(mnist_path) as archive:
        form = measure(archive["x_train"])
    assert form == MNIST or (
        form is not None and form.stroke_width == pytest.approx(2.35, 0.02)
    )
    assert (form.longer_side, form.is_light, form.is_centred_by_mass) == (20.0, True, True)


def test_measure_of_other_images_is_none() -> None:
    drawn = np.random.default_rng(0)
    assert measure(drawn.integers(0, 256, (20, 16, 16), dtype=np.uint8)) is None
    assert measure(drawn.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)) is None
    # Large patches on a plain ground, as of clothes.
    patches = np.zeros((20, 28, 28), np.uint8)
    patches[:, 4:24, 8:20] = 200
    assert measure(patches) is None
    assert measure(np.zeros((20, 8, 8), np.uint8)) is None


@pytest.mark.parametrize("width", [2, 4, 10])
def test_stroke_width_of_bars(width: int) -> None:
    ink = np.zeros((200, 60), bool)
    ink[20:180, 20 : 20 + width] = True
    # Upright sides are the shortest that an outline of such a length can have.
    assert stroke_width(ink) == pytest.approx(width * 4 / np.pi, rel=0.1)
    assert stroke_width(np.zeros((5, 5), bool)) == 0
