"""The page to draw on or to open an image on, which shows a model's prediction.

Only the content of the request is classified. No request names a file or an address.
"""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from PIL import Image, UnidentifiedImageError

from tuner import drawings, names
from tuner.classifier.safe_loading import Classifier
from tuner.drawings import Pixels
from tuner.errors import DataError
from tuner.images import image_files
from tuner.server import pages
from tuner.server.work import Busy, Work
from tuner.trial import Json

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
"""Formats that are read, by their first bytes. Pillow knows more, some by other programs."""

MAX_PIXELS = 25_000_000
"""Number of pixels above which a picture is refused before it is decoded."""

MAX_SIDE = 2000
"""Longer side in pixels that larger pictures are reduced to, which bounds time and memory."""

PREVIEW = 440
"""Largest longer side of an opened picture on the page, in pixels."""

MAX_CLASSES = 5
"""Number of classes that are listed, the most probable first."""

MAX_NAMED = 20
"""Largest number of classes for which all are named."""

_ASSETS = {"draw.css": pages.CSS, "draw.js": pages.JS, "icon.svg": pages.SVG}


@dataclass(frozen=True)
class Seen:
    """The result for a picture.

    Attributes:
        preview: The picture as opened, RGB `(height, width, 3)`.
        prepared: The network's input, uint8 in the shape of the model's images.
        probabilities: float32 `(classes,)`; None for a picture of one colour.
    """

    preview: Pixels
    prepared: Pixels
    probabilities: npt.NDArray[np.float32] | None


def application(classifier: Classifier, work: Work, max_bytes: int) -> FastAPI:
    """Return the page of a model.

    Args:
        classifier: The model.
        work: Threads in which pictures are decoded and classified.
        max_bytes: Largest size of a picture that the page sends.
    """
    html = pages.filled("draw.html", {**_facts(classifier), "max_bytes": max_bytes})
    page = pages.application(
        html, {name: (pages.static(name), kind) for name, kind in _ASSETS.items()}
    )

    @page.post("/classify")
    async def classify(request: Request) -> JSONResponse:
        # A form, which the page of any site can send, has another type.
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not kind.startswith("image/") and kind != "application/octet-stream":
            return pages.error(
                415, "Send an image by itself, with its type, such as Content-Type: image/png."
            )
        content = await request.body()
        try:
            seen = await work.run(look_at, classifier, content)
        except DataError as error:
            return pages.error(422, str(error))
        except Busy:
            return pages.error(503, "The server is busy: retry in a moment.")
        return JSONResponse(_answer(classifier, seen))

    return page


def look_at(classifier: Classifier, content: bytes) -> Seen:
    """Decode a picture, prepare it, and classify it unless it is of one colour.

    Args:
        classifier: The model.
        content: Content of an image file.

    Raises:
        DataError: If it is not a usable image.
    """
    flat = _opened(content)
    prepared = image_files.fitted(flat, classifier.image_shape, classifier.form)
    probabilities = None
    is_drawn = prepared.min() != prepared.max()
    if classifier.form is not None:
        is_drawn = drawings.has_ink(prepared)
    if is_drawn:
        [probabilities] = classifier.predict_proba(prepared[None])
    flat.thumbnail((PREVIEW, PREVIEW))
    return Seen(np.asarray(flat), prepared, probabilities)


def _opened(content: bytes) -> Image.Image:
    """Return a picture, RGB, with at most `MAX_SIDE` pixels per side.

    Raises:
        DataError: If it is not a usable image.
    """
    if not content:
        raise DataError("This must be an image, but is empty (0 bytes).")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"This must have at most {MAX_PIXELS:,} pixels, but has {width:,} x "
                    f"{height:,}: make it smaller first."
                )
            flat = image_files.flattened(image, "RGB", (PREVIEW, PREVIEW))
            flat.thumbnail((MAX_SIDE, MAX_SIDE))
            return flat
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"This must have at most {MAX_PIXELS:,} pixels, but claims many more."
        ) from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"This must be an image in one of the formats {', '.join(FORMATS)}, but its format "
            f"is unknown."
        ) from error
    except Exception as error:
        # Any exception: it depends on the damage, or on what somebody has put into the file.
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise DataError(f"This cannot be read as an image: {reason}.") from error


def _facts(classifier: Classifier) -> Mapping[str, Json]:
    """Return facts about the model: its name, its data, its accuracy."""
    version = classifier.source.version
    facts = [f"trained on {classifier.data} ({classifier.data_digest[:8]})"]
    if version is not None:
        facts[:0] = sorted(version.aliases)
        if accuracy := version.tags.get(names.VERSION_TEST_ACCURACY):
            facts.append(f"test accuracy {float(accuracy):.2%}")
    num_classes = len(classifier.classes)
    return {
        "title": classifier.source.title,
        "facts": facts,
        "classes": classifier.classes if num_classes <= MAX_NAMED else (),
        "num_listed": min(MAX_CLASSES, num_classes),
        "draws": classifier.form is not None,
    }


def _answer(classifier: Classifier, seen: Seen) -> dict[str, Json]:
    top: list[tuple[str, float]] = []
    if seen.probabilities is not None:
        order = np.argsort(-seen.probabilities, kind="stable")[:MAX_CLASSES]
        top = [(classifier.classes[i], float(seen.probabilities[i])) for i in order]
    native = image_files.tile(seen.prepared, max(seen.prepared.shape[:2]))
    return {
        "classes": [{"name": name, "probability": probability} for name, probability in top],
        "shown": _data_url(native),
        "preview": _data_url(seen.preview),
    }


def _data_url(pixels: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
