"""Image files of every kind."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.image_files import write_claiming_png
from tuner.drawings import Form, Steps
from tuner.errors import DataError
from tuner.images.image_files import MAX_PIXELS, Chosen, check, find, read

GREY = (8, 8)


def write_image(path: Path, size: tuple[int, int] = (8, 8), grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)
    return path


# Finding


def test_find_file_itself(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png")
    assert find(path).paths == (path,)


def test_find_file_of_any_ending(tmp_path: Path) -> None:
    path = tmp_path / "drawing.scan"
    path.write_bytes(b"?")
    assert find(path).paths == (path,)


def test_find_in_folders_in_order(tmp_path: Path) -> None:
    b = write_image(tmp_path / "b.png")
    nested = write_image(tmp_path / "a" / "deep" / "c.JPG")
    (tmp_path / "notes.txt").write_text("no image")
    assert find(tmp_path).paths == (nested, b)


def test_find_passes_over_folders_named_like_images(tmp_path: Path) -> None:
    inside = write_image(tmp_path / "scan.png" / "1.png")
    assert find(tmp_path).paths == (inside,)


def test_find_refuses_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`images` must be .*none does not exist"):
        find(tmp_path / "none")


def test_find_refuses_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"no image files \(\.png, \.jpg.*other kinds: 1"):
        find(tmp_path)


# Reading


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (8, 8, 1), (32, 32, 3), (4, 6)])
def test_read_brings_images_to_the_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    paths = [write_image(tmp_path / "small.png", (5, 3), 200), write_image(tmp_path / "b.png")]
    files = read(paths, shape)
    assert files.images.shape == (2, *shape)
    assert files.images.dtype == np.uint8
    assert files.paths == tuple(paths)
    # One colour stays that colour at any size.
    assert np.unique(files.images[0]).tolist() == [200]
    assert np.unique(files.images[1]).tolist() == [0]


def test_read_grey_png_as_it_is(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read([tmp_path / "a.png"], GREY).images[0], pixels)


def test_read_keeps_rows_and_columns_apart(tmp_path: Path) -> None:
    # White on the left, in an image wider than high: 12 columns of 24.
    pixels = np.zeros((6, 24), np.uint8)
    pixels[:, :12] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read([tmp_path / "a.png"], (4, 8)).images[0]
    assert image[:, :3].min() > 230
    assert image[:, 5:].max() < 25


def test_read_colours_for_a_grey_model(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "red.png")
    # ITU-R 601: 0.299 of 255 is 76.2.
    assert np.unique(read([tmp_path / "red.png"], GREY).images).tolist() == [76]


def test_read_colours_for_a_model_of_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read([tmp_path / "a.png"], (32, 32, 3)).images[0], pixels)


def test_read_jpeg(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (10, 200, 30)).save(tmp_path / "a.jpg", quality=95)
    images = read([tmp_path / "a.jpg"], (8, 8, 3)).images.astype(int)
    # JPEG loses a little.
    assert np.abs(images - [10, 200, 30]).max() <= 3


def test_read_jpeg_the_way_up_it_was_taken(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 255
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    # 274 is the orientation, and 3 says: turn by 180 degrees to look at it.
    exif[274] = 3
    upright.rotate(180).save(tmp_path / "a.jpg", quality=95, exif=exif)
    image = read([tmp_path / "a.jpg"], (16, 16)).images[0]
    assert image[:7].min() > 230
    assert image[9:].max() < 25


def test_read_transparency_as_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    # Transparent black, black, half-transparent black, red.
    pixels[0, 1] = (0, 0, 0, 255)
    pixels[1, 0] = (0, 0, 0, 51)
    pixels[1, 1] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read([tmp_path / "a.png"], (2, 2, 3)).images[0]
    # 51 is a fifth of 255: 255 * 4 / 5 = 204.
    assert image.tolist() == [[[255] * 3, [0] * 3], [[204] * 3, [255, 0, 0]]]


def test_read_grey_with_transparency_as_white(tmp_path: Path) -> None:
    pixels = np.array([[[90, 0], [90, 255]], [[0, 0], [0, 255]]], np.uint8)
    Image.fromarray(pixels, "LA").save(tmp_path / "a.png")
    assert read([tmp_path / "a.png"], (2, 2)).images[0].tolist() == [[255, 90], [255, 0]]


def test_read_palette(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 100, 50, 0, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    assert read([tmp_path / "a.png"], (1, 2, 3)).images[0].tolist() == [
        [[200, 100, 50], [0, 0, 0]]
    ]


def test_read_palette_with_transparency_as_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 100, 50, 0, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert read([tmp_path / "a.png"], (1, 2, 3)).images[0].tolist() == [[[255] * 3, [0] * 3]]


def test_read_black_and_white(tmp_path: Path) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    assert read([tmp_path / "a.png"], (1, 2)).images[0].tolist() == [[0, 255]]


# Files that are no images


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", r"a\.png must be an image, but is empty \(0 bytes\)"),
        (b"no image at all", r"a\.png must be an image, but its format is unknown"),
        (b"\x89PNG\r\n\x1a\n", r"a\.png must be an image, but its format is unknown"),
    ],
    ids=["empty", "text", "a PNG's first bytes"],
)
def test_read_refuses_other_contents(tmp_path: Path, contents: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(contents)
    with pytest.raises(DataError, match=message):
        read([path], GREY)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "webp", "bmp"])
def test_read_refuses_truncated_file(tmp_path: Path, ending: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = tmp_path / f"a.{ending}"
    Image.fromarray(pixels).save(path)
    contents = path.read_bytes()
    path.write_bytes(contents[: len(contents) // 2])
    with pytest.raises(DataError, match=rf"a\.{ending} "):
        read([path], GREY)


def test_read_refuses_corrupt_png(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", (40, 40))
    contents = bytearray(path.read_bytes())
    # The first byte of the pixels, so that their checksum is wrong.
    contents[contents.index(b"IDAT") + 4] ^= 0xFF
    path.write_bytes(contents)
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        read([path], GREY)


def test_read_refuses_enormous_image_unread(tmp_path: Path) -> None:
    path = write_claiming_png(tmp_path / "a.png", 100_000, 100_000)
    assert path.stat().st_size < 100
    with pytest.raises(DataError, match=r"at most 100,000,000 .* claims 100,000 x 100,000\."):
        read([path], GREY)


def test_read_takes_as_many_pixels_as_are_allowed(tmp_path: Path) -> None:
    # Its pixels are missing, which is only found when it is read.
    path = write_claiming_png(tmp_path / "a.png", 10_000, MAX_PIXELS // 10_000)
    with pytest.raises(DataError, match="cannot be read as an image"):
        read([path], GREY)


def test_read_names_all_bad_files(tmp_path: Path) -> None:
    good = write_image(tmp_path / "good.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    claiming = write_claiming_png(tmp_path / "large.png", 100_000, 100_000)
    paths = [tmp_path / "empty.png", good, tmp_path / "text.png", claiming]
    with pytest.raises(DataError) as raised:
        read(paths, GREY)
    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert "empty.png must be an image, but is empty" in lines[0]
    assert "text.png must be an image, but its format is unknown" in lines[1]
    assert "large.png must have at most" in lines[2]


def test_read_names_at_most_twenty_bad_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(23)]
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(DataError) as raised:
        read(paths, GREY)
    lines = str(raised.value).splitlines()
    assert len(lines) == 21
    assert "19.png" in lines[19]
    assert lines[20] == "  … and 3 more"


@pytest.mark.parametrize("limit", [None, 1, 123_456])
def test_read_leaves_the_limit_of_pillow_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert len(read([write_image(tmp_path / "a.png")], GREY).images) == 1
    assert limit == Image.MAX_IMAGE_PIXELS
    enormous = write_claiming_png(tmp_path / "b.png", 100_000, 100_000)
    with pytest.raises(DataError):
        read([enormous], GREY)
    assert limit == Image.MAX_IMAGE_PIXELS


def chosen(*paths: Path) -> Chosen:
    return Chosen(paths[0].parent, paths)


def test_check_names_all_bad_files(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    claiming = write_claiming_png(tmp_path / "large.png", 100_000, 100_000)
    with pytest.raises(DataError, match=r"empty\.png .*\n.*large\.png "):
        check(chosen(tmp_path / "empty.png", claiming))


def test_check_leaves_out_two_bad_files(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    claiming = write_claiming_png(tmp_path / "large.png", 100_000, 100_000)
    good = write_image(tmp_path / "good.png")
    left = check(chosen(tmp_path / "empty.png", good, claiming))
    assert left.paths == (good,)
    assert left.num_files == 3
    assert "empty.png must be an image, but is empty" in left.left_out[0]
    with pytest.raises(DataError, match=r"At most 1% of the 4 files .* 3 cannot be used"):
        check(chosen(tmp_path / "empty.png", good, claiming, tmp_path / "gone.png"))


def test_check_reads_the_beginning_only(tmp_path: Path) -> None:
    # Its header is good, its pixels cannot be read: `read` reports it later.
    path = write_claiming_png(tmp_path / "a.png", 100, 100)
    check(chosen(path))
    with pytest.raises(DataError):
        read([path], GREY)
    good = write_image(tmp_path / "good.png")
    left = check(chosen(path, good), decode=True)
    assert left.paths == (good,)
    assert "a.png cannot be read as an image" in left.left_out[0]
    files = read([path, good], GREY, may_leave_out=True)
    assert files.paths == (good,)
    assert len(files.images) == len(files.has_ink) == 1
    assert "a.png cannot be read as an image" in files.left_out[0]


def test_read_names_a_format_that_has_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(DataError, match=r"its format is unknown \(\.heic: convert it to"):
        read([tmp_path / "phone.HEIC"], GREY)


@pytest.mark.parametrize("kind", ["gone", "folder", "broken link", "name too long"])
def test_read_says_what_the_system_refuses(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("x" * 300 if kind == "name too long" else "a.png")
    if kind == "folder":
        path.mkdir()
    if kind == "broken link":
        path.symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"cannot be read as an image"):
        read([path], GREY)


# Ink

DIGIT = Form(is_light=True, longer_side=6.0, stroke_width=1.5, is_centred_by_mass=False)


def drawn(ground: tuple[int, ...], ink: tuple[int, ...] | None) -> Image.Image:
    image = Image.new("RGBA", (80, 80), ground)
    if ink is not None:
        image.paste(ink, (36, 10, 44, 70))
    return image


BLACK, WHITE, CLEAR = (0, 0, 0, 255), (255, 255, 255, 255), (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("ground", "ink"),
    [
        (WHITE, BLACK),
        (BLACK, WHITE),
        (CLEAR, BLACK),
        (CLEAR, WHITE),
        # The ground may be white, too, and strokes may have other light colours.
        ((255, 255, 255, 0), WHITE),
        (CLEAR, (255, 255, 0, 255)),
        (CLEAR, (255, 255, 255, 120)),
        (CLEAR, (60, 60, 60, 255)),
        # Chalk on a board that is photographed brightly, and pencil on a dark one.
        ((140, 140, 140, 255), (230, 230, 230, 255)),
        ((100, 100, 100, 255), (20, 20, 20, 255)),
    ],
)
def test_read_sees_a_stroke_by_its_contrast(
    tmp_path: Path, ground: tuple[int, ...], ink: tuple[int, ...]
) -> None:
    drawn(ground, ink).save(tmp_path / "1.png")
    drawn(WHITE, BLACK).save(tmp_path / "usual.png")
    files = read([tmp_path / "1.png", tmp_path / "usual.png"], GREY, DIGIT)
    assert files.has_ink.all()
    assert np.abs(files.images[0].astype(int) - files.images[1]).max() < 10


@pytest.mark.parametrize("ground", [WHITE, BLACK, CLEAR, (255, 255, 255, 0), (90, 90, 90, 255)])
@pytest.mark.parametrize("steps", [None, Steps(False, False, False, False)])
def test_read_says_that_there_is_no_ink(
    tmp_path: Path, ground: tuple[int, ...], steps: Steps | None
) -> None:
    drawn(ground, None).save(tmp_path / "blank.png")
    drawn(ground, (128, 128, 128, 255)).convert("L").save(tmp_path / "1.png")
    files = read([tmp_path / "blank.png", tmp_path / "1.png"], GREY, DIGIT, steps)
    assert files.has_ink.tolist() == [False, True]


def test_read_takes_plain_colours_where_images_are_no_drawings(tmp_path: Path) -> None:
    for name, ground in (("white", WHITE), ("red", (255, 0, 0, 255)), ("clear", CLEAR)):
        drawn(ground, None).save(tmp_path / f"{name}.png")
    paths = [tmp_path / f"{name}.png" for name in ("white", "red", "clear")]
    assert read(paths, (8, 8, 3)).has_ink.tolist() == [True, True, False]


@pytest.mark.slow
def test_read_enormous_transparent_image_in_bounded_memory(tmp_path: Path) -> None:
    # 389 kB in the file, 400 MB of pixels; 2 GB were needed for copies of them.
    image = Image.new("RGBA", (9_999, 9_999))
    image.paste((255, 255, 255, 255), (4_000, 1_000, 5_000, 9_000))
    image.save(tmp_path / "1.png", compress_level=1)
    del image
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tuner.images import image_files as images\n"
        "from tuner.drawings import Form\n"
        "form = Form(True, 6.0, 1.5, False)\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "files = images.read([Path(sys.argv[1])], (8, 8), form)\n"
        "assert files.has_ink.all() and files.images.max() > 150\n"
        "print((peak() - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "1.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 700
