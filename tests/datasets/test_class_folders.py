"""Folders of splits and of classes, whatever they are called, and the truth of a file."""

from pathlib import Path

import pytest
from PIL import Image

from tuner.datasets.class_folders import read, split_called, true_classes
from tuner.errors import DataError


def fill(root: Path, *folders: str, count: int = 3) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("L", (2, 2)).save(root / folder / f"{i}.png")
    return root


def both(*splits: str) -> list[str]:
    return [f"{split}/{name}" for split in splits for name in ("cat", "dog")]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("TRAIN", "train"),
        ("train_set", "train"),
        ("training-images", "train"),
        ("trainset", "train"),
        ("val", "validation"),
        ("Valid", "validation"),
        ("validation", "validation"),
        ("dev", "validation"),
        ("Testing", "test"),
        ("test", "test"),
        ("test_images", "test"),
        ("eval", "test"),
        ("trainer", None),
        ("trains", None),
        ("vale", None),
        ("contest", None),
        ("protest", None),
        ("cat", None),
    ],
)
def test_split_called(name: str, split: str | None) -> None:
    assert split_called(name) == split


@pytest.mark.parametrize(
    ("splits", "found"),
    [
        (("train", "test"), {"train", "test"}),
        (("Training", "Testing"), {"train", "test"}),
        (("train", "val"), {"train", "validation"}),
        (("TRAIN", "Valid", "TEST"), {"train", "validation", "test"}),
        (("train", "validation", "eval"), {"train", "validation", "test"}),
        (("train",), {"train"}),
    ],
)
def test_read_splits_by_all_their_names(
    tmp_path: Path, splits: tuple[str, ...], found: set[str]
) -> None:
    data = read(fill(tmp_path, *both(*splits)))
    assert {file.split for file in data.files} == found
    assert data.class_names == ("cat", "dog")
    assert len(data.files) == 6 * len(splits)


@pytest.mark.parametrize("inside", ["", "/unknown", "/test"])
@pytest.mark.parametrize("split", ["test", "Val"])
def test_read_says_that_an_unlabelled_split_is_not_used(
    tmp_path: Path, split: str, inside: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = read(fill(tmp_path, *both("train"), f"{split}{inside}"))
    assert {file.split for file in data.files} == {"train"}
    assert data.left_out == ()
    assert f"{split} has no folders of classes, so it is not used" in caplog.text
    assert f"data.{'test' if split == 'test' else 'validation'}_split" in caplog.text


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["train/cat", "train/dog", "cat"], "holds both: train/ and cat/"),
        (["test", "cat", "dog"], "holds both: test/ and cat/, dog/"),
        (["train", "car", "bus"], "put them into a folder train/"),
        (both("train", "val", "valid"), "val/, valid/ all say validation"),
        (both("test", "val"), "must hold a folder train/ next to"),
        (
            [*both("train"), "test/cat", "test/lion"],
            "the class 'lion', which .*train lacks",
        ),
        ([*both("train"), "val/cat", "val/lion"], "the class 'lion', which .*train lacks"),
        (["train/cat", "test/cat"], "at least two classes, but holds 1"),
        (["cat"], "at least two classes, but holds 1"),
        ([], "at least two classes, but holds 0"),
    ],
)
def test_read_refuses_folders(tmp_path: Path, folders: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(fill(tmp_path, *folders))


def test_read_takes_any_class_within_a_split(tmp_path: Path) -> None:
    data = read(fill(tmp_path, "train/train", "train/test", "train/car"))
    assert data.class_names == ("car", "test", "train")


def test_read_passes_over_folders_without_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "data", "cat", "dog", "__MACOSX", ".ipynb_checkpoints")
    (tmp_path / "data" / "annotations").mkdir()
    (tmp_path / "data" / "annotations" / "all.json").write_text("{}")
    assert read(tmp_path / "data").class_names == ("cat", "dog")
    assert "annotations holds no images, only other files (1)" in caplog.text
    assert "MACOSX" not in caplog.text


def test_read_names_what_lies_in_no_class(tmp_path: Path) -> None:
    fill(tmp_path, *both("train", "test"))
    Image.new("L", (2, 2)).save(tmp_path / "example.png")
    Image.new("L", (2, 2)).save(tmp_path / "train" / "loose.png")
    (tmp_path / "train" / "lion").symlink_to("gone")
    (tmp_path / "test" / "dog" / "up").symlink_to("../..")
    left_out = "\n".join(read(tmp_path).left_out)
    assert "example.png is not in the folder of a class" in left_out
    assert "loose.png is not in the folder of a class" in left_out
    assert "train/lion is a link to gone, which does not exist" in left_out
    assert "test/dog/up is a link to a folder that contains it" in left_out


def test_read_follows_the_link_of_a_class(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "dogs")
    fill(tmp_path / "data", "cat")
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere" / "dogs")
    assert [file.class_name for file in read(tmp_path / "data").files] == ["cat"] * 3 + [
        "dog"
    ] * 3


DIGITS = tuple("0123456789")
PETS = ("cat", "dog")


@pytest.mark.parametrize(
    ("root", "files", "classes", "expected"),
    [
        ("ne", ["7/batch/1.png", "7/1.png", "3/5/2.png"], DIGITS, ["7", "7", "3"]),
        ("7", ["batch/1.png", "1.png"], DIGITS, ["7", "7"]),
        ("7/batch", ["1.png"], DIGITS, [None]),
        ("data", ["train/cat/1.png", "Testing/dog/1.png"], PETS, ["cat", "dog"]),
        ("data", ["cat/1.png", "dog/old/cat.png", "new/1.png"], PETS, ["cat", "dog", None]),
        ("data", ["monday/cat/1.png", "monday/dog/1.png"], PETS, ["cat", "dog"]),
        # As in training: `other` is beside classes, so its files belong to none of them.
        ("data", ["3/1.png", "other/1/2.png"], DIGITS, ["3", None]),
        ("data", ["cat/1.png", "dog.png"], PETS, ["cat", None]),
        ("data", ["cat.png", "dog.png", "Dog.png", "x.png"], PETS, ["cat", "dog", None, None]),
        ("data", ["7.png", "3.png"], DIGITS, ["7", "3"]),
        # Just numbered.
        ("data", ["1.png", "2.png", "10.png"], DIGITS, [None, None, None]),
        ("data", ["train/7/1.png", "test/1.png"], DIGITS, ["7", None]),
        # A folder called 1 that holds folders of digits.
        ("1", ["0/a.png", "1/a.png"], DIGITS, ["0", "1"]),
        ("cat", ["a/1.png", "dog/1.png"], PETS, ["cat", "cat"]),
    ],
)
def test_true_classes(
    tmp_path: Path,
    root: str,
    files: list[str],
    classes: tuple[str, ...],
    expected: list[str | None],
) -> None:
    top = tmp_path / "folder" / root
    top.mkdir(parents=True)
    assert true_classes([top / file for file in files], top, classes) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [("cat/0001.png", "cat"), ("images/dog.png", "dog"), ("cat/dog.png", "cat"),
     ("images/0001.png", None), ("cat/old/dog.png", None), ("images/dog.old.png", None)],
)  # fmt: skip
def test_true_class_of_one_file(tmp_path: Path, file: str, expected: str | None) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    assert true_classes([path], path, PETS) == [expected]


def test_true_class_of_a_file_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "7").mkdir()
    monkeypatch.chdir(tmp_path / "7")
    assert true_classes([Path("0001.png")], Path("0001.png"), DIGITS) == ["7"]
    assert true_classes([Path("1.png"), Path("a/2.png")], Path(), DIGITS) == ["7", "7"]


def test_true_class_by_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "gr\udcfcn"
    folder.mkdir()
    assert true_classes([folder / "1.png"], tmp_path, ("rot", "gr\\xfcn")) == ["gr\\xfcn"]
