"""The page to draw on: its answers to requests, and its look in a real Chromium."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image, ImageDraw

from support.image_files import write_claiming_png
from support.pages import LOCAL, Served, served
from support.visits import Line, Visit
from tuner.classifier.lookup import FoundModel
from tuner.classifier.safe_loading import Classifier
from tuner.drawings import Form, Pixels
from tuner.server import draw
from tuner.server.guard import Guard, Limits
from tuner.server.work import Work

FORM = Form(is_light=True, longer_side=20, stroke_width=2.5, is_centred_by_mass=False)
MAX_BYTES = 2**20

UPRIGHT: Line = [(0.5, 0.2), (0.5, 0.8)]
LEVEL: Line = [(0.2, 0.5), (0.8, 0.5)]


def by_shape(images: Pixels, training: bool) -> Any:
    """A model that distinguishes vertical from horizontal lines."""
    return np.array(
        [[0.9, 0.1] if _is_upright(image > 127) else [0.2, 0.8] for image in images]
    )


def _is_upright(ink: Any) -> bool:
    return bool(ink.any(axis=1).sum() > ink.any(axis=0).sum())


def classifier(*classes: str, form: Form | None = FORM, model: Any = by_shape) -> Classifier:
    source = FoundModel("models:/lines@champion", "nowhere", None)
    names = classes or ("upright", "level")
    return Classifier(source, names, (28, 28), form, "lines", "0123456789", model)


def guarded(shown: Classifier, work: Work) -> Guard:
    limits = Limits(MAX_BYTES, 4 * MAX_BYTES)
    return Guard(draw.application(shown, work, MAX_BYTES), LOCAL, limits)


@pytest.fixture(scope="module")
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.end(1)


@pytest.fixture(scope="module")
def page(work: Work) -> Iterator[Served]:
    with served(guarded(classifier(), work)) as shown:
        yield shown


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def line(size: tuple[int, int] = (200, 200), mode: str = "RGB") -> Image.Image:
    """A vertical line, black on white."""
    drawn = Image.new("RGB", size, "white")
    width, height = size
    place = (width * 0.45, height * 0.2, width * 0.55, height * 0.8)
    ImageDraw.Draw(drawn).rectangle(place, fill="black")
    return drawn.convert(mode)


def classify(page: Served, content: bytes, kind: str = "image/png") -> tuple[int, Any]:
    answer = page.ask("POST", "/classify", {"Content-Type": kind}, content)
    return answer.status, json.loads(answer.body)


# What it is sent


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        ("PNG", "RGB"),
        ("PNG", "L"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("PNG", "LA"),
        ("PNG", "RGBA"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("MPO", "RGB"),
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("WEBP", "RGB"),
        ("TIFF", "RGB"),
    ],
)
def test_classify_takes_every_format(page: Served, form: str, mode: str) -> None:
    # Whatever content type the request claims.
    status, answer = classify(page, encoded(line(mode=mode), form), "application/octet-stream")
    assert status == 200, answer
    assert answer["classes"] == [
        {"name": "upright", "probability": pytest.approx(0.9)},
        {"name": "level", "probability": pytest.approx(0.1)},
    ]


def test_classify_takes_the_first_of_several_frames(page: Served) -> None:
    level = line().rotate(90)
    content = encoded(line(), "GIF", save_all=True, append_images=[level, level])
    assert classify(page, content)[1]["classes"][0]["name"] == "upright"


def test_classify_turns_a_photograph_the_way_up_it_was_taken(page: Served) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(line((100, 300)), "JPEG", exif=exif)
    assert classify(page, content)[1]["classes"][0]["name"] == "level"


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGBA"])
def test_classify_reduces_what_is_large(page: Served, mode: str) -> None:
    status, answer = classify(page, encoded(line((2000, 5000), mode), compress_level=1))
    assert status == 200
    assert answer["classes"][0]["name"] == "upright"
    assert len(answer["preview"]) < 50_000


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (200, 200), "white"),
        Image.new("L", (28, 28), 0),
        Image.new("RGBA", (200, 200), (0, 0, 0, 0)),
        Image.new("RGB", (1, 1), "red"),
    ],
    ids=["white", "black", "transparent", "one_pixel"],
)
def test_classify_says_no_class_where_there_is_no_ink(page: Served, image: Image.Image) -> None:
    status, answer = classify(page, encoded(image))
    assert status == 200
    assert answer["classes"] == []


def _vast(folder: Path, width: int, height: int) -> bytes:
    return write_claiming_png(folder / f"{width}.png", width, height).read_bytes()


def test_classify_refuses_what_is_no_image(page: Served, tmp_path: Path) -> None:
    whole = encoded(line())
    (tmp_path / "secret.png").write_bytes(whole)
    path = str(tmp_path / "secret.png")
    for content in (
        b"",
        b"I am no image.",
        path.encode(),
        f"file://{path}".encode(),
        b"http://127.0.0.1:1/a.png",
        json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}).encode(),
        whole[:-40],
        whole[:20],
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"GIF89a" + bytes(20),
        b"BM" + bytes(60),
        b"II*\0" + bytes(60),
        b"\xff\xd8\xff\xe0" + bytes(60),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
        encoded(line(), "PPM"),
        encoded(line(), "ICO"),
        _vast(tmp_path, 5001, 5000),
        _vast(tmp_path, 100_000, 100_000),
        _vast(tmp_path, 2**31 - 1, 2**31 - 1),
    ):
        status, answer = classify(page, content)
        assert (status, list(answer)) == (422, ["error"]), content[:40]
        assert "Traceback" not in answer["error"]
        # It gives a reason, and nothing about this machine.
        assert str(tmp_path) not in answer["error"]


def test_classify_names_the_limit_of_pixels(page: Served, tmp_path: Path) -> None:
    _, answer = classify(page, _vast(tmp_path, 6000, 5000))
    assert "25,000,000 pixels" in answer["error"]
    assert "6,000 x 5,000" in answer["error"]
    for side in (10_000, 100_000):
        _, answer = classify(page, _vast(tmp_path, side, side))
        assert "25,000,000 pixels" in answer["error"]


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "text/plain; image/png",
    ],
)
def test_classify_refuses_what_any_site_could_send(page: Served, kind: str) -> None:
    assert classify(page, encoded(line()), kind)[0] == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/gradio_api/queue/join", 404),
        ("POST", "/gradio_api/upload", 404),
        ("GET", "/gradio_api/file=/etc/passwd", 404),
        ("GET", "/gradio_api/proxy=http://evil.example", 404),
        ("GET", "/gradio_api/heartbeat/a", 404),
        ("GET", "/file=/etc/passwd", 404),
        ("GET", "/../../../../etc/passwd", 404),
        ("GET", "/draw.css/../draw.html", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/static/draw.css", 404),
        ("GET", "//etc/passwd", 404),
        ("GET", "/" + quote("/etc/passwd", safe=""), 404),
        ("GET", "/draw.js%00", 404),
        ("GET", "/" + 20_000 * "a", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/classify", 405),
        ("GET", "/classify/", 404),
        ("PUT", "/classify", 405),
        ("DELETE", "/", 405),
        ("POST", "/", 405),
        ("TRACE", "/", 405),
        ("BREW", "/", 405),
    ],
)
def test_page_has_nothing_else(page: Served, method: str, path: str, status: int) -> None:
    answer = page.ask(method, path)
    assert answer.status in {status, 400}
    assert b"root:" not in answer.body


def test_classify_says_when_a_model_fails(work: Work) -> None:
    def fails(images: Pixels, training: bool) -> Any:
        return np.full((len(images), 2), np.nan)

    with served(guarded(classifier(model=fails), work)) as page:
        answer = page.ask("POST", "/classify", {"Content-Type": "image/png"}, encoded(line()))
        assert answer.status == 500
        assert b"Traceback" not in answer.body


def test_classify_says_when_there_is_too_much_to_do(work: Work) -> None:
    crowded = Work(threads=1, waiting=-1)
    with served(guarded(classifier(), crowded)) as page:
        assert classify(page, encoded(line()))[0] == 503
        assert page.ask().status == 200
    crowded.end(1)


# How it looks

slow = pytest.mark.slow


@pytest.fixture
def visit(browser: Any, page: Served) -> Iterator[Visit]:
    made = Visit(browser, page.url)
    yield made
    assert made.hosts == {"127.0.0.1"}
    assert made.faults == []
    made.page.close()


@slow
def test_page_tells_what_is_drawn_with_the_mouse(visit: Visit) -> None:
    visit.expect("No ink yet")
    visit.draw(UPRIGHT)
    visit.expect("upright")
    assert visit.page.locator("#classes").inner_text().split() == [
        "upright",
        "90.0%",
        "level",
        "10.0%",
    ]
    # As the network was shown it: light on dark.
    shown = visit.shown().convert("L")
    assert shown.size == (28, 28)
    assert shown.getextrema() == (0, 255)
    visit.page.get_by_role("button", name="Clear").click()
    visit.expect("No ink yet")
    assert visit.page.locator("#shown img").is_hidden()
    visit.draw(LEVEL)
    visit.expect("level")


@slow
def test_page_takes_lines_back(visit: Visit) -> None:
    undo = visit.page.get_by_role("button", name="Undo")
    assert undo.is_disabled()
    visit.draw(LEVEL, UPRIGHT, [(0.5, 0.1), (0.5, 0.9)])
    visit.expect("upright")
    undo.click()
    visit.page.keyboard.press("Control+z")
    visit.expect("level")
    visit.page.keyboard.press("Control+z")
    visit.expect("No ink yet")
    assert undo.is_disabled()


@slow
def test_page_is_drawn_on_with_a_finger(browser: Any, page: Served) -> None:
    phone = {"width": 390, "height": 844}
    visit = Visit(browser, page.url, viewport=phone, has_touch=True, is_mobile=True)
    box = visit.page.locator("#sheet canvas").bounding_box()
    x, top, bottom = box["x"] + box["width"] / 2, box["y"] + 60, box["y"] + 250
    touch = visit.page.context.new_cdp_session(visit.page)
    for kind, y in (
        ("touchStart", top),
        ("touchMove", (top + bottom) / 2),
        ("touchMove", bottom),
    ):
        points = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
        touch.send("Input.dispatchTouchEvent", points)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    visit.expect("upright")
    # The page has not moved under the finger, and is no wider than the phone.
    assert visit.page.evaluate("[scrollY, document.documentElement.scrollWidth]") == [0, 390]
    assert box["width"] > 300
    # The answer is visible without scrolling.
    answer = visit.page.locator("#top").bounding_box()
    assert answer["y"] + answer["height"] <= 844
    assert visit.faults == []
    visit.page.close()


@slow
@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_page_tells_what_is_in_a_file(visit: Visit, tmp_path: Path, way: str) -> None:
    path = tmp_path / "line.tif"
    line((300, 200)).save(path)
    before = visit.page.locator("#answer").bounding_box()
    visit.draw(LEVEL)
    visit.expect("level")
    if way == "choose":
        visit.page.get_by_role("button", name="Open an image…").set_input_files(path)
    else:
        visit.hand_over(path, way)
    visit.expect("upright")
    visit.page.get_by_role("img", name="The image that was opened").wait_for()
    # Nothing has moved.
    assert visit.page.locator("#answer").bounding_box() == before
    visit.page.get_by_role("button", name="Clear").click()
    visit.expect("No ink yet")
    visit.draw(LEVEL)
    visit.expect("level")


@slow
def test_page_says_what_is_wrong_with_a_file(visit: Visit, tmp_path: Path) -> None:
    name = "<b>text<b>.png"
    (tmp_path / "text.png").write_text("I am no image.")
    (tmp_path / name).write_bytes(b"no image either")
    (tmp_path / "large.png").write_bytes(bytes(MAX_BYTES + 1))
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    fault = visit.page.get_by_role("alert")
    for file, message in (
        ("text.png", "text.png cannot be used: This must be an image"),
        (name, f"{name} cannot be used: This must be an image"),
        ("large.png", "at most 1,048,576 bytes, but has 1,048,577"),
    ):
        visit.page.locator("#file").set_input_files(tmp_path / file)
        fault.get_by_text(message).wait_for()
        visit.expect("No ink yet")
    visit.page.locator("#file").set_input_files(tmp_path / "blank.png")
    visit.expect("No ink: the image has only one colour")
    assert fault.inner_text() == ""
    # Chromium's own message about a refusal.
    assert all("status of 422" in said for said in visit.faults)
    visit.faults.clear()


@slow
def test_page_is_used_with_the_keyboard(visit: Visit) -> None:
    visit.draw(UPRIGHT)
    visit.expect("upright")
    reached = []
    for _ in range(3):
        visit.page.keyboard.press("Tab")
        reached.append(visit.page.evaluate("document.activeElement.id"))
    assert reached == ["undo", "clear", "file"]
    with visit.page.expect_file_chooser():
        visit.page.keyboard.press("Space")
    visit.page.keyboard.press("Shift+Tab")
    visit.page.keyboard.press("Enter")
    visit.expect("No ink yet")


@slow
def test_page_shows_names_as_they_are(browser: Any, work: Work) -> None:
    names = ("<img src=x onerror=alert(1)>", '"><script>alert(1)</script>{{ 7 * 7 }}')
    shown = classifier(*names)
    with served(guarded(shown, work)) as page:
        visit = Visit(browser, page.url)
        visit.draw(UPRIGHT)
        visit.expect(names[0])
        said = visit.page.locator("body").inner_text()
        assert f"Classes: {names[0]}, {names[1]}." in said
        assert visit.page.locator("#classes .name").all_inner_texts() == list(names)
        assert visit.page.locator("img").count() == 2
        assert visit.faults == []
        # The browser would not run a script that had got through, either.
        visit.page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')"
        )
        visit.page.wait_for_function("() => document.images.length === 3")
        visit.page.close()


@slow
def test_page_keeps_its_form_with_many_and_long_names(browser: Any, work: Work) -> None:
    def unsure(images: Pixels, training: bool) -> Any:
        return np.full((len(images), 100), 0.01)

    names = [
        f"{i} of a class whose name is very long and without_any_room" * 3 for i in range(100)
    ]
    shown = classifier(*names, form=None, model=unsure)
    with served(guarded(shown, work)) as page:
        visit = Visit(browser, page.url, viewport={"width": 390, "height": 844})
        before = visit.page.evaluate("document.documentElement.scrollHeight")
        visit.draw(UPRIGHT)
        visit.expect(names[0])
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
        assert visit.page.evaluate("document.documentElement.scrollHeight") == before
        assert "apart" not in visit.page.locator("body").inner_text()
        visit.page.close()


@slow
def test_sheet_is_white_in_the_dark(browser: Any, page: Served) -> None:
    visit = Visit(browser, page.url, color_scheme="dark")
    color = "(element) => getComputedStyle(element).backgroundColor"
    assert visit.page.locator("#sheet").evaluate(color) == "rgb(255, 255, 255)"
    assert visit.page.locator("body").evaluate(color) == "rgb(20, 23, 28)"
    visit.draw(UPRIGHT)
    visit.expect("upright")
    visit.page.close()
