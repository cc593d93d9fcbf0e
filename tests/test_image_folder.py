"""Folders of image files: what is read, what is left out, what is refused, and what is kept."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from tuner import images
from tuner.datasets import LabelledImages, image_folder
from tuner.datasets.images import Split
from tuner.errors import DataError
from tuner.schema import DataConfig


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLASSY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six training and two test images of each of two classes, grey, 5 high and 4 wide."""
    folder = tmp_path / "images"
    for split, count in (("train", 6), ("test", 2)):
        for label, name in enumerate(("cat", "dög two")):
            for i in range(count):
                path = folder / split / name / f"bild {i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (4, 5), 100 * label + i).save(path)
    return folder


def load(root: Path, **settings: object) -> LabelledImages:
    config = DataConfig("tuner.datasets.image_folder.load", "own", path=str(root))
    for key, value in settings.items():
        setattr(config, key, value)
    return image_folder.load(config)


def many(root: Path, count: int = 300) -> None:
    """Add so many good files to a class that one or two odd ones are let pass."""
    for i in range(count):
        Image.new("L", (4, 5), i % 256).save(root / "train" / "cat" / f"more {i:03d}.png")


def test_load_train_and_test(root: Path) -> None:
    data = load(root)
    assert data.class_names == ("cat", "dög two")
    assert data.train.images.shape == (12, 5, 4)
    assert data.train.labels.tolist() == [0] * 6 + [1] * 6
    assert data.train.images[:, 0, 0].tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
        100,
        101,
        102,
        103,
        104,
        105,
    ]
    assert data.test.images[:, 0, 0].tolist() == [0, 1, 100, 101]
    assert data.test.labels.tolist() == [0, 0, 1, 1]


def test_load_splits_one_root(root: Path) -> None:
    data = load(root / "train", test_split=0.5)
    assert (len(data.train), len(data.test)) == (6, 6)
    assert np.bincount(data.test.labels).tolist() == [3, 3]
    seen = np.concatenate([data.train.images, data.test.images])[:, 0, 0]
    assert sorted(seen.tolist()) == [0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104, 105]
    again = load(root / "train", test_split=0.5)
    np.testing.assert_array_equal(data.test.images, again.test.images)


def test_load_one_root_that_is_too_small(root: Path) -> None:
    with pytest.raises(DataError, match=r"`data\.test_split=0\.05` cannot be taken from 12"):
        load(root / "train", test_split=0.05)


def test_load_colours_where_any_file_has_them(root: Path) -> None:
    Image.new("RGB", (4, 5), (250, 10, 20)).save(root / "train" / "cat" / "bild 0.png")
    Image.new("CMYK", (4, 5), (0, 0, 0, 255)).save(root / "train" / "cat" / "print.jpg")
    data = load(root)
    assert data.train.images.shape == (13, 5, 4, 3)
    assert data.train.images[0, 0, 0].tolist() == [250, 10, 20]
    assert data.train.images[1, 0, 0].tolist() == [1, 1, 1]
    # Printed black.
    assert data.train.images[6].max() < 60


@pytest.mark.parametrize(("size", "shape"), [(8, (8, 8)), ([6, 10], (6, 10))])
def test_load_brings_all_to_one_size(root: Path, size: object, shape: tuple[int, int]) -> None:
    Image.new("L", (40, 30), 77).save(root / "train" / "cat" / "large.png")
    data = load(root, image_size=size)
    assert data.train.images.shape == (13, *shape)
    assert np.unique(data.train.images[6]).tolist() == [77]


def test_load_goes_into_subfolders_and_passes_over_hidden_files(root: Path) -> None:
    (root / "train" / "cat" / "more").mkdir()
    shutil.move(root / "train" / "cat" / "bild 0.png", root / "train" / "cat" / "more")
    (root / "train" / "cat" / ".DS_Store").write_text("x")
    (root / "train" / ".git").mkdir()
    (root / "train" / "notes.txt").write_text("no class")
    assert len(load(root).train) == 12


def write_odd(kind: str, path: Path) -> Path:
    """Write a file that is no image of the data set."""
    grey = Image.new("L", (4, 5))
    if kind == "size":
        Image.new("L", (9, 9)).save(path)
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no image")
    elif kind == "torn":
        Image.effect_noise((4, 5), 50).save(path, "PNG")
        os.truncate(path, 50)
    elif kind == "deep":
        Image.fromarray(np.zeros((5, 4), np.uint16)).save(path)
    else:
        path = path.with_suffix(".gif")
        grey.save(path, save_all=True, append_images=[Image.new("L", (4, 5), 9)], loop=0)
    return path


ODD = {
    "size": "is 9 pixels high and 9 wide, unlike most, which are 5 high and 4 wide",
    "empty": "is empty (0 bytes)",
    "text": "is of no format that is known",
    "torn": "cannot be read as an image",
    "deep": "has more than 8 bits a channel",
    "animated": "has 2 frames",
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_file_is_left_out_and_named(
    root: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    many(root)
    # Between good ones, whose labels must stay theirs.
    path = write_odd(kind, root / "train" / "cat" / "odd.png")
    with caplog.at_level(logging.WARNING):
        data = load(root)
    assert len(data.train) == 312
    assert data.train.images[:, 0, 0].tolist()[-6:] == [100, 101, 102, 103, 104, 105]
    [record] = caplog.records
    assert record.getMessage().startswith("1 of 317 files are left out:")
    assert str(path) in record.getMessage()
    assert ODD[kind] in record.getMessage()
    # The cache says so too.
    caplog.clear()
    assert len(load(root).train) == 312
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", ODD)
def test_too_many_odd_files_are_refused(root: Path, kind: str) -> None:
    path = write_odd(kind, root / "test" / "cat" / "odd.png")
    with pytest.raises(
        DataError, match=r"At most 1% of the 17 files .* 1 cannot be used"
    ) as error:
        load(root)
    assert str(path) in str(error.value)
    assert ODD[kind] in str(error.value)


def test_folder_without_any_image_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / "1.png").write_text("no image")
    with pytest.raises(DataError, match="2 cannot be used"):
        load(tmp_path / "own")


def test_many_odd_files_are_not_all_named(root: Path) -> None:
    for i in range(30):
        (root / "train" / "cat" / f"empty {i}.png").touch()
    with pytest.raises(DataError, match="… and 20 more"):
        load(root)


def test_photo_of_fifty_megapixels(root: Path) -> None:
    Image.new("L", (10_000, 5_000), 200).save(root / "train" / "cat" / "photo.jpg", quality=60)
    assert np.unique(load(root, image_size=8).train.images[-7]).tolist() == [200]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: shutil.rmtree(r), "`data.path` must be a folder .*does not exist"),
        (lambda r: shutil.rmtree(r / "train" / "cat"), "at least two classes, but holds 1"),
        (
            lambda r: [p.unlink() for p in (r / "train" / "cat").iterdir()],
            "must hold images of the class 'cat', but is empty",
        ),
        (
            lambda r: (r / "test" / "cat").rename(r / "test" / "lion"),
            "has the class 'lion', which .*train lacks",
        ),
    ],
    ids=["nothing", "one_class", "empty_class", "unknown_class"],
)
def test_folders_that_are_refused(
    root: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(root)
    with pytest.raises(DataError, match=message):
        load(root)


@pytest.mark.parametrize("size", [0, -3, [8], [8, 8, 3], [8, "8"], 8.5, True])
def test_image_size_that_is_refused(root: Path, size: object) -> None:
    with pytest.raises(DataError, match=r"`data\.image_size` must be a whole number above 0"):
        load(root, image_size=size)


def test_cache_is_used_until_a_file_changes(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = load(root).digest()

    def refuse(*_: object) -> None:
        raise AssertionError("a file was read again")

    with monkeypatch.context() as patched:
        patched.setattr(images, "open_image", refuse)
        assert load(root).digest() == digest
    assert len(list(cache.iterdir())) == 1
    Image.new("L", (4, 5), 255).save(root / "train" / "cat" / "bild 0.png")
    assert load(root).digest() != digest
    (root / "train" / "cat" / "bild 0.png").rename(root / "train" / "cat" / "renamed.png")
    assert load(root).train.images[5, 0, 0] == 255
    load(root, image_size=7)
    assert len(list(cache.iterdir())) == 4


def test_cache_that_was_not_finished_is_made_again(root: Path, cache: Path) -> None:
    load(root)
    [made] = cache.iterdir()
    # What a kill leaves: a folder under another name.
    made.rename(cache / f"{made.name}.killed")
    assert len(load(root).train) == 12


def test_split_larger_than_memory_stays_in_files(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = load(root)
    assert not isinstance(in_memory.train.images, np.memmap)

    class Memory:
        available = 100

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    data = load(root)
    assert isinstance(data.train.images, np.memmap)
    np.testing.assert_array_equal(data.train.images, in_memory.train.images)
    assert data.digest() == in_memory.digest()
    part = data.train.take(np.array([3, 1]))
    assert isinstance(part, Split)
    assert part.images[:, 0, 0].tolist() == [3, 1]
    # Nothing is left of the copies.
    assert len(list(cache.iterdir())) == 1
