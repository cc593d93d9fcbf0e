"""Images change at random in training, by the given amounts, and never elsewhere."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from tuner import training
from tuner.models.augment import augment

ALL = {
    "augment_shift": 0.1,
    "augment_rotation": 20.0,
    "augment_zoom": 0.2,
    "augment_shear": 0.3,
    "augment_elastic": 0.05,
    "augment_stroke": 1.0,
}


def changed(images: npt.NDArray[np.uint8], **strengths: float) -> npt.NDArray[np.float32]:
    """Return the images as a model sees them in training."""
    training.seed_everything(3)
    layer = augment(images.shape[1:], {f"augment_{n}": v for n, v in strengths.items()})
    assert layer is not None
    output: npt.NDArray[np.float32] = keras.ops.convert_to_numpy(layer(images, training=True))
    return output[..., 0]


def bars(count: int) -> npt.NDArray[np.uint8]:
    """Return images of an upright bar, 4 wide and 16 high, in the middle of 32 x 32."""
    images = np.zeros((count, 32, 32), np.uint8)
    images[:, 8:24, 14:18] = 255
    return images


def moments(image: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    """Return the mean row and column of brightness, and their variances."""
    rows, columns = np.indices(image.shape)
    down, right = np.average(rows, weights=image), np.average(columns, weights=image)
    var_down = np.average((rows - down) ** 2, weights=image)
    var_right = np.average((columns - right) ** 2, weights=image)
    return float(down), float(right), float(var_down), float(var_right)


def test_nothing_to_change_is_no_layer() -> None:
    assert augment((8, 8), {"transform": "rescale"}) is None
    assert augment((8, 8), dict.fromkeys(ALL, 0.0)) is None


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 1), (9, 8, 3)])
def test_images_stay_as_they_are_where_nothing_trains(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8)
    layer = augment(shape, ALL)
    assert layer is not None
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(layer(images)).reshape(images.shape), images
    )


@pytest.mark.parametrize("name", [name.removeprefix("augment_") for name in ALL])
def test_each_changes_every_image_in_its_own_way(name: str) -> None:
    images = bars(8)
    output = changed(images, **{name: ALL[f"augment_{name}"]})
    assert output.min() >= 0
    assert output.max() <= 255
    by_image = np.abs(output - images).max(axis=(1, 2))
    assert by_image.min() > 0
    assert np.median(by_image) > 10
    for one in range(8):
        assert np.abs(output[one] - output[one - 1]).max() > 0


def test_batches_are_changed_differently() -> None:
    layer = augment((32, 32), ALL)
    assert layer is not None
    first, second = (np.asarray(layer(bars(1), training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1


def test_shift_moves_by_a_share_of_the_side_at_most() -> None:
    found = np.array([moments(image) for image in changed(bars(200), shift=0.2)])
    down, right = found[:, 0] - 15.5, found[:, 1] - 15.5
    for moved in (down, right):
        assert 5 < np.abs(moved).max() <= 0.2 * 32 + 1e-3
        # Drawn evenly: as many to either side, half of them in the inner half.
        assert 0.35 < np.mean(moved > 0) < 0.65
        assert 0.35 < np.mean(np.abs(moved) < 3.2) < 0.65
    np.testing.assert_allclose(found[:, 2], moments(bars(1)[0])[2], rtol=0.05)


def test_rotation_turns_by_the_angle_at_most() -> None:
    angles = []
    for image in changed(bars(100), rotation=30.0):
        rows, columns = np.indices(image.shape)
        down, right, var_down, var_right = moments(image)
        covariance = np.average((rows - down) * (columns - right), weights=image)
        angles.append(np.degrees(np.arctan2(2 * covariance, var_down - var_right) / 2))
    assert 25 < np.abs(angles).max() < 31
    assert np.mean(angles) == pytest.approx(0, abs=5)


def test_zoom_changes_either_side() -> None:
    found = np.array([moments(image) for image in changed(bars(100), zoom=0.25)])
    heights = np.sqrt(found[:, 2] / moments(bars(1)[0])[2])
    assert 0.78 < heights.min() < 0.85
    assert 1.2 < heights.max() < 1.36
    assert found[:, 0] == pytest.approx(15.5, abs=0.01)


def test_shear_leans_and_keeps_the_height() -> None:
    found = np.array([moments(image) for image in changed(bars(100), shear=0.5)])
    assert found[:, 2] == pytest.approx(moments(bars(1)[0])[2], rel=0.02)
    assert found[:, 3].max() > 3 * moments(bars(1)[0])[3]


def test_elastic_is_smooth_and_as_strong_as_told() -> None:
    # A ramp shows the displacement: its brightness is its column.
    ramp = np.tile(np.arange(0, 128, 2, dtype=np.uint8), (200, 64, 1))
    displacement = (changed(ramp, elastic=0.03) - ramp)[:, 16:48, 16:48] / 2
    assert displacement.std() == pytest.approx(0.03 * 64, rel=0.15)
    assert np.abs(np.diff(displacement, axis=1)).max() < 1.5


def test_stroke_becomes_a_pixel_wider_or_thinner_at_most() -> None:
    brightness = changed(bars(100), stroke=1.0).sum(axis=(1, 2)) / 255
    # The bar's 64 pixels; 40 more around it, corners left out; or its inner 28 alone.
    assert 26 < brightness.min() < 34
    assert 96 < brightness.max() <= 104
    assert 0.35 < np.mean(brightness > 64) < 0.65


def test_augmentation_is_saved_and_loaded_in_safe_mode(tmp_path: Path) -> None:
    layer = augment((9, 8), ALL)
    assert layer is not None
    layer.save(tmp_path / "layer.keras")
    loaded = keras.saving.load_model(tmp_path / "layer.keras", safe_mode=True)
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 8), dtype=np.uint8)
    np.testing.assert_array_equal(layer(images), loaded(images))
    assert np.abs(np.asarray(loaded(images, training=True)) - loaded(images)).max() > 1
