"""The content of a data set, counted, compared and drawn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.commands import command
from tuner.datasets import ImageData, Split
from tuner.datasets.exploration import MAX_ROWS, explore, overview, table
from tuner.figures import draw_overview


def made_up(
    num_classes: int, shape: tuple[int, ...], names: list[str] | None = None
) -> ImageData:
    drawn = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = np.arange(count * num_classes) % num_classes
        return Split(drawn.integers(0, 256, (len(labels), *shape), dtype=np.uint8), labels)

    class_names = tuple(names or (f"class {i}" for i in range(num_classes)))
    return ImageData("own", class_names, "0", split(4), split(2), split(1))


def test_explore_counts_each_class_of_each_split() -> None:
    data = made_up(3, (5, 4))
    found = explore(data)
    assert found.counts.tolist() == [[4, 4, 4], [2, 2, 2], [1, 1, 1]]
    assert set(found.duplicates.values()) == {0}
    assert found.said_of_duplicates == "Duplicates between the splits: none."
    assert table(data, found)[-1] == ("all", "12", "6", "3")


def test_explore_finds_images_that_are_in_two_splits() -> None:
    data = made_up(2, (5, 4))
    data.test.images[0] = data.train.images[3]
    data.validation.images[1] = data.train.images[3]
    data.train.images[4] = data.train.images[3]
    found = explore(data)
    assert found.duplicates == {
        ("train", "validation"): 2,
        ("train", "test"): 2,
        ("validation", "test"): 1,
    }
    assert "2 of train in test" in found.said_of_duplicates


@pytest.mark.parametrize(
    ("brightest", "said"),
    [
        ((255, 255, 255), "Pixels: 0 to 255."),
        (
            (255, 200, 255),
            "Pixels: 0 to 255 in train, 0 to 200 in validation, 0 to 255 in test.",
        ),
        ((15, 15, 15), "darker than a quarter of white"),
    ],
)
def test_explore_says_the_range_of_the_pixels(
    brightest: tuple[int, int, int], said: str
) -> None:
    data = made_up(2, (5, 4))
    for split, high in zip((data.train, data.validation, data.test), brightest, strict=True):
        split.images[:] = 0
        split.images[0, 0, 0] = high
    found = explore(data)
    assert found.ranges["train"] == (0, brightest[0])
    assert said in found.said_of_pixels


def test_embedded_digits_have_no_duplicates(digits: ImageData) -> None:
    found = explore(digits)
    assert found.counts.sum(axis=1).tolist() == [1221, 216, 360]
    assert set(found.duplicates.values()) == {0}


@pytest.mark.parametrize("shape", [(8, 8), (30, 60, 3), (100, 40, 1), (1, 1)])
@pytest.mark.parametrize("num_classes", [2, MAX_ROWS + 20])
def test_draw_is_of_bounded_size(
    tmp_path: Path, num_classes: int, shape: tuple[int, ...]
) -> None:
    names = [f"a very long name of the class number {i} 日本" for i in range(num_classes)]
    data = made_up(num_classes, shape, names)
    draw_overview(overview(data, explore(data)), tmp_path / "data.png")
    with Image.open(tmp_path / "data.png") as image:
        assert image.size[0] < 1600
        assert image.size[1] < 4000


def test_draw_shows_the_mean_and_the_first_images(tmp_path: Path) -> None:
    data = made_up(2, (8, 8, 3))
    data.train.images[::2] = (255, 0, 0)
    data.train.images[0] = (0, 255, 0)
    draw_overview(overview(data, explore(data)), tmp_path / "data.png")
    with Image.open(tmp_path / "data.png") as image:
        colours = {
            colour: count for count, colour in image.convert("RGB").getcolors(100_000) or []
        }
    tile = 32 * 32
    assert colours[255, 0, 0] == 3 * tile
    assert colours[0, 255, 0] == tile
    # Three of four are red.
    assert colours[191, 64, 0] == tile


def test_command_prints_a_table_and_draws(tmp_path: Path) -> None:
    done = command(tmp_path, "explore", "data=digits", "picture=seen.png")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["class", "train", "validation", "test"]
    assert lines[11].split() == ["all", "1,221", "216", "360"]
    assert "Duplicates between the splits: none.\nPixels: 0 to 255." in done.stdout
    with Image.open(tmp_path / "seen.png") as image:
        assert image.format == "PNG"


LOADER = """
import numpy as np
from tuner.datasets import LabelledImages

def load(config):
    rng = np.random.default_rng()
    x, y = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    return LabelledImages.from_arrays(x, y, x, y)
"""


def test_command_refuses_a_loader_that_draws_anew(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOADER)
    done = command(tmp_path, "explore", "data=custom", "data.name=x", "data._target_=mine.load")
    assert done.returncode == 2
    assert "must return the same data on every call" in done.stderr


def test_command_breaks_no_line_and_names_what_is_left_out(tmp_path: Path) -> None:
    for name in ("a class with a long name, longer than a terminal is wide" * 2, "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(30):
            Image.new("L", (4, 5), i).save(tmp_path / "own" / name / f"{i}.png")
    (tmp_path / "own" / "c").symlink_to("gone")
    done = command(
        tmp_path, "explore", "data=image_folder", "data.path=own", "data.name=x",
        GLASSY_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 8
    assert "own/c is a link to gone, which does not exist" in done.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data=npz", "`data.path` is missing"),
        ("data.validation_split=2", "`data.validation_split` must be above 0 and below 1"),
        ("+data.test_split=0", "`data.test_split` must be above 0 and below 1"),
        ("picture=seen.jpg", "`picture` must be the name of a .png"),
        ("seed=-1", "`seed` must lie between 0 and"),
    ],
)
def test_command_refuses_with_one_message(tmp_path: Path, override: str, message: str) -> None:
    done = command(tmp_path, "explore", override)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
