"""Visits to the pages of this machine, in a real Chromium."""

import base64
import io
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

Line = list[tuple[float, float]]


class Visit:
    """One visit to a page, which notes all requests and all errors.

    Args:
        browser: The browser.
        url: Address of the page.
        ready: Selects what a page shows once it is ready.
        options: Of the browser's window.
    """

    def __init__(
        self, browser: Any, url: str, ready: str = "#sheet canvas", **options: Any
    ) -> None:
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
        self.page.locator(ready).wait_for()

    def draw(self, *lines: Line) -> None:
        """Draw lines with the mouse, of points whose coordinates are shares of the sheet."""
        box = self.page.locator("#sheet canvas").bounding_box()
        for line in lines:
            for i, (right, down) in enumerate(line):
                x, y = box["x"] + right * box["width"], box["y"] + down * box["height"]
                self.page.mouse.move(x, y, steps=10)
                if i == 0:
                    self.page.mouse.down()
            self.page.mouse.up()

    def hand_over(self, path: Path, event: str) -> None:
        """Drop or paste a file."""
        self.page.evaluate(
            """([name, data, event]) => {
                const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name));
                const target = document.querySelector("#sheet canvas");
                const options = {bubbles: true, cancelable: true};
                target.dispatchEvent(event === "paste"
                    ? new ClipboardEvent("paste", {clipboardData: transfer, ...options})
                    : new DragEvent(event, {dataTransfer: transfer, ...options}));
            }""",
            [path.name, base64.b64encode(path.read_bytes()).decode(), event],
        )

    def expect(self, name: str) -> None:
        """Wait until the top class has this name, or this message takes its place."""
        playwright = pytest.importorskip("playwright.sync_api")
        playwright.expect(self.page.locator("#top")).to_have_text(name, timeout=30_000)

    def shown(self) -> Image.Image:
        """Return the picture of what the network was shown."""
        address = self.page.locator("#shown img").get_attribute("src")
        return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))

    def _note(self, request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme != "data":
            self.hosts.add(address.hostname)
