"""The demonstration page, as a person sees it: a real server and a real Chromium."""

import base64
import http.client
import io
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import psutil
import pytest
from conftest import command
from PIL import Image, ImageDraw
from test_config import composed
from test_images import write_claiming_png

from tuner import demo, references
from tuner.config import load_demo
from tuner.errors import ConfigError, UserError

WELL_TRAINED = (
    "executor=serial",
    "search=grid",
    "space.epochs=25",
    "space.layers=2",
    "space.units=128",
    "space.dropout=0.2",
    "space.learning_rate=0.002",
    "space.batch_size=32",
    "space.augment.shift=0.1",
    "space.augment.rotation=10",
    "space.augment.stroke=0.3",
)
"""One network that tells drawings of digits apart, though its images have 8 x 8 pixels."""

ZERO = [
    (0.5 + 0.2 * math.sin(i * math.pi / 10), 0.5 - 0.32 * math.cos(i * math.pi / 10))
    for i in range(21)
]
ONE = [(0.35, 0.35), (0.52, 0.2), (0.52, 0.8)]
SEVEN = [(0.3, 0.25), (0.7, 0.25), (0.45, 0.8)]

MAX_UPLOAD = 2**20
COMMAND = "commands/demo"


# What is wrong before there is a page


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("port=70000", "`port` must lie between 0 and 65535, but got 70000."),
        ("max_upload_mb=0", "`max_upload_mb` must be at least 1, but got 0."),
        ("+modle=x", "Did you mean `model`?"),
    ],
)
def test_load_demo_says_what_is_wrong(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_demo(composed(override, name=COMMAND))
    assert message in str(caught.value)


def test_demo_at_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"`port={port}` must be free, but another"):
            demo.main(composed(f"port={port}", name=COMMAND))


def test_demo_at_an_address_of_another_machine() -> None:
    # Of a block that is kept for documentation (RFC 5737).
    with pytest.raises(ConfigError, match=r"`host=192.0.2.1` .* must be an address of this"):
        demo.main(composed("host=192.0.2.1", name=COMMAND))


def test_demo_without_gradio_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"needs Gradio, .*pip install 'glassy\[demo\]'"):
        demo.main(composed(name=COMMAND))


def test_only_registered_is_the_one_there_is(client: mlflow.MlflowClient) -> None:
    with pytest.raises(UserError, match="No model is registered in sqlite"):
        references.only_registered(client)
    client.create_registered_model("digits-classifier")
    assert references.only_registered(client) == "digits-classifier"
    client.create_registered_model("cats-classifier")
    with pytest.raises(UserError, match="must be one of cats-classifier, digits-classifier"):
        references.only_registered(client)


# The page


class Served:
    """The page of a champion that was searched for the purpose."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.temporary = temporary
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuner.demo", "port=0", "max_upload_mb=1"],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"version 1 is waiting for drawings at (http://\S+) ", line)
        assert found, (line, self.process.communicate(timeout=60))
        self.url = found[1]

    def end(self) -> tuple[int, str]:
        """Press Ctrl-C, and return the exit status and what was said on standard error."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    done = command(folder, "search", *WELL_TRAINED)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def served(champion: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    page = Served(champion, tmp_path_factory.mktemp("sent"))
    yield page
    page.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """One look at the page, that notes what is asked of whom and what goes wrong."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.page = browser.new_page(**{"viewport": {"width": 1100, "height": 800}, **options})
        self.hosts: set[str | None] = set()
        self.faults: list[str] = []
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.faults.append(said.text) if said.type == "error" else None,
        )
        self.page.goto(url)
        self.page.locator("#sheet canvas").wait_for()

    def draw(self, *lines: list[tuple[float, float]]) -> None:
        """Draw lines with the mouse, of points whose coordinates are shares of the sheet."""
        box = self.page.locator("#sheet canvas").bounding_box()
        for line in lines:
            for i, (right, down) in enumerate(line):
                x, y = box["x"] + right * box["width"], box["y"] + down * box["height"]
                self.page.mouse.move(x, y, steps=10)
                if i == 0:
                    self.page.mouse.down()
            self.page.mouse.up()

    def drop(self, path: Path) -> None:
        """Drop a file where files are dropped."""
        transfer = self.page.evaluate_handle(
            """([name, data]) => {
                const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name, {type: 'image/png'}));
                return transfer;
            }""",
            [path.name, base64.b64encode(path.read_bytes()).decode()],
        )
        zone = self.page.locator("#file button[aria-dropeffect]")
        zone.wait_for()
        zone.dispatch_event("drop", {"dataTransfer": transfer})

    def expect(self, name: str) -> None:
        """Wait until the top class has this name."""
        playwright = pytest.importorskip("playwright.sync_api")
        top = self.page.locator("#classes").get_by_test_id("label-output-value")
        playwright.expect(top).to_have_text(name, timeout=30_000)

    def shown(self) -> Image.Image:
        """Return the picture of what the network was shown."""
        address = self.page.locator("#shown img").get_attribute("src")
        data = self.page.request.get(address).body()
        return Image.open(io.BytesIO(data))

    def _note(self, request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob"):
            self.hosts.add(address.hostname)


@pytest.fixture
def visit(browser: Any, served: Served) -> Iterator[Visit]:
    made = Visit(browser, served.url)
    yield made
    assert made.hosts == {"127.0.0.1"}
    assert made.faults == []
    made.page.close()


@pytest.mark.slow
def test_page_tells_what_is_drawn_with_the_mouse(visit: Visit) -> None:
    for name, line in (("0", ZERO), ("7", SEVEN), ("1", ONE)):
        visit.draw(line)
        visit.expect(name)
        visit.page.get_by_role("button", name="Clear").click()
        visit.page.locator("#classes [aria-label='Empty value']").wait_for()
    visit.draw(ZERO)
    visit.expect("0")
    # As the network was shown it: 8 x 8 pixels, light on dark, enlarged.
    shown = visit.shown().convert("L")
    assert shown.size == (400, 400)
    assert len({shown.getpixel((x, 225)) for x in range(50, 100)}) == 1
    assert shown.getpixel((0, 0)) < 64
    assert shown.getextrema()[1] > 200


@pytest.mark.slow
def test_page_says_which_model_it_is(visit: Visit) -> None:
    assert visit.page.title() == "digits-classifier version 1 | Glassy"
    visit.page.get_by_role("heading", name="digits-classifier version 1").wait_for()
    said = visit.page.locator("body").inner_text()
    assert re.search(r"champion · trained on digits \(\w{8}\) · test accuracy 9\d\.\d\d%", said)
    assert "It tells 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 apart." in said


@pytest.mark.slow
def test_page_tells_what_is_in_a_dropped_file(visit: Visit, tmp_path: Path) -> None:
    drawing = Image.new("RGB", (700, 500), "#e8e4da")
    ImageDraw.Draw(drawing).ellipse((250, 80, 430, 420), outline="#204080", width=24)
    drawing.save(tmp_path / "zero.png")
    visit.page.get_by_role("tab", name="Open a file").click()
    visit.drop(tmp_path / "zero.png")
    visit.expect("0")
    visit.page.locator("#preview img").wait_for()


@pytest.mark.slow
def test_page_says_what_is_wrong_with_a_file(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("I am no image.")
    write_claiming_png(tmp_path / "vast.png", 6000, 5000)
    visit.page.get_by_role("tab", name="Open a file").click()
    for name, message in (
        ("text.png", "text.png must be an image, but is of no format that is known."),
        ("vast.png", "vast.png must have at most 25,000,000 pixels, but claims more."),
    ):
        visit.drop(tmp_path / name)
        visit.page.get_by_text(message, exact=True).wait_for()
        visit.page.locator("#file").get_by_role("button", name="Clear").click()


@pytest.mark.slow
def test_paper_is_white_in_the_dark(browser: Any, served: Served) -> None:
    visit = Visit(browser, served.url, color_scheme="dark")
    color = "(element) => getComputedStyle(element).backgroundColor"
    assert visit.page.locator("#sheet canvas").evaluate(color) == "rgb(255, 255, 255)"
    red = int(re.findall(r"\d+", visit.page.locator("body").evaluate(color))[0])
    assert red < 64
    visit.draw(SEVEN)
    visit.expect("7")


@pytest.mark.slow
def test_page_fits_a_phone(browser: Any, served: Served) -> None:
    visit = Visit(browser, served.url, viewport={"width": 390, "height": 844}, has_touch=True)
    visit.draw(SEVEN)
    visit.expect("7")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
    assert visit.page.locator("#sheet canvas").bounding_box()["width"] > 250


# The server


@pytest.mark.slow
def test_server_listens_on_this_machine_alone(served: Served) -> None:
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(served.process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


@pytest.mark.slow
@pytest.mark.parametrize("says_its_size", [True, False])
def test_server_refuses_what_is_too_large(served: Served, says_its_size: bool) -> None:
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=60)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    if says_its_size:
        # And is refused before any of it has come.
        connection.putheader("Content-Length", str(2 * MAX_UPLOAD))
        connection.endheaders()
    else:
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        body = head + bytes(MAX_UPLOAD + 2**17)
        connection.send(b"%x\r\n%s\r\n" % (len(body), body))
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"1,114,112 bytes at most" in answer.read()
    connection.close()


@pytest.mark.slow
def test_ctrl_c_ends_it_and_leaves_nothing(
    champion: Path, browser: Any, tmp_path: Path
) -> None:
    served = Served(champion, tmp_path)
    visit = Visit(browser, served.url)
    visit.draw(ONE)
    visit.expect("1")
    status, said = served.end()
    assert status == 130
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    visit.page.close()
