"""What a page sends as a drawing is a drawing, or is refused."""

import base64
import io

import pytest
from PIL import Image

pytest.importorskip("gradio", reason="needs Gradio: pip install '.[demo]'")

from tuner.demo_sheet import SIDE, drawing_on


def sent(image: Image.Image, form: str = "PNG") -> str:
    file = io.BytesIO()
    image.save(file, form)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_drawing_on_an_empty_sheet() -> None:
    assert drawing_on(None) is None


def test_drawing_on_a_sheet() -> None:
    image = Image.new("RGBA", (SIDE, SIDE))
    image.paste((0, 0, 0, 255), (10, 10, 40, 20))
    drawing = drawing_on(sent(image))
    assert drawing is not None
    assert drawing.tobytes() == image.tobytes()


@pytest.mark.parametrize(
    "value",
    [
        "data:image/png;base64,?",
        "file:///etc/passwd",
        sent(Image.new("L", (SIDE, SIDE)), "BMP"),
        sent(Image.new("L", (SIDE, SIDE + 1))),
        sent(Image.new("L", (SIDE, SIDE)))[:-40],
    ],
    ids=["no_base64", "address", "other_format", "other_size", "cut_off"],
)
def test_drawing_on_refuses_what_no_sheet_sends(value: str) -> None:
    with pytest.raises(ValueError, match="This is no drawing from the sheet"):
        drawing_on(value)
