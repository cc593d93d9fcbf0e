"""The demonstration page, as a person sees it: a real server and a real Chromium."""

import contextlib
import http.client
import math
import os
import re
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

from support.commands import command
from support.configs import composed
from support.visits import Visit
from tuner import demo
from tuner.classifier import lookup
from tuner.config.compose import load_demo
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


# Mistakes that are found before there is a page


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


def test_only_champion_is_the_one_there_is(client: mlflow.MlflowClient) -> None:
    given = ["images=my drawings", "model=null"]

    def only() -> str:
        return lookup.only_champion(client, "tuner.predict", given)

    def refusal() -> str:
        with pytest.raises(UserError) as caught:
            only()
        return str(caught.value)

    assert "No model is registered in sqlite" in refusal()
    for name in ("digits-classifier", "cats-classifier", "empty"):
        client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version("digits-classifier", "model")
    client.create_model_version("cats-classifier", "model")
    client.set_registered_model_alias("digits-classifier", "challenger", "2")
    lines = refusal().splitlines()
    assert "has a champion" in lines[0]
    command = "-m tuner.predict 'images=my drawings' model=models:/"
    assert [line.partition(command)[2] for line in lines[1:]] == [
        "cats-classifier/1", "digits-classifier/2",
    ]  # fmt: skip

    client.set_registered_model_alias("digits-classifier", "champion", "1")
    assert only() == "models:/digits-classifier@champion"
    # An alias that promotions have moved is one, and an alias of somebody's own is not.
    client.set_registered_model_alias("cats-classifier", "mine", "1")
    assert only() == "models:/digits-classifier@champion"
    client.set_registered_model_alias("cats-classifier", "production", "1")
    client.set_registered_model_tag("cats-classifier", "tuner.history.production", "1")
    lines = refusal().splitlines()
    assert "which of 2 champions" in lines[0]
    assert [line.partition(command)[2] for line in lines[1:]] == [
        "cats-classifier@production", "digits-classifier@champion",
    ]  # fmt: skip


# The page


class Served:
    """The page of a champion from a search made for these tests."""

    def __init__(self, folder: Path, temporary: Path, *overrides: str) -> None:
        self.temporary = temporary
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuner.demo", "port=0", "max_upload_mb=1", *overrides],
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


@pytest.mark.slow
def test_page_tells_digits_apart(browser: Any, served: Served) -> None:
    visit = Visit(browser, served.url)
    assert visit.page.title() == "digits-classifier version 1 | Glassy"
    said = visit.page.locator("header").inner_text()
    assert said.startswith("digits-classifier version 1")
    assert re.search(r"champion · trained on digits \(\w{8}\) · test accuracy 9\d\.\d\d%", said)
    assert "Classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in said
    for name, line in (("0", ZERO), ("7", SEVEN), ("1", ONE)):
        visit.draw(line)
        visit.expect(name)
        visit.page.get_by_role("button", name="Clear").click()
        visit.expect("No ink yet")
    assert visit.hosts == {"127.0.0.1"}
    assert visit.faults == []
    visit.page.close()


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
def test_server_refuses_what_it_need_not_answer(served: Served) -> None:
    for path, headers, body, status in (
        ("/gradio_api/queue/join", {}, b"{}", 404),
        ("/classify", {"Host": "evil.example"}, b"", 421),
        ("/classify", {"Origin": "http://evil.example"}, b"", 403),
        ("/classify", {"Content-Type": "image/png"}, bytes(MAX_UPLOAD + 1), 413),
        ("/classify", {"Content-Type": "image/png"}, b"no image", 422),
    ):
        connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", path, body, headers)
            assert connection.getresponse().status == status, path


@pytest.mark.slow
def test_page_for_others_needs_the_address_that_was_printed(
    champion: Path, tmp_path: Path
) -> None:
    served = Served(champion, tmp_path, "host=0.0.0.0")
    address = urlsplit(served.url)
    for path, headers, status in (
        (address.path, {}, 200),
        (f"{address.path}draw.js", {}, 200),
        (address.path, {"Host": "localhost"}, 200),
        (address.path, {"Host": "evil.example"}, 421),
        ("/", {}, 403),
        ("/draw.js", {}, 403),
    ):
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            assert connection.getresponse().status == status, path
    assert served.end() == (130, "")


@pytest.mark.slow
def test_ctrl_c_ends_it_and_leaves_nothing(
    champion: Path, browser: Any, tmp_path: Path
) -> None:
    served = Served(champion, tmp_path)
    visit = Visit(browser, served.url)
    visit.draw(ONE)
    visit.expect("1")
    assert served.end() == (130, "")
    assert list(tmp_path.iterdir()) == []
    visit.page.get_by_role("button", name="Undo").click()
    visit.draw(ONE)
    visit.page.get_by_role("alert").get_by_text("does not answer").wait_for()
    visit.page.close()
