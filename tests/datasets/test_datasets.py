"""Where images come from, what is refused, and what is split off to validate."""

import hashlib
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from sklearn.datasets import load_digits

from tuner.config.schema import DataConfig
from tuner.datasets import LabelledImages, Split, check_repeatable, load, mnist, npz
from tuner.datasets import digits as digits_source
from tuner.errors import DataError

Array = npt.NDArray[Any]
WriteNpz = Callable[..., Path]

DIGITS = DataConfig("tuner.datasets.digits.load", "digits", validation_split=0.15)
# 40, 20 and 20 images of three classes; image i is filled with i, so no two are alike.
THREE_LABELS = np.repeat([0, 1, 2], [40, 20, 20])
THREE = LabelledImages(
    Split(np.tile(np.arange(80, dtype=np.uint8)[:, None, None], (1, 2, 2)), THREE_LABELS),
    Split(np.zeros((3, 2, 2), np.uint8), np.arange(3)),
    ("a", "b", "c"),
)
LOAD_MNIST = """
from tuner.config.schema import DataConfig
from tuner.datasets import load
from tuner.errors import UnavailableError
try:
    load(DataConfig("tuner.datasets.mnist.load", "mnist"), seed=0)
except UnavailableError as error:
    print(error)
"""


def load_three(_: DataConfig) -> LabelledImages:
    return THREE


def load_nothing(_: DataConfig) -> tuple[int, int]:
    return (1, 2)


def three(**settings: Any) -> DataConfig:
    return DataConfig(f"{__name__}.load_three", "three", **settings)


@pytest.fixture
def write_npz(tmp_path: Path, labelled: LabelledImages) -> WriteNpz:
    """Write the twelve made-up images, with some arrays replaced or, by None, left out."""

    def write(**arrays: Array | None) -> Path:
        path = tmp_path / "data.npz"
        all_arrays: dict[str, Array | None] = {
            "x_train": labelled.train.images,
            "y_train": labelled.train.labels,
            "x_test": labelled.test.images,
            "y_test": labelled.test.labels,
            **arrays,
        }
        np.savez(path, **{name: a for name, a in all_arrays.items() if a is not None})
        return path

    return write


def pixels(*shape: int, dtype: Any = np.uint8) -> Array:
    return np.zeros(shape, dtype)


# Digits


def test_digits_counts() -> None:
    data = digits_source.load(DIGITS)
    assert data.train.images.shape == (1437, 8, 8)
    assert data.test.images.shape == (360, 8, 8)
    assert data.train.labels.shape == (1437,)
    assert data.class_names == tuple("0123456789")
    assert set(data.train.labels) == set(data.test.labels) == set(range(10))


def test_digits_pixels_span_a_byte() -> None:
    images = digits_source.load(DIGITS).train.images
    assert images.dtype == np.uint8
    # 17 grey levels, 255 / 16 = 15.9375 apart: 0, 16, 32, 48, 64, 80, 96, 112, 128 (127.5 to
    # even), 143, 159, ...
    assert np.unique(images).tolist() == [
        0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255,
    ]  # fmt: skip


def test_digits_holds_every_image_of_the_source_once() -> None:
    data = digits_source.load(DIGITS)
    images = np.concatenate([data.train.images, data.test.images])
    brightness = np.sort(images.astype(int).sum(axis=(1, 2)))
    source = np.rint(load_digits().images * 15.9375).astype(int)
    assert np.array_equal(brightness, np.sort(source.sum(axis=(1, 2))))


def test_digits_test_split_ignores_the_seed() -> None:
    first, second = load(DIGITS, seed=0), load(DIGITS, seed=1)
    assert np.array_equal(first.test.images, second.test.images)
    assert np.array_equal(first.test.labels, second.test.labels)
    assert first.digest == second.digest
    assert not np.array_equal(first.validation.images, second.validation.images)


def test_load_digits_sizes() -> None:
    data = load(DIGITS, seed=0)
    # 15 % of 1,437 is 215.55.
    assert (len(data.train), len(data.validation), len(data.test)) == (1221, 216, 360)
    assert data.image_shape == (8, 8)
    assert data.name == "digits"


# Splitting


def test_load_splits_every_class_in_proportion() -> None:
    data = load(three(validation_split=0.25), seed=0)
    # A quarter of 40, 20 and 20.
    assert np.bincount(data.validation.labels).tolist() == [10, 5, 5]
    assert np.bincount(data.train.labels).tolist() == [30, 15, 15]


def test_load_train_size_keeps_the_proportions() -> None:
    data = load(three(train_size=40, validation_split=0.2), seed=0)
    # Half of 40, 20 and 20, of which a fifth validates.
    assert np.bincount(data.validation.labels).tolist() == [4, 2, 2]
    assert np.bincount(data.train.labels).tolist() == [16, 8, 8]


def test_load_train_size_of_all_images_changes_nothing() -> None:
    whole, same = load(three(), seed=3), load(three(train_size=80), seed=3)
    assert np.array_equal(whole.train.images, same.train.images)


def test_load_folds_take_every_image_once_to_validate() -> None:
    data = load(three(folds=4, validation_split=0.9), seed=0)
    assert data.fold_sizes == (20, 20, 20, 20)
    seen = []
    for number in range(1, 5):
        fold = data.fold(number)
        train, validation = fold.train.images[:, 0, 0], fold.validation.images[:, 0, 0]
        # A quarter of 40, 20 and 20; image i is filled with i.
        assert np.bincount(fold.validation.labels).tolist() == [10, 5, 5]
        assert np.array_equal(fold.train.labels, THREE_LABELS[train])
        assert np.array_equal(fold.validation.labels, THREE_LABELS[validation])
        assert sorted([*train, *validation]) == list(range(80))
        seen += [*validation]
    assert sorted(seen) == list(range(80))


def test_load_folds_follow_from_the_seed() -> None:
    one, same, other = (load(three(folds=3), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.validation.images, same.validation.images)
    assert not np.array_equal(one.validation.images, other.validation.images)
    assert sum(one.fold_sizes) == 80


def test_load_folds_of_a_share() -> None:
    data = load(three(folds=2, train_size=40), seed=0)
    assert data.fold_sizes == (20, 20)
    assert np.bincount(data.fold(2).train.labels).tolist() == [10, 5, 5]


def test_load_refuses_more_folds_than_a_class_has_images() -> None:
    with pytest.raises(DataError) as failed:
        load(three(folds=21), seed=0)
    for part in ("`data.folds` must be at most 20", "class ('b')", "got 21"):
        assert part in str(failed.value)


def test_load_refuses_folds_of_data_with_validation_images(
    write_npz: WriteNpz, labelled: LabelledImages
) -> None:
    path = write_npz(x_val=labelled.test.images, y_val=labelled.test.labels)
    config = DataConfig("tuner.datasets.npz.load", "own", str(path), folds=2)
    with pytest.raises(DataError, match=r"`data\.folds` must be null for own"):
        load(config, seed=0)


@pytest.mark.parametrize("number", [0, 3])
def test_there_are_only_so_many_folds(number: int) -> None:
    data = load(three(folds=2), seed=0)
    with pytest.raises(ValueError, match=f"There are 2 folds, but got {number}"):
        data.fold(number)


@pytest.mark.parametrize("train_size", [None, 40])
def test_load_train_and_validation_share_no_image(train_size: int | None) -> None:
    data = load(three(train_size=train_size, validation_split=0.25), seed=0)
    train, validation = data.train.images[:, 0, 0], data.validation.images[:, 0, 0]
    together = np.concatenate([train, validation])
    assert len(together) == len(np.unique(together)) == (train_size or 80)
    # Image i is filled with i: the labels still are those of their images.
    assert np.array_equal(data.train.labels, THREE_LABELS[train])
    assert np.array_equal(data.validation.labels, THREE_LABELS[validation])


def test_load_split_depends_on_the_seed_only() -> None:
    first, again, other = (load(three(), seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.validation.images, again.validation.images)
    assert not np.array_equal(first.validation.images, other.validation.images)


def test_load_split_ignores_global_random_state() -> None:
    np.random.seed(1)
    first = load(three(), seed=5)
    np.random.seed(2)
    assert np.array_equal(first.train.images, load(three(), seed=5).train.images)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_size": 81}, "`data.train_size` must be at most 80, .* but got 81"),
        (
            {"train_size": 2},
            "`data.train_size` must leave .* the 3 classes, but leaves 2 images",
        ),
        # 1 % of 80 images is one.
        (
            {"validation_split": 0.01},
            "`data.validation_split=0.01: validation` must leave .* 3 classes, but leaves 1",
        ),
        (
            {"validation_split": 0.99},
            "`data.validation_split=0.99: training` must leave .* 3 classes, but leaves 1",
        ),
    ],
)
def test_load_refuses_sizes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(three(**settings), seed=0)


# Images that train_size leaves out are not part of the study, however few they are.
def test_load_train_size_of_all_but_one_image() -> None:
    data = load(three(train_size=79), seed=0)
    assert len(data.train) + len(data.validation) == 79


def test_load_refuses_classes_too_rare_for_the_share(write_npz: WriteNpz) -> None:
    # 3 of 40 images are of class 1, so a tenth of the images has none of them.
    path = write_npz(x_train=pixels(40, 4, 5), y_train=np.repeat([0, 1], [37, 3]))
    config = DataConfig("tuner.datasets.npz.load", "npz", path=str(path), validation_split=0.1)
    with pytest.raises(DataError, match="at least one image of each of the 2 classes"):
        load(config, seed=0)


def test_load_refuses_classes_too_rare_for_train_size(write_npz: WriteNpz) -> None:
    # 3 of 40 images are of class 1, so ten images have one of them, too few to split.
    path = write_npz(x_train=pixels(40, 4, 5), y_train=np.repeat([0, 1], [37, 3]))
    config = DataConfig(
        "tuner.datasets.npz.load", "npz", path=str(path), train_size=10, validation_split=0.2
    )
    with pytest.raises(DataError, match=r"data\.train_size"):
        load(config, seed=0)


def test_load_refuses_loader_that_returns_something_else() -> None:
    config = DataConfig(f"{__name__}.load_nothing", "nothing")
    with pytest.raises(DataError, match=r"must return .*LabelledImages, but returned tuple"):
        load(config, seed=0)


# The digest


def test_digest_is_of_the_contents(labelled: LabelledImages) -> None:
    copied = LabelledImages(
        labelled.train.take(np.arange(8)), labelled.test.take(np.arange(4)), ("a", "b")
    )
    assert labelled.digest() == copied.digest()
    assert len(labelled.digest()) == 32
    assert int(labelled.digest(), 16) > 0


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_digest_changes_with_one_number(
    labelled: LabelledImages, split: str, part: str
) -> None:
    before = labelled.digest()
    array = getattr(getattr(labelled, split), part)
    array.flat[0] ^= 1
    assert labelled.digest() != before


@pytest.mark.parametrize("names", [("a", "c"), ("b", "a"), ("a", "b", "c")])
def test_digest_changes_with_class_names(
    labelled: LabelledImages, names: tuple[str, ...]
) -> None:
    train = Split(labelled.train.images, np.arange(8) % len(names))
    renamed = LabelledImages(train, labelled.test, names)
    original = replace(renamed, class_names=tuple("ab") if len(names) == 2 else tuple("abd"))
    assert renamed.digest() != original.digest()


def test_digest_changes_with_the_shape(labelled: LabelledImages) -> None:
    turned = LabelledImages(
        Split(labelled.train.images.reshape(8, 5, 4), labelled.train.labels),
        Split(labelled.test.images.reshape(4, 5, 4), labelled.test.labels),
        ("a", "b"),
    )
    assert turned.digest() != labelled.digest()


# Archives


def test_npz_read_returns_what_was_saved(write_npz: WriteNpz, labelled: LabelledImages) -> None:
    data = npz.read(write_npz())
    assert np.array_equal(data.train.images, labelled.train.images)
    assert np.array_equal(data.train.labels, labelled.train.labels)
    assert np.array_equal(data.test.images, labelled.test.images)
    assert np.array_equal(data.test.labels, labelled.test.labels)
    assert data.class_names == ("0", "1")


def test_npz_read_takes_class_names(write_npz: WriteNpz) -> None:
    path = write_npz(class_names=np.array(["chat", "chien"]))
    assert npz.read(path).class_names == ("chat", "chien")


def test_npz_read_decodes_class_names_in_bytes(write_npz: WriteNpz) -> None:
    path = write_npz(class_names=np.array([b"cat", b"dog"]))
    assert npz.read(path).class_names == ("cat", "dog")


def test_npz_read_refuses_class_names_in_unknown_bytes(write_npz: WriteNpz) -> None:
    # Latin-1.
    path = write_npz(class_names=np.array([b"p\xe2t\xe9", b"dog"]))
    with pytest.raises(DataError, match="class_names"):
        npz.read(path)


def test_npz_load_splits(write_npz: WriteNpz) -> None:
    config = DataConfig(
        "tuner.datasets.npz.load", "mine", path=str(write_npz()), validation_split=0.25
    )
    data = load(config, seed=0)
    assert np.bincount(data.train.labels).tolist() == [3, 3]
    assert np.bincount(data.validation.labels).tolist() == [1, 1]
    assert len(data.test) == 4
    assert (data.name, data.image_shape) == ("mine", (4, 5))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64])
def test_npz_read_brings_pixels_and_labels_to_one_type(write_npz: WriteNpz, dtype: Any) -> None:
    x_train = np.full((8, 4, 5), 255, dtype)
    data = npz.read(write_npz(x_train=x_train, y_train=np.arange(8, dtype=dtype)[:, None] % 2))
    assert data.train.images.dtype == np.uint8
    assert data.train.images.min() == 255
    assert data.train.labels.dtype == np.int64
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1]


def test_npz_read_takes_colours(write_npz: WriteNpz) -> None:
    data = npz.read(write_npz(x_train=pixels(8, 4, 5, 3), x_test=pixels(4, 4, 5, 3)))
    assert data.train.images.shape == (8, 4, 5, 3)


def test_npz_read_refuses_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`data\.path` must be .*none\.npz does not exist"):
        npz.read(tmp_path / "none.npz")


def test_npz_read_refuses_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`data\.path` must be .* is a folder"):
        npz.read(tmp_path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", r"`data\.path` must be .*data\.npz is empty"),
        (b"5,0,0,1\n", r"`data\.path` must be .*data\.npz is of another format"),
        (b"PK\x03\x04", r"`data\.path` must be .*data\.npz is of another format"),
    ],
    ids=["empty", "text", "beginning of a zip"],
)
def test_npz_read_refuses_other_contents(tmp_path: Path, contents: bytes, message: str) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(contents)
    with pytest.raises(DataError, match=message):
        npz.read(path)


def test_npz_read_refuses_single_array(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, pixels(8, 4, 5))
    with pytest.raises(DataError, match=r"data\.npy is of another format"):
        npz.read(path)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_npz_read_refuses_truncated_archive(write_npz: WriteNpz, share: float) -> None:
    path = write_npz()
    contents = path.read_bytes()
    path.write_bytes(contents[: int(len(contents) * share)])
    with pytest.raises(DataError, match=r"data\.npz"):
        npz.read(path)


# Each is a byte that breaks another layer: the array's magic, the name's length (which moves
# the array's beginning), the pixels (their checksum), and the directory at the end, with its
# flag for encryption and its method of compression.
@pytest.mark.parametrize(
    ("landmark", "offset", "flip"),
    [
        (b"\x93NUMPY", 0, 0xFF),
        (b"PK\x03\x04", 29, 0xFF),
        (b"\x93NUMPY", 130, 0xFF),
        (b"PK\x01\x02", 0, 0xFF),
        (b"PK\x01\x02", 8, 0x01),
        (b"PK\x01\x02", 10, 0xFF),
    ],
    ids=["magic", "length", "pixels", "directory", "encryption", "method"],
)
def test_npz_read_refuses_corrupt_archive(
    write_npz: WriteNpz, landmark: bytes, offset: int, flip: int
) -> None:
    path = write_npz()
    contents = bytearray(path.read_bytes())
    contents[contents.index(landmark) + offset] ^= flip
    path.write_bytes(contents)
    with pytest.raises(DataError, match=r"data\.npz"):
        npz.read(path)


def test_npz_read_refuses_corrupt_compressed_archive(
    tmp_path: Path, labelled: LabelledImages
) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(
        path,
        x_train=labelled.train.images,
        y_train=labelled.train.labels,
        x_test=labelled.test.images,
        y_test=labelled.test.labels,
    )
    contents = bytearray(path.read_bytes())
    # The first member's data follow its header of 30 bytes, its name and 20 bytes of sizes;
    # 0xFF begins with a block type that deflate does not have.
    contents[30 + len("x_train.npy") + 20] = 0xFF
    path.write_bytes(contents)
    with pytest.raises(DataError, match=r"data\.npz"):
        npz.read(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_test": None}, "must hold the arrays .* but lacks x_test; it has x_train, "),
        ({"x_train": np.array([None] * 8)}, "`x_train` .* cannot be read without pickle"),
        ({"class_names": np.array(["a", None])}, "`class_names` .* without pickle"),
        (
            {"x_train": pixels(3, 4, 5), "y_train": np.array([0, 1, 0, 1])},
            "`x_train` and `y_train` must be of one length, .* 3 images and 4 labels",
        ),
        (
            {"x_test": pixels(4, 4, 5), "y_test": np.array([0, 1, 0])},
            "`x_test` and `y_test` must be of one length, .* 4 images and 3 labels",
        ),
        (
            {"x_train": np.array([[[np.nan, 1.0]]] * 8)},
            "`x_train` must be uint8, .* but is float64 with 8 NaN",
        ),
        (
            {"x_train": pixels(8, 4, 5, dtype=np.float32)},
            "`x_train` must be uint8, .* but is float32",
        ),
        ({"x_train": np.full((8, 4, 5), -1)}, "`x_train` .* from 0 to 255, but holds -1"),
        ({"x_train": np.full((8, 4, 5), 256)}, "`x_train` .* from 0 to 255, but holds 256"),
        ({"x_test": np.full((4, 4, 5), 999)}, "`x_test` .* from 0 to 255, but holds 999"),
        ({"x_train": pixels(8, 20)}, r"`x_train` must be of shape .* is of shape \(8, 20\)"),
        (
            {"x_train": pixels(8, 4, 5, 2)},
            r"`x_train` must be of shape .* is of shape \(8, 4, 5, 2\)",
        ),
        ({"x_train": pixels(8, 0, 5)}, r"`x_train` must hold images, .* \(8, 0, 5\)"),
        (
            {"x_train": pixels(0, 4, 5), "y_train": pixels(0)},
            "`x_train` must hold images, but is empty",
        ),
        (
            {"x_test": pixels(0, 4, 5), "y_test": pixels(0)},
            "`x_test` must hold images, but is empty",
        ),
        (
            {"x_test": pixels(4, 5, 5)},
            r"`x_train` and `x_test` .* of one shape, but got \(4, 5\) and \(5, 5\)",
        ),
        (
            {"y_train": np.eye(2, dtype=int)[np.arange(8) % 2]},
            r"`y_train` must be of shape \(images,\), .* is of shape \(8, 2\)",
        ),
        (
            {"y_train": np.arange(8) % 2 * 1.0},
            "`y_train` must hold whole numbers, but is float64",
        ),
        (
            {"y_test": np.array([0, 1, 2, 0])},
            r"`y_test` must lie between 0 and 1 \(there are 2 classes\), but holds 2",
        ),
        (
            {"y_train": np.array([0, 1, 2, 0] * 2), "class_names": np.array(["a", "b"])},
            r"`y_train` must lie between 0 and 1 \(there are 2 classes\), but holds 2",
        ),
        (
            {"y_train": np.array([-1, 0, 1, 0] * 2)},
            "`y_train` must lie between 0 and .* but holds -1",
        ),
        # A frequent way to write two classes.
        ({"y_train": np.array([-1, 1] * 4)}, "`y_train` must lie between 0 .* but holds -1"),
        ({"y_train": np.array([-1, 0] * 4)}, "`y_train` must lie between 0 .* but holds -1"),
        ({"y_test": np.array([0, 1, -1, 0])}, "`y_test` must lie between .* but holds -1"),
        (
            {"y_train": np.zeros(8, int)},
            "`y_train` must hold at least two classes, .* only one",
        ),
        (
            {"y_train": np.array([0, 0, 0, 0, 0, 0, 0, 1])},
            "`y_train` must hold at least 2 images of each class, .* but has 1 of class '1'",
        ),
        # Labels from 1 leave class 0 without an image.
        (
            {"y_train": np.array([1, 2] * 4)},
            "`y_train` must hold at least 2 images of each class, .* but has 0 of class '0'",
        ),
        (
            {"class_names": np.array(["a", "b", "c"])},
            "`y_train` must hold at least 2 images of each class, .* but has 0 of class 'c'",
        ),
        ({"class_names": np.array("ab")}, r"`class_names` must .*\(\)"),
        ({"class_names": np.array([["a", "b"]])}, r"`class_names` must .*\(1, 2\)"),
        ({"class_names": np.array(["a", "a"])}, "`class_names` must .*'a'"),
    ],
)
def test_npz_read_refuses_arrays(
    write_npz: WriteNpz, arrays: dict[str, Array | None], message: str
) -> None:
    with pytest.raises(DataError, match=rf"data\.npz.*{message}"):
        npz.read(write_npz(**arrays))


# MNIST


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({}, r"\(4, 5\) in 2"),
        ({"x_train": pixels(8, 28, 28), "x_test": pixels(4, 28, 28)}, r"\(28, 28\) in 2"),
    ],
    ids=["shape", "classes"],
)
def test_mnist_load_refuses_other_images(
    write_npz: WriteNpz, arrays: dict[str, Array], found: str
) -> None:
    config = DataConfig("tuner.datasets.mnist.load", "mnist", path=str(write_npz(**arrays)))
    with pytest.raises(DataError, match=rf"28 x 28 in 10 classes .* has {found}.*data=npz"):
        mnist.load(config)


def test_mnist_load_from_path(mnist_path: Path) -> None:
    config = DataConfig("tuner.datasets.mnist.load", "mnist", path=str(mnist_path))
    data = load(config, seed=0)
    assert data.test.images.shape == (10_000, 28, 28)
    assert data.train.images.shape == (54_000, 28, 28)
    assert data.validation.images.shape == (6_000, 28, 28)
    # The counts that https://yann.lecun.com/exdb/mnist is known for.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    labels = np.concatenate([data.train.labels, data.validation.labels])
    assert np.bincount(labels).tolist() == counts
    # A tenth of each class, to the image.
    tenths = np.bincount(data.validation.labels) - np.array(counts) / 10
    assert np.abs(tenths).max() < 1
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.class_names == tuple("0123456789")


def test_mnist_digest_is_stable(mnist_path: Path) -> None:
    config = DataConfig("tuner.datasets.mnist.load", "mnist", path=str(mnist_path))
    sha = hashlib.sha256()
    with np.load(mnist_path) as archive:
        sha.update(b"uint8(60000, 28, 28)" + archive["x_train"].tobytes())
        sha.update(b"int64(60000,)" + archive["y_train"].astype("<i8").tobytes())
        sha.update(b"uint8(10000, 28, 28)" + archive["x_test"].tobytes())
        sha.update(b"int64(10000,)" + archive["y_test"].astype("<i8").tobytes())
    sha.update(b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009")
    digest = mnist.load(config).digest()
    assert digest == sha.hexdigest()[:32]
    # MLflow compares it between studies, so it must not change between versions either.
    assert digest == "658c4e23e3ec61be76ce5f8c082eae90"


@pytest.mark.slow
def test_mnist_load_without_path_and_download(tmp_path: Path) -> None:
    # Port 9 is discard's: nothing listens, so a download fails even where there is internet.
    nowhere = "http://127.0.0.1:9"
    proxies = {"http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": ""}
    finished = subprocess.run(
        [sys.executable, "-c", LOAD_MNIST],
        cwd=tmp_path,
        env={**os.environ, "KERAS_HOME": str(tmp_path / "keras"), **proxies},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    message = finished.stdout.splitlines()[-1]
    assert "MNIST is not among Keras's downloads and cannot be downloaded" in message
    assert "data.path=" in message
    assert "data=digits" in message


# Arrays, wherever they enter


def labelled_with(**arrays: Any) -> LabelledImages:
    """Make a data set of twelve images as a loader does, with some arrays replaced."""
    given = {
        "x_train": np.full((8, 4, 5), 200, np.uint8),
        "y_train": np.arange(8) % 2,
        "x_test": np.full((4, 4, 5), 100, np.uint8),
        "y_test": np.arange(4) % 2,
        **arrays,
    }
    return LabelledImages(
        Split(given["x_train"], given["y_train"]),
        Split(given["x_test"], given["y_test"]),
        ("a", "b"),
    )


def labelled_from(**arrays: Array) -> LabelledImages:
    """Make the same by `from_arrays`."""
    good = labelled_with()
    given: dict[str, Array] = {
        "x_train": good.train.images,
        "y_train": good.train.labels,
        "x_test": good.test.images,
        "y_test": good.test.labels,
    }
    return LabelledImages.from_arrays(**{**given, **arrays}, class_names=("a", "b"))


FRACTIONS = np.linspace(0, 1, 160).reshape(8, 4, 5)


@pytest.mark.parametrize("make", [labelled_with, labelled_from])
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x_train": FRACTIONS},
            "`x_train` must be uint8.* float64 from 0 to 1. Multiply by 255",
        ),
        ({"x_train": FRACTIONS.astype(np.float32)}, "but is float32 from 0 to 1. Multiply by"),
        ({"x_train": FRACTIONS.astype(np.float16)}, "but is float16 from 0 to 1. Multiply by"),
        ({"x_test": FRACTIONS[:4] * 255}, "`x_test` must be uint8.* to 126.698. Round"),
        ({"x_train": FRACTIONS.round().astype(bool)}, "`x_train` must be uint8.* is bool"),
        ({"x_train": np.full((8, 4, 5), 256, np.int16)}, "but holds 256. Of 16 bits. Divide"),
        ({"x_train": np.full((8, 4, 5), 40_000, np.uint16)}, "but holds 40000. Of 16 bits"),
        ({"x_train": np.full((8, 4, 5), -1, np.int8)}, "from 0 to 255, but holds -1"),
        (
            {"x_train": FRACTIONS.round().astype(np.uint8)},
            "`x_train` must be raw pixels from 0 to 255 .* brightest is 1.* Multiply by 255",
        ),
        ({"x_train": FRACTIONS.astype(np.int64)}, "`x_train` .* its brightest is 1"),
        ({"x_test": np.ones((4, 4, 5), np.uint8)}, "`x_test` .* its brightest is 1"),
        ({"y_train": np.arange(8) % 2 * 1.0}, "`y_train` must hold whole numbers, but is f"),
        ({"y_test": np.array(["a"] * 4)}, "`y_test` must hold whole numbers, but is <U1"),
        ({"y_train": np.arange(8) % 2 == 1}, r"is bool\. Convert it: .*'uint8'\)\.$"),
        ({"x_test": np.ones((4, 4, 5), bool)}, r"Convert it: array\.astype\('uint8'\) \* 255"),
        ({"y_train": np.eye(2, dtype=int)[np.arange(8) % 2]}, r"is of shape \(8, 2\)"),
        ({"y_train": np.full(8, 2**63, np.uint64)}, "but holds 9223372036854775808"),
        ({"x_train": np.zeros((8, 20), np.uint8)}, r"`x_train` must be of shape .*\(8, 20\)"),
        ({"x_train": np.zeros((8, 4, 5, 4), np.uint8)}, r"1 or 3\), but is of shape"),
    ],
)  # fmt: skip
def test_arrays_are_checked_wherever_they_enter(
    make: Callable[..., LabelledImages], arrays: dict[str, Array], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make(**arrays)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64])
def test_arrays_of_other_whole_numbers_become_bytes(dtype: Any) -> None:
    data = labelled_with(
        x_train=np.full((8, 4, 5), 200, dtype),
        y_train=(np.arange(8) % 2).astype(dtype)[:, None],
    )
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int64
    assert data.digest() == labelled_with().digest()


def test_arrays_that_are_black_are_taken() -> None:
    assert len(labelled_with(x_train=np.zeros((8, 4, 5), np.uint8)).train) == 8


def test_arrays_that_are_mapped_stay_mapped_and_are_hardly_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((8, 4, 5), 200, np.uint8))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert labelled_with(x_train=mapped).train.images is mapped


def test_class_names_become_text() -> None:
    train, test = labelled_with().train, labelled_with().test
    data = LabelledImages(train, test, (os.fsdecode(b"gr\xfcn"), "Gro\u0308ße"))
    assert data.class_names == ("gr\\xfcn", "Größe")
    with pytest.raises(DataError, match="`class_names` must differ"):
        LabelledImages(train, test, ("Größe", "Gro\u0308ße"))


# A validation split of the source's own


def test_load_takes_the_validation_split_that_there_is(write_npz: WriteNpz) -> None:
    validation = np.full((3, 4, 5), 77, np.uint8)
    for end in ("val", "valid", "validation"):
        path = write_npz(**{f"x_{end}": validation, f"y_{end}": np.array([0, 1, 1])})
        config = DataConfig("tuner.datasets.npz.load", "npz", path=str(path))
        data = load(config, seed=0)
        assert (len(data.train), len(data.validation), len(data.test)) == (8, 3, 4)
        assert data.validation.labels.tolist() == [0, 1, 1]
        assert load(replace(config, train_size=6), seed=0).validation.labels.tolist() == [
            0,
            1,
            1,
        ]


def test_digest_covers_the_validation_split(labelled: LabelledImages) -> None:
    digests = {labelled.digest()}
    for value in (10, 11):
        images = np.full((2, 4, 5), value, np.uint8)
        with_validation = replace(labelled, validation=Split(images, np.array([0, 1])))
        digests.add(with_validation.digest())
    assert len(digests) == 3


def test_npz_refuses_half_a_validation_split(write_npz: WriteNpz) -> None:
    path = write_npz(x_val=pixels(3, 4, 5))
    with pytest.raises(DataError, match="must hold x_val and y_val, but lacks y_val"):
        npz.read(path)


def test_load_names_the_class_that_is_too_rare(write_npz: WriteNpz) -> None:
    path = write_npz(
        x_train=pixels(40, 4, 5),
        y_train=np.repeat([0, 1], [37, 3]),
        class_names=np.array(["cat", "bird"]),
    )
    config = DataConfig("tuner.datasets.npz.load", "npz", path=str(path), validation_split=0.1)
    with pytest.raises(DataError, match="leaves 0 of class 'bird'"):
        load(config, seed=0)


def random_images(_: DataConfig) -> LabelledImages:
    drawn = np.random.default_rng()
    return labelled_with(x_train=drawn.integers(0, 256, (8, 4, 5), dtype=np.uint8))


def test_check_repeatable_refuses_a_loader_that_draws_anew() -> None:
    config = DataConfig(f"{__name__}.random_images", "mine", validation_split=0.5)
    with pytest.raises(DataError, match="The loader of mine must return the same data"):
        check_repeatable(load(config, 0), load(config, 0))
    check_repeatable(load(three(), 0), load(three(), 0))


# Archives that claim more than they hold


def header_of(shape: tuple[int, ...], version: int = 1) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


def write_archive(path: Path, members: dict[str, bytes | int], header: bytes = b"") -> Path:
    """Write members, whole or, by a number, of `header` and so many zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in members.items():
            with archive.open(f"{name}.npy", "w") as file:
                if isinstance(content, bytes):
                    file.write(content)
                    continue
                file.write(header)
                for begin in range(0, content, 2**24):
                    file.write(bytes(min(2**24, content - begin)))
    return path


LABELS = header_of((4,)) + bytes(4)


@pytest.mark.parametrize(
    "content",
    [
        header_of((10**15, 28, 28)),
        header_of((10**15,)),
        header_of((10**30, 28, 28)) + bytes(100),
        header_of((10**15, 28, 28), version=2),
        header_of((10**15, 28, 28), version=3),
        header_of((-5, 28, 28)),
        header_of((4, 28, 28)) + bytes(5),
        header_of((4, 28, 28)) + bytes(10_000),
        b"no array",
        b"",
    ],
)
def test_npz_read_refuses_false_claims_unread(tmp_path: Path, content: bytes) -> None:
    members: dict[str, bytes | int] = {"x_train": content, "y_train": LABELS}
    path = write_archive(tmp_path / "a.npz", {**members, "x_test": content, "y_test": LABELS})
    with pytest.raises(DataError, match=r"a\.npz"):
        npz.read(path)


def test_npz_read_refuses_a_bomb_unread(tmp_path: Path) -> None:
    shape = (200_000, 28, 28)
    path = write_archive(
        tmp_path / "a.npz",
        {"x_train": 200_000 * 28 * 28, "y_train": LABELS, "x_test": LABELS, "y_test": LABELS},
        header_of(shape),
    )
    tracemalloc.start()
    with pytest.raises(DataError, match=r"`x_train` unpacks from [0-9,]+ bytes to 156,800,000"):
        npz.read(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_npz_read_refuses_more_than_memory_holds(
    write_npz: WriteNpz, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        available = 100

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    with pytest.raises(DataError, match=r"needs \d+ bytes of memory, but 100 are free"):
        npz.read(write_npz())


@pytest.mark.parametrize("path", ["x" * 300, "file/below.npz", "ring", "null\0byte", "fifo"])
def test_npz_check_file_says_what_the_system_refuses(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "ring").symlink_to("ring")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DataError, match=r"`data\.path` must be an \.npz file"):
        npz.check_file(tmp_path / path)
