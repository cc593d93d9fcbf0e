"""Folders of image files: what is read, what is left out, what is refused, and what is kept."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from tuner.config.schema import DataConfig
from tuner.datasets import LabelledImages, image_folder
from tuner.datasets import load as load_data
from tuner.datasets.images import Split
from tuner.errors import DataError
from tuner.images import image_files


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
    """Add so many good files to a class that one or two bad ones are accepted."""
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
    with pytest.raises(
        DataError, match=r"`data\.test_split=0\.05` must leave each of the 2 classes"
    ):
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
    """Write a file that is not an image of the data set, and return its path."""
    if kind == "size":
        Image.new("L", (9, 9)).save(path)
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no image")
    elif kind == "torn":
        Image.effect_noise((4, 5), 50).save(path, "PNG")
        os.truncate(path, 50)
    elif kind == "broken link":
        path.symlink_to("nowhere.png")
    elif kind == "ring":
        path = path.with_name("up")
        path.symlink_to("..")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "phone":
        path = path.with_suffix(".heic")
        path.write_bytes(b"\0\0\0\x18ftypheic")
    elif kind == "negative":
        path = path.with_suffix(".tif")
        Image.fromarray(np.full((5, 4), -1, np.float32)).save(path)
    else:
        path.symlink_to(path.name)
    return path


ODD = {
    "size": "is 9 pixels high and 9 wide, unlike most, which are 5 high and 4 wide",
    "empty": "is empty (0 bytes)",
    "text": "its format is unknown",
    "torn": "cannot be read as an image",
    "broken link": "is a link to nowhere.png, which does not exist",
    "ring": "is a link to a folder that contains it",
    "fifo": "must be a file, but is not",
    "phone": "its format is unknown (.heic: convert it to PNG)",
    "negative": "must lie between 0 and 65535, but go from -1 to -1",
    "link to itself": "cannot be read (Too many levels of symbolic links)",
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_file_is_left_out_and_named(
    root: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    many(root)
    # Between good files, which must keep their labels.
    path = write_odd(kind, root / "train" / "cat" / "odd.png")
    # Pillow logs what it writes where somebody has let it.
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        data = load(root)
    assert len(data.train) == 312
    assert data.train.images[:, 0, 0].tolist()[-6:] == [100, 101, 102, 103, 104, 105]
    [record] = caplog.records
    assert record.getMessage().startswith("Left out 1 of 317 files:")
    assert str(path) in record.getMessage()
    assert ODD[kind] in record.getMessage()
    # The cache says so too.
    caplog.clear()
    assert len(load(root).train) == 312
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", ODD)
def test_too_many_odd_files_are_refused(root: Path, kind: str) -> None:
    folders = [root / "train" / "cat", root / "train" / "dög two", root / "test" / "cat"]
    paths = [write_odd(kind, folder / "odd.png") for folder in folders]
    with pytest.raises(
        DataError, match=r"At most 1% of the 19 files .* 3 cannot be used"
    ) as error:
        load(root)
    for path in paths:
        assert str(path) in str(error.value)
    assert ODD[kind] in str(error.value)


def test_folder_without_any_image_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / "1.png").write_text("no image")
    with pytest.raises(DataError, match="None of the files of the class 'a' can be used"):
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
        patched.setattr(image_files, "open_image", refuse)
        assert load(root).digest() == digest
    assert len(list(cache.iterdir())) == 1
    Image.new("L", (4, 5), 255).save(root / "train" / "cat" / "bild 0.png")
    assert load(root).digest() != digest
    (root / "train" / "cat" / "bild 0.png").rename(root / "train" / "cat" / "renamed.png")
    assert load(root).train.images[5, 0, 0] == 255
    # The older ones are of no use any more.
    assert len(list(cache.iterdir())) == 1
    load(root, image_size=7)
    assert len(list(cache.iterdir())) == 2


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


def photo(path: Path, exif: Image.Exif | None = None, size: tuple[int, int] = (48, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 100, 50)).save(path, exif=exif or Image.Exif())


def test_load_upright_photos_by_their_size_as_they_are_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upright = Image.Exif()
    # The orientation: turn it by 90 degrees to look at it.
    upright[0x0112] = 6
    for i in range(300):
        photo(tmp_path / "a" / f"{i:03}.jpg")
        photo(tmp_path / "b" / f"{i:03}.jpg", upright if i in (3, 4) else None)
    data = load(tmp_path)
    assert data.train.images.shape[1:] == (32, 48, 3)
    assert len(data.train) + len(data.test) == 598
    assert "003.jpg is 48 pixels high and 32 wide, unlike most" in caplog.text
    # Brought to one size they all are used.
    assert len(load(tmp_path, image_size=[32, 48]).train) == 480


def several_frames(path: Path, kind: str) -> None:
    first, second = Image.new("L", (4, 5), 90), Image.new("L", (4, 5), 9)
    options = {"loop": 0} if kind == "GIF" else {}
    first.save(path, kind, save_all=True, append_images=[second], **options)


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", "gif"), ("TIFF", "tif"), ("MPO", "jpg")])
def test_load_first_of_several_frames(
    root: Path, kind: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    several_frames(root / "train" / "cat" / f"zz.{suffix}", kind)
    data = load(root)
    assert np.unique(data.train.images[6]).tolist() == [90]
    assert "1 file with several pictures: only the first of each is used" in caplog.text


@pytest.mark.parametrize(
    ("pixels", "suffix", "white"),
    [
        (np.array([[0, 65535], [257, 32896]], np.uint16), "png", "65535"),
        (np.array([[0, 65535], [257, 32896]], np.uint16), "tif", "65535"),
        (np.array([[0, 65535], [257, 32896]], np.int32), "tif", "65535"),
        (np.array([[0, 65535], [257, 32896]], np.float32), "tif", "65535"),
        (np.array([[0, 255], [1, 128]], np.float32), "tif", "255"),
        (np.array([[0, 1], [1 / 255, 128 / 255]], np.float32), "tiff", "1"),
    ],
)
def test_load_scales_more_than_8_bits(
    tmp_path: Path,
    pixels: np.ndarray,
    suffix: str,
    white: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.{suffix}")
    data = load(tmp_path, test_split=0.5)
    assert data.train.images[0].tolist() == [[0, 255], [1, 128]]
    assert f"8 files with more than 8 bits per channel: {white} counts as white" in caplog.text
    # The copy says so too.
    caplog.clear()
    load(tmp_path, test_split=0.5)
    assert "counts as white" in caplog.text


def test_load_validation_split_of_its_own(root: Path) -> None:
    shutil.copytree(root / "test", root / "Valid")
    Image.new("L", (4, 5), 77).save(root / "Valid" / "cat" / "more.png")
    source = load(root)
    assert source.validation is not None
    assert source.validation.images[:, 0, 0].tolist() == [0, 1, 77, 100, 101]
    config = DataConfig("tuner.datasets.image_folder.load", "own", path=str(root))
    data = load_data(config, seed=0)
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 5, 4)
    # The choice of validation images is part of the data.
    Image.new("L", (4, 5), 78).save(root / "Valid" / "cat" / "more.png")
    assert load(root).digest() != source.digest()


def test_load_train_and_validation_without_test(root: Path) -> None:
    shutil.rmtree(root / "test")
    shutil.copytree(root / "train", root / "val")
    data = load(root, test_split=0.5)
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 12, 6)


def test_load_names_that_are_no_utf8(root: Path) -> None:
    latin = os.fsdecode(os.fsencode(root / "train") + b"/gr\xfcn")
    shutil.copytree(root / "train" / "cat", latin)
    Image.new("L", (4, 5), 250).save(os.fsdecode(os.fsencode(latin) + b"/\xe9.png"))
    data = load(root)
    assert data.class_names == ("cat", "dög two", "gr\\xfcn")
    assert len(data.train) == 19
    # Whatever is kept of them can be written.
    json.dumps(data.class_names).encode("ascii")
    data.class_names[2].encode("utf-8")
    assert load(root).digest() == data.digest()


def test_load_classes_in_natural_order(tmp_path: Path) -> None:
    for i in range(11):
        (tmp_path / f"{i}").mkdir()
        for j in range(4):
            Image.new("L", (4, 5), 10 * i + j).save(tmp_path / f"{i}" / f"{j}.png")
    data = load(tmp_path, test_split=0.5)
    assert data.class_names == tuple(str(i) for i in range(11))
    assert (data.train.images[:, 0, 0] // 10 == data.train.labels).all()


def test_load_refuses_a_class_of_which_nothing_can_be_read(root: Path) -> None:
    many(root)
    for path in (root / "train" / "dög two").iterdir():
        path.unlink()
    (root / "train" / "dög two" / "1.png").touch()
    with pytest.raises(DataError, match="None of the files of the class 'dög two' can be"):
        load(root)
