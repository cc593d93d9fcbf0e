"""The copies of decoded images: damaged ones, old ones, and no room for them."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.config.schema import DataConfig
from tuner.datasets import image_cache, image_folder
from tuner.errors import DataError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLASSY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            Image.new("L", (4, 5), 100 * label + i + 1).save(folder / name / f"{i}.png")
    return folder


def load(root: Path, **settings: object) -> str:
    """Load the images, and return their digest."""
    config = DataConfig("tuner.datasets.image_folder.load", "own", path=str(root))
    config.test_split = 0.5
    for key, value in settings.items():
        setattr(config, key, value)
    return image_folder.load(config).digest()


def zero_a_page(copy: Path) -> None:
    pixels = copy / "images.npy"
    content = bytearray(pixels.read_bytes())
    content[-60:-20] = bytes(40)
    pixels.write_bytes(content)


def write_index(content: bytes) -> Callable[[Path], object]:
    return lambda copy: (copy / "index.json").write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda copy: os.truncate(copy / "images.npy", 100),
        lambda copy: os.truncate(copy / "images.npy", 0),
        lambda copy: os.truncate(copy / "images.npy", 200),
        lambda copy: (copy / "images.npy").write_bytes(b"\0" * 368),
        lambda copy: (copy / "images.npy").unlink(),
        lambda copy: np.save(copy / "images.npy", np.zeros((12, 4, 5), np.uint8)),
        zero_a_page,
        lambda copy: os.truncate(copy / "index.json", 0),
        lambda copy: os.truncate(copy / "index.json", 10),
        lambda copy: (copy / "index.json").unlink(),
        write_index(b"[]"),
        write_index(b"{}"),
        write_index(b"null"),
        write_index(b"\xff\xfe"),
    ],
)
def test_damaged_copy_is_made_anew(
    root: Path,
    cache: Path,
    damage: Callable[[Path], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    digest = load(root)
    [copy] = cache.iterdir()
    damage(copy)
    assert load(root) == digest
    assert "is damaged" in caplog.text
    caplog.clear()
    assert load(root) == digest
    assert not caplog.text
    assert list(cache.iterdir()) == [copy]


def test_copy_that_is_a_file_is_no_trouble(root: Path, cache: Path) -> None:
    digest = load(root)
    [copy] = cache.iterdir()
    copy.rename(cache.parent / "away")
    copy.touch()
    assert load(root) == digest


def test_older_copies_of_the_folder_are_removed(root: Path, cache: Path) -> None:
    load(root)
    other = root.parent / "other"
    shutil.copytree(root, other)
    load(other)
    load(root, image_size=7)
    before = {copy.name for copy in cache.iterdir()}
    assert len(before) == 3
    for i in range(3):
        os.utime(root / "cat" / "0.png", ns=(i, i))
        load(root)
    after = {copy.name for copy in cache.iterdir()}
    # That of the other folder and that of another size are still of use.
    assert len(after) == 3
    assert len(before & after) == 2


def test_what_killed_processes_left_is_removed_after_a_day(root: Path, cache: Path) -> None:
    load(root)
    [copy] = cache.iterdir()
    for name, age in (("old", 48 * 3600), ("new", 60)):
        part = cache / f"{copy.name}.{name}.part"
        part.mkdir()
        then = part.stat().st_mtime - age
        os.utime(part, (then, then))
    os.utime(root / "cat" / "0.png", ns=(5, 5))
    load(root)
    assert sorted(path.suffixes for path in cache.iterdir()) == [[], [".new", ".part"]]


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "/dev/null"},
        {"XDG_CACHE_HOME": "/dev/null/below"},
        {"GLASSY_CACHE": "/dev/null"},
        {"GLASSY_CACHE": "/proc/nowhere"},
        {"GLASSY_CACHE": "/tmp/" + "x" * 300},
    ],
)
def test_without_a_place_for_the_cache(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("GLASSY_CACHE", str(tmp_path / "cache"))
    digest = load(root)
    for name in ("GLASSY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load(root) == digest
    assert "cannot be kept in the cache" in caplog.text
    assert "environment variable GLASSY_CACHE" in caplog.text


def test_without_room_for_the_images(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # As the disk does when it is full: room is asked for before anything is written.
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(DataError, match=r"No space left on device.*GLASSY_CACHE"):
        load(root)
    assert not list(cache.iterdir())


def test_file_system_that_takes_no_room_beforehand(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    load(root)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("places", [[], [0], [2, 4], [0, 1, 2, 3, 4]])
def test_drop_takes_images_out(tmp_path: Path, places: list[int]) -> None:
    path = tmp_path / "images.npy"
    room = image_cache.room_for(path, (5, 2, 2))
    room[:] = np.arange(5)[:, None, None]
    image_cache.drop(room, path, places)
    left = np.delete(np.arange(5), places).tolist()
    assert path.exists() == bool(left)
    if left:
        assert np.load(path)[:, 0, 0].tolist() == left
    assert len(list(tmp_path.iterdir())) == bool(left)
