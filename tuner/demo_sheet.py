"""A sheet of paper to draw on, for Gradio's pages.

Gradio's own sketchpad wants its brush chosen before the first line, and covers the paper with
tools for layers and zoom, on a phone most of all.
"""

import base64
import io

import gradio as gr
from PIL import Image

from tuner.images import FAULTS

SIDE = 400
"""Of the sheet, in pixels, however large it is shown."""

PEN = 28
"""Width of the pen, in pixels of the sheet: 7 % of its side, as lines of digits have."""

_PREFIX = "data:image/png;base64,"

# The paper is white in the dark as well.
_HTML = f"""
<canvas width="{SIDE}" height="{SIDE}" role="img" aria-label="Paper to draw on"></canvas>
<button type="button">Clear</button>
"""

_CSS = """
canvas {
    display: block; width: 100%; max-width: 440px; aspect-ratio: 1; margin: 0 auto;
    background: white; border: 1px solid var(--border-color-primary);
    border-radius: var(--radius-lg); cursor: crosshair; touch-action: none;
}
button {
    display: block; margin: var(--spacing-lg) auto 0; padding: var(--button-medium-padding);
    background: var(--button-secondary-background-fill); border-radius: var(--radius-md);
    color: var(--button-secondary-text-color); font-size: var(--text-md); cursor: pointer;
}
button:hover { background: var(--button-secondary-background-fill-hover); }
"""

_JS = f"""
const sheet = element.querySelector('canvas');
const pen = sheet.getContext('2d');
pen.lineWidth = {PEN};
pen.lineCap = pen.lineJoin = 'round';
let last = null;

function place(event) {{
    const box = sheet.getBoundingClientRect();
    return [
        (event.clientX - box.left) * sheet.width / box.width,
        (event.clientY - box.top) * sheet.height / box.height,
    ];
}}
function drawTo(next) {{
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(...next);
    pen.stroke();
    last = next;
}}
function tell(value) {{
    props.value = value;
    trigger('input');
}}
sheet.addEventListener('pointerdown', (event) => {{
    // A line goes on where the pen leaves the sheet and comes back.
    sheet.setPointerCapture(event.pointerId);
    last = place(event);
    drawTo(last);
}});
sheet.addEventListener('pointermove', (event) => {{
    if (last) drawTo(place(event));
}});
for (const end of ['pointerup', 'pointercancel']) {{
    sheet.addEventListener(end, () => {{
        if (last) tell(sheet.toDataURL('image/png'));
        last = null;
    }});
}}
element.querySelector('button').addEventListener('click', () => {{
    pen.clearRect(0, 0, sheet.width, sheet.height);
    tell(null);
}});
"""


def sheet(elem_id: str) -> gr.HTML:
    """Return a sheet of paper, whose event `input` tells that a line is done.

    Args:
        elem_id: Its name on the page.
    """
    return gr.HTML(
        html_template=_HTML, css_template=_CSS, js_on_load=_JS, elem_id=elem_id, padding=False
    )


def drawing_on(value: str | None) -> Image.Image | None:
    """Return what is drawn on a sheet, black on nothing; None if it is empty.

    Args:
        value: Of the sheet, as the page has sent it.

    Raises:
        ValueError: If it is no drawing from a sheet.
    """
    if not value:
        return None
    try:
        png = base64.b64decode(value.removeprefix(_PREFIX), validate=True)
        with Image.open(io.BytesIO(png), formats=["PNG"]) as drawing:
            if drawing.size != (SIDE, SIDE):
                raise ValueError(f"it has {drawing.size[0]} x {drawing.size[1]} pixels")
            drawing.load()
            return drawing
    except FAULTS as error:
        raise ValueError(f"This is no drawing from the sheet: {error}.") from error
