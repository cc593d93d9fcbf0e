"""The demonstration page: the only use of Gradio."""

import functools
import html
import warnings
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from fastapi import FastAPI
from PIL import Image
from starlette.types import ASGIApp

from tuner import demo_sheet, images, names
from tuner.drawings import Pixels
from tuner.errors import DataError
from tuner.loading import Classifier
from tuner.serving import Guard

MAX_PIXELS = 25_000_000
"""Pixels above which a picture is refused unread."""

SHOWN = 400
"""Longer side of the enlarged picture that the network was shown, in pixels."""

PREVIEW = 600
"""Longer side at most of a file's picture on the page, in pixels."""

MAX_CLASSES = 5
"""Classes that are listed, the most probable first."""

MAX_NAMED = 20
"""Classes up to which all are named."""

_CSS = """
.gradio-container { width: 100%; max-width: 1000px !important; margin: 0 auto; }
/* Room for the picture's title. */
#shown .image-frame, #preview .image-frame { padding: 2.5rem 0 0.5rem; height: 100%; }
#shown img { image-rendering: pixelated; }
"""


def application(classifier: Classifier, max_bytes: int) -> ASGIApp:
    """Return the page, as an application that a server can serve.

    Args:
        classifier: Whose page it is.
        max_bytes: Size of an upload above which it is refused.
    """
    # Makes Pillow refuse, for Gradio as well, what it would only warn of.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    application = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page(classifier),
        path="",
        theme=gr.themes.Default(
            font=[gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")],
            font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")],
        ),
        css=_CSS,
        max_file_size=max_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
    )
    # An upload comes with a few lines around it.
    return Guard(application, max_bytes + 2**16)


def page(classifier: Classifier) -> gr.Blocks:
    """Lay out the page.

    Args:
        classifier: Whose page it is.
    """
    draws = classifier.form is not None
    with gr.Blocks(
        title=f"{classifier.source.title} | Glassy", delete_cache=(60, 600)
    ) as blocks:
        gr.Markdown(_heading(classifier))
        with gr.Row():
            with gr.Column(), gr.Tabs(selected="draw" if draws else "file"):
                with gr.Tab("Draw", id="draw"):
                    sheet = demo_sheet.sheet("sheet")
                with gr.Tab("Open a file", id="file"):
                    file = gr.File(
                        file_types=["image"], show_label=False, height=140, elem_id="file"
                    )
                    preview = _picture("The file", height=330, elem_id="preview")
            with gr.Column():
                label = gr.Label(
                    label="What it is taken for",
                    num_top_classes=min(MAX_CLASSES, len(classifier.classes)),
                    elem_id="classes",
                )
                shown = _picture("What the network was shown", height=280, elem_id="shown")
        how: dict[str, Any] = {
            "trigger_mode": "always_last",
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        sheet.input(functools.partial(_of_drawing, classifier), sheet, [label, shown], **how)
        file.change(
            functools.partial(_of_file, classifier), file, [preview, label, shown], **how
        )
    return blocks


def _picture(label: str, height: int, elem_id: str) -> gr.Image:
    return gr.Image(
        label=label,
        interactive=False,
        format="png",
        buttons=[],
        height=height,
        elem_id=elem_id,
    )


def _heading(classifier: Classifier) -> str:
    """Say which model it is, of what data, and how good."""
    version = classifier.source.version
    facts = [f"trained on {classifier.data} ({classifier.data_digest[:8]})"]
    if version is not None:
        facts[:0] = sorted(version.aliases)
        if accuracy := version.tags.get(names.VERSION_TEST_ACCURACY):
            facts.append(f"test accuracy {float(accuracy):.2%}")
    lines = [f"# {classifier.source.title}", " · ".join(facts)]
    if len(classifier.classes) <= MAX_NAMED:
        lines.append(f"It tells {', '.join(classifier.classes)} apart.")
    return html.escape("\n\n".join(lines))


def _of_drawing(classifier: Classifier, value: str | None) -> tuple[Any, Any]:
    """Classify what is on the sheet, or say nothing while that is empty."""
    try:
        drawing = demo_sheet.drawing_on(value)
    except ValueError as error:
        _warn(str(error))
        return None, None
    if drawing is None:
        return None, None
    return _predicted(classifier, _prepared(classifier, drawing))


def _of_file(classifier: Classifier, name: str | None) -> tuple[Any, Any, Any]:
    """Show and classify a file that was sent, or say nothing when it was taken away."""
    if name is None:
        return None, None, None
    path = Path(name)
    try:
        preview = images.open_image(path, _preview)
        prepared = images.open_image(path, functools.partial(_prepared, classifier))
    except DataError as error:
        # Its folder is ours, and means nothing to anybody.
        _warn(str(error).replace(name, path.name))
        return None, None, None
    return preview, *_predicted(classifier, prepared)


def _warn(message: str) -> None:
    gr.Warning(html.escape(message), title="This cannot be used")


def _preview(image: Image.Image) -> Pixels:
    flat = images.flattened(image, "RGB")
    flat.thumbnail((PREVIEW, PREVIEW))
    return np.asarray(flat)


def _prepared(classifier: Classifier, image: Image.Image) -> Pixels:
    return images.fitted(image, classifier.image_shape, classifier.form)


def _predicted(classifier: Classifier, prepared: Pixels) -> tuple[dict[str, float], Pixels]:
    """Return the classes with their probabilities, and what the network was shown, enlarged."""
    [probabilities] = classifier.predict_proba(prepared[None])
    found = dict(zip(classifier.classes, map(float, probabilities), strict=True))
    return found, images.tile(prepared, SHOWN)
