"""Which files count as images, which are skipped, and which are left out and named."""

import os
from pathlib import Path

import pytest
from PIL import Image

from tuner.errors import DataError
from tuner.images.folders import (
    images_below,
    judge_left_out,
    kind_of,
    natural,
    refuse_left_out,
    shown,
)


def image(path: Path, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2)).save(path, kind)
    return path


def names(folder: Path) -> list[str]:
    return [str(found.path.relative_to(folder)) for found in images_below(folder).images]


@pytest.mark.parametrize(
    "beside",
    [
        ".DS_Store",
        "._a.png",
        ".ipynb_checkpoints/a-checkpoint.png",
        "__MACOSX/._a.png",
        "__MACOSX/b.png",
        "Thumbs.db",
        "thumbs.DB",
        "desktop.ini",
        "@eaDir/a.png",
        "labels.json",
        "a.txt",
        "A.CSV",
        "notes.md",
        "annotations.xml",
        "weights.npy",
        "README",
        "model.bin",
    ],
)
def test_images_below_passes_over_without_a_word(tmp_path: Path, beside: str) -> None:
    image(tmp_path / "a.png")
    path = tmp_path / beside
    if path.suffix == ".png":
        image(path)
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"P is no image, and \xff\xd8 does not make one")
    assert names(tmp_path) == ["a.png"]
    assert images_below(tmp_path).left_out == ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.PNG", "PNG"),
        ("a.jpeg", "JPEG"),
        ("a.pgm", "PPM"),
        ("a.ppm", "PPM"),
        ("a.pbm", "PPM"),
        ("a.webp", "WEBP"),
        ("a.tif", "TIFF"),
        ("a.bmp", "BMP"),
        ("a.gif", "GIF"),
        ("a.jp2", "JPEG2000"),
        ("a.tga", "TGA"),
        # Recognised by their content.
        ("a", "PNG"),
        ("scan.0001", "JPEG"),
        ("a.png.bak", "PNG"),
    ],
)
def test_images_below_takes_every_format(tmp_path: Path, name: str, kind: str) -> None:
    image(tmp_path / name, kind)
    assert names(tmp_path) == [name]


def test_images_below_follows_links_to_folders_and_files(tmp_path: Path) -> None:
    image(tmp_path / "elsewhere" / "deep" / "1.png")
    root = tmp_path / "root"
    image(root / "cat" / "0.png")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "1.png").symlink_to("0.png")
    assert names(root) == ["cat/0.png", "cat/1.png", "dog/deep/1.png"]


def test_images_below_names_links_that_lead_nowhere_or_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    image(root / "cat" / "0.png")
    image(tmp_path / "beside.png")
    (root / "cat" / "up").symlink_to("..")
    (root / "cat" / "out").symlink_to("../..")
    (root / "cat" / "self").symlink_to(".")
    (root / "dog").symlink_to("gone")
    (root / "cat" / "gone.txt").symlink_to("gone")
    found = images_below(root)
    assert names(root) == ["cat/0.png"]
    assert [line.split()[0].rpartition("/")[2] for line in found.left_out] == [
        "out",
        "self",
        "up",
        "dog",
    ]
    assert "is a link to gone, which does not exist" in found.left_out[-1]
    assert all("a link to a folder that contains it" in line for line in found.left_out[:-1])


def test_images_below_ends_in_a_web_of_links(tmp_path: Path) -> None:
    for i in range(6):
        image(tmp_path / "all" / f"{i}" / "a.png")
        for j in range(6):
            if i != j:
                (tmp_path / "all" / f"{i}" / f"to {j}").symlink_to(f"../{j}")
    found = images_below(tmp_path / "all")
    assert {Path(one.path).resolve() for one in found.images} == {
        tmp_path / "all" / f"{i}" / "a.png" for i in range(6)
    }
    assert any("a link within 4 others" in line for line in found.left_out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_images_below_names_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "closed").mkdir(mode=0)
    [line] = images_below(tmp_path).left_out
    assert "closed cannot be read (Permission denied)" in line


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("gone", "does not exist"),
        ("x" * 300, "cannot be read (File name too long)"),
        ("file/below", "cannot be read (Not a directory)"),
        ("ring", "cannot be read (Too many levels of symbolic links)"),
        ("broken", "is a link to gone, which does not exist"),
        ("null\0byte", "cannot be read (embedded null byte)"),
        ("file", "file"),
        (".", "folder"),
        ("fifo", "is neither a file nor a folder"),
    ],
)
def test_kind_of(tmp_path: Path, path: str, expected: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "ring").symlink_to("ring")
    (tmp_path / "broken").symlink_to("gone")
    os.mkfifo(tmp_path / "fifo")
    assert kind_of(tmp_path / path) == expected


def test_natural_order() -> None:
    mixed = ["10", "2", "img10", "img9", "b", "007", "7", "a10b2", "a10b10", "a2"]
    assert sorted(mixed, key=natural) == [
        "2", "007", "7", "10", "a2", "a10b2", "a10b10", "b", "img9", "img10",
    ]  # fmt: skip


def test_shown_names_are_text() -> None:
    assert shown("Größe") == "Größe"
    # As macOS writes it.
    assert shown("Gro\u0308ße") == "Größe"
    assert shown(os.fsdecode(b"gr\xfcn")) == "gr\\xfcn"
    assert shown("lone \ud800") == "lone \\ud800"


@pytest.mark.parametrize(
    ("num_left_out", "num_files", "is_refused"),
    [
        (0, 1, False),
        (2, 3, False),
        (3, 60, True),
        (3, 299, True),
        (3, 300, False),
        (5, 500, False),
        (6, 500, True),
    ],
)
def test_refuse_left_out_more_than_one_in_a_hundred(
    tmp_path: Path, num_left_out: int, num_files: int, is_refused: bool
) -> None:
    sentences = [f"{i}.png is empty." for i in range(num_left_out)]
    if is_refused:
        with pytest.raises(
            DataError, match=f"{num_left_out} cannot be used:\n  0.png is empty"
        ):
            refuse_left_out(sentences, num_files, tmp_path)
    else:
        refuse_left_out(sentences, num_files, tmp_path)


def test_judge_left_out_names_ten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    judge_left_out([f"{i}.png is empty." for i in range(12)], 2_000, tmp_path)
    assert caplog.text.count("is empty") == 10
    assert "Left out 12 of 2000 files:" in caplog.text
    assert "… and 2 more" in caplog.text
    caplog.clear()
    judge_left_out([], 5, tmp_path)
    assert not caplog.text
