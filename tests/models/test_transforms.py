"""Each transform, against other people's code or plain NumPy on the same images."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from tuner.datasets import ImageData
from tuner.models.transforms import MAX_THINNING, TRANSFORMS, transform


def applied(name: str, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    output = transform(name, images.shape[1:])(images)
    return np.asarray(keras.ops.convert_to_numpy(output))


def random_images(*shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1), (6, 7, 3)])
def test_transform_keeps_the_shape(name: str, shape: tuple[int, ...]) -> None:
    output = applied(name, random_images(2, *shape))
    assert output.shape == (2, *shape) if len(shape) == 3 else (2, *shape, 1)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_of_a_blank_image_is_finite(name: str) -> None:
    for grey in (0, 255):
        assert np.isfinite(applied(name, np.full((1, 5, 5), grey, np.uint8))).all()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_is_saved_and_loaded_in_safe_mode(name: str, tmp_path: Path) -> None:
    layer = transform(name, (9, 8))
    layer.save(tmp_path / "layer.keras")
    loaded = keras.saving.load_model(tmp_path / "layer.keras", safe_mode=True)
    images = random_images(3, 9, 8)
    np.testing.assert_array_equal(layer(images), loaded(images))


def test_standardize_is_mean_0_and_deviation_1() -> None:
    output = applied("standardize", random_images(3, 8, 9, 3))
    np.testing.assert_allclose(output.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(output.std(axis=(1, 2, 3)), 1, atol=1e-4)


def test_thin_is_scikit_images_on_random_noise() -> None:
    # All neighbourhoods occur, also those that handwriting never has.
    images = random_images(20, 24, 31)
    assert_thinned(images)


def test_thin_is_scikit_images_on_a_thousand_digits(mnist_path: Path) -> None:
    with np.load(mnist_path) as archive:
        assert_thinned(archive["x_test"][:1000])


def test_thin_leaves_no_stroke_of_the_largest_width() -> None:
    side = 2 * MAX_THINNING
    image = np.zeros((1, side + 8, 3 * side), np.uint8)
    image[:, 4:-4, 4:-4] = 255
    assert_thinned(image)


def assert_thinned(images: npt.NDArray[np.uint8]) -> None:
    morphology = pytest.importorskip("skimage.morphology", reason="needs scikit-image")
    output = applied("thin", images)[..., 0]
    assert set(np.unique(output)) <= {0.0, 1.0}
    for image, lines in zip(images, output, strict=True):
        expected = morphology.skeletonize(image >= 128, method="zhang")
        np.testing.assert_array_equal(lines > 0, expected)


def slant(image: npt.NDArray[Any]) -> float:
    """Return the covariance of rows and columns over the variance of rows."""
    rows, columns = np.indices(image.shape)
    down = rows - np.average(rows, weights=image)
    right = columns - np.average(columns, weights=image)
    covariance = np.average(down * right, weights=image)
    return float(covariance / np.average(down**2, weights=image))


def test_deslant_puts_a_leaning_bar_upright() -> None:
    image = np.zeros((1, 20, 20), np.uint8)
    for row in range(4, 16):
        image[0, row, 16 - row : 18 - row] = 255
    output = applied("deslant", image)[0, ..., 0]
    assert slant(image[0]) == pytest.approx(-1)
    assert slant(output) == pytest.approx(0, abs=0.02)
    # The bar's middle is that of columns 6 and 7 of row 10, and 5 and 6 of row 9.
    np.testing.assert_allclose(output.sum(axis=0)[5:10], [0, 6, 12, 6, 0], atol=0.01)


def test_deslant_straightens_real_digits(digits: ImageData) -> None:
    images = digits.test.images[:50]
    before = [abs(slant(image)) for image in images]
    after = [abs(slant(image)) for image in applied("deslant", images)[..., 0]]
    assert np.mean(after) < np.mean(before) / 2
