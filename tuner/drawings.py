"""Drawings brought into the form of the images that a model was trained on.

A digit from a paint program is dark on light, of any size, anywhere on its canvas, and its line
is one pixel wide or thirty. A network that has only seen MNIST's digits (light on dark, 20 of
28 pixels high, centred by mass, with lines about two and a half pixels wide) can only guess at
it. How the training images look is measured, not assumed, and travels with the model.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Pixels = npt.NDArray[np.uint8]
Ink = npt.NDArray[np.bool_]

NO_INK = "no ink"
"""Shown in place of a class for a drawing without ink."""

MAX_MEASURED = 500
"""Number of training images that are measured."""

_DETAIL = 6
"""Working resolution of strokes: pixels per pixel of the result, along each side."""

_INK = 64
"""Lowest brightness of ink, in a drawing whose brightest pixel is 255."""

_MIN_CONTRAST = 16
"""Lowest contrast between ink and background; less is the noise of a scanner or of JPEG."""

# Shares that distinguish strokes on a plain background from other images.
_MIN_PLAIN_BORDER = 0.7
_MAX_INK = 0.5
_MAX_STROKE = 0.25


@dataclass(frozen=True)
class Form:
    """How strokes on a plain background look in a data set of greyscale images.

    Attributes:
        is_light: Whether strokes are light on a dark background.
        longer_side: Longer side of the box around the ink, in pixels.
        stroke_width: Width of the strokes, in pixels.
        is_centred_by_mass: Whether the ink's centre of mass is in the middle of the image;
            otherwise the middle of its box is.
    """

    is_light: bool
    longer_side: float
    stroke_width: float
    is_centred_by_mass: bool

    def to_dict(self) -> dict[str, float]:
        """Return the form as a model's metadata hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Form":
        """Return the form that `to_dict` was called on."""
        return cls(**given)


@dataclass(frozen=True)
class Steps:
    """The steps that `prepare` takes; keys `prepare.…` of `tuner.predict`.

    Attributes:
        invert: Turn dark strokes on light into light ones on dark, or the other way round.
        crop: Cut out the ink and scale it to the size that it has in the data set.
        stroke: Make strokes as wide as they are in the data set.
        center: Put the ink where it is in the data set.
    """

    invert: bool = True
    crop: bool = True
    stroke: bool = True
    center: bool = True

    @property
    def any(self) -> bool:
        """Whether any step is taken."""
        return self.invert or self.crop or self.stroke or self.center


def measure(images: Pixels) -> Form | None:
    """Learn the form of a data set's images.

    Args:
        images: Training images, uint8 `(n, height, width)` or `(n, height, width, channels)`;
            at most about `MAX_MEASURED` of them are measured.

    Returns:
        Their form; None if they are not greyscale, or not strokes on a plain background.
    """
    if images.shape[3:] == (3,):
        return None
    every = max(len(images) // MAX_MEASURED, 1)
    grey = images[::every].reshape(-1, *images.shape[1:3])
    border = np.concatenate([_border(image) for image in grey])
    is_light = bool(np.median(border) < 128)
    light, border = (grey, border) if is_light else (255 - grey, 255 - border)
    if np.mean(border < 64) < _MIN_PLAIN_BORDER:
        return None
    boxes, widths, off_mass, off_box = [], [], [], []
    middle = (np.array(light.shape[1:]) - 1) / 2
    for image in light:
        ink = image > 0
        if not ink.any() or np.mean(image >= 128) > _MAX_INK:
            continue
        top, bottom, left, right = _box(ink)
        boxes.append(max(bottom - top, right - left))
        widths.append(_grey_stroke_width(image))
        off_mass.append(np.abs(np.array(ndimage.center_of_mass(image)) - middle).max())
        off_box.append(
            np.abs(np.array([top + bottom - 1, left + right - 1]) / 2 - middle).max()
        )
    if len(boxes) < len(light) / 2:
        return None
    longer_side, width = float(np.median(boxes)), float(np.median(widths))
    if not 0 < width <= _MAX_STROKE * longer_side:
        return None
    by_mass = bool(np.median(off_mass) <= np.median(off_box))
    return Form(is_light, longer_side, round(width, 3), by_mass)


def prepare(
    drawing: Pixels, image_shape: tuple[int, ...], form: Form, steps: Steps | None = None
) -> Pixels:
    """Bring a drawing into the form of a data set.

    Args:
        drawing: Greyscale, uint8 `(any height, any width)`: strokes on a background that is
            uniform at the border.
        image_shape: `(height, width)` or `(height, width, 1)` of the data set.
        form: The data set's form, from `measure`.
        steps: The steps to take; all by default.

    Returns:
        uint8 `image_shape`. A drawing without ink becomes an image of plain background; one
        that already has the form is returned unchanged.
    """
    steps = steps or Steps()
    height, width = image_shape[:2]
    is_light = _is_light(drawing)
    light = _as_light(drawing, is_light, form, steps.invert)
    ink = light >= _INK
    if not ink.any():
        return _as_given(np.zeros((height, width), np.uint8), image_shape, form)
    if drawing.shape == (height, width) and _has_form(light, form):
        return (drawing if is_light == form.is_light else 255 - drawing).reshape(image_shape)
    if steps.crop:
        top, bottom, left, right = _box(ink)
        light = light[top:bottom, left:right]
        scale = form.longer_side / max(light.shape)
    else:
        scale = min(height / light.shape[0], width / light.shape[1])
    if steps.stroke:
        light, scale = _with_stroke(light, form.stroke_width, scale)
        if steps.crop:
            # Wider strokes have made the ink larger.
            top, bottom, left, right = _box(light >= 128)
            light = light[top:bottom, left:right]
            scale = form.longer_side / max(light.shape)
    large = _scaled(light, scale * _DETAIL)
    return _as_given(_placed(large, height, width, form, steps), image_shape, form)


def stroke_width(ink: Ink) -> float:
    """Return the mean width of strokes in pixels: their area over half of their outline.

    The outline's length follows from the number of pixel sides on it, by Cauchy's formula for
    lines of any direction.

    Args:
        ink: Shape `(height, width)`; 0 is returned for an image without ink.
    """
    padded = np.pad(ink, 1)
    sides = np.count_nonzero(padded[1:] != padded[:-1]) + np.count_nonzero(
        padded[:, 1:] != padded[:, :-1]
    )
    return 2 * float(np.count_nonzero(ink)) / (sides * np.pi / 4) if sides else 0.0


def has_ink(prepared: Pixels) -> bool:
    """Say whether a drawing that `prepare` has brought into a model's form has any ink.

    Args:
        prepared: Greyscale, uint8 `(height, width)` or `(height, width, 1)`. A blank or black
            canvas has become uniform.
    """
    return int(prepared.max()) - int(prepared.min()) >= _MIN_CONTRAST


def _is_light(drawing: Pixels) -> bool:
    """Say whether strokes are light on a darker background, by their contrast with it.

    Strokes are light on a dark background and dark on a light one, unless the opposite stands
    out more than twice as much: chalk on a blackboard that is photographed brightly.
    """
    ground = _ground(drawing)
    lighter, darker = int(drawing.max()) - ground, ground - int(drawing.min())
    if ground < 128:
        return not (darker >= _MIN_CONTRAST and darker > 2 * lighter)
    return lighter >= _MIN_CONTRAST and lighter > 2 * darker


def _as_light(drawing: Pixels, is_light: bool, form: Form, may_invert: bool) -> Pixels:
    """Return a drawing as light strokes on a background of 0; the brightest ink is 255."""
    if is_light != form.is_light and not may_invert:
        return drawing if form.is_light else 255 - drawing
    lifted = drawing.astype(np.float32) - _ground(drawing)
    if not is_light:
        lifted = -lifted
    most = lifted.max(initial=0)
    if most < _MIN_CONTRAST:
        return np.zeros(drawing.shape, np.uint8)
    stretched: Pixels = np.rint(np.clip(lifted, 0, None) * (255 / most)).astype(np.uint8)
    return stretched


def _ground(drawing: Pixels) -> float:
    return float(np.median(_border(drawing)))


def _has_form(light: Pixels, form: Form) -> bool:
    """Say whether a drawing looks like the data set's own images."""
    top, bottom, left, right = _box(light > 0)
    middle = (np.array(light.shape) - 1) / 2
    if form.is_centred_by_mass:
        centre = np.array(ndimage.center_of_mass(light))
    else:
        centre = np.array([top + bottom - 1, left + right - 1]) / 2
    width = _grey_stroke_width(light)
    return bool(
        abs(max(bottom - top, right - left) - form.longer_side) <= 0.1 * form.longer_side
        and np.abs(centre - middle).max() <= 1.25
        and 0.45 < width / form.stroke_width < 2.5
    )


def _with_stroke(light: Pixels, width: float, scale: float) -> tuple[Pixels, float]:
    """Make strokes wider or thinner, by the same amount on all sides.

    Args:
        light: Light strokes on a background of 0.
        width: Width that they shall have after scaling.
        scale: Factor by which they will be scaled.

    Returns:
        The strokes with room around them, enlarged where that shows them better, and the
        factor by which they are still to be scaled.
    """
    enlarged = max(scale * _DETAIL, 1)
    if enlarged > 1:
        light, scale = _scaled(light, enlarged), scale / enlarged
    ink = np.pad(light >= (128 if enlarged > 1 else _INK), math.ceil(width / scale))
    by = (width / scale - stroke_width(ink)) / 2
    if by >= 0:
        inside = by + 1 - ndimage.distance_transform_edt(~ink)
    else:
        distance = ndimage.distance_transform_edt(ink)
        # The middle lines remain, however thin the strokes become.
        limit = np.minimum(-by, ndimage.maximum_filter(distance, 5) - 1)
        inside = np.where(ink, distance - limit, 0)
    changed: Pixels = np.rint(255 * np.clip(inside, 0, 1)).astype(np.uint8)
    return changed, scale


def _placed(large: Pixels, height: int, width: int, form: Form, steps: Steps) -> Pixels:
    """Return an image of the data set's size with the strokes where they belong."""
    if steps.center and form.is_centred_by_mass:
        centre = np.array(ndimage.center_of_mass(large)) + 0.5
    elif steps.center or steps.crop:
        top, bottom, left, right = _box(large > 0)
        centre = np.array([top + bottom, left + right]) / 2
    else:
        centre = np.array(large.shape) / 2
    canvas = Image.fromarray(large)
    size = np.array([height, width]) * _DETAIL
    top, left = centre - size / 2
    box = (left, top, left + size[1], top + size[0])
    # Beyond the border of a picture Pillow fills in 0, which is the background here.
    region = canvas.transform(
        (int(size[1]), int(size[0])), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR
    )
    return np.asarray(region.resize((width, height), Image.Resampling.BOX))


def _as_given(light: Pixels, image_shape: tuple[int, ...], form: Form) -> Pixels:
    return (light if form.is_light else 255 - light).reshape(image_shape)


def _scaled(image: Pixels, scale: float) -> Pixels:
    height, width = (max(round(side * scale), 1) for side in image.shape)
    how = Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def _grey_stroke_width(light: Pixels) -> float:
    """Return the mean width of light strokes, to fractions of a pixel."""
    return stroke_width(_scaled(light, _DETAIL) >= 128) / _DETAIL


def _box(ink: Ink) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of the ink, bottom and right excluded."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _border(image: Pixels) -> Pixels:
    return np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
