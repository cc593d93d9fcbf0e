"""A hundred digits drawn by a program, as people draw them in a paint program.

    python -m benchmarks.drawings <folder>

writes them as PNG files, ten of each digit, in folders named after the digit: the shapes of
three hands, lines of one pixel, of three pixels and of a brush, canvases of 28 to 600 pixels,
dark on light and light on dark, anywhere on the canvas and of any size. No model has been
trained on them.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.interpolate import splev, splprep

Points = list[tuple[float, float]]
Pixels = npt.NDArray[np.uint8]

NUM_OF_EACH = 10
SEED = 20

# Control points (x, y) of each digit's strokes, y downwards, in a box of 1; lines between the
# points of a stroke are curves, unless it has two points only.
HANDS: tuple[dict[int, list[Points]], ...] = (
    {
        0: [[(0.5, 0.0), (0.12, 0.2), (0.05, 0.6), (0.4, 1.0), (0.85, 0.75), (0.9, 0.3), (0.5, 0.0)]],
        1: [[(0.5, 0.0), (0.5, 1.0)]],
        2: [[(0.1, 0.25), (0.4, 0.0), (0.85, 0.2), (0.7, 0.55), (0.1, 1.0)], [(0.1, 1.0), (0.95, 1.0)]],
        3: [
            [(0.1, 0.12), (0.5, 0.0), (0.85, 0.22), (0.4, 0.47)],
            [(0.4, 0.47), (0.9, 0.68), (0.6, 0.98), (0.05, 0.88)],
        ],
        4: [[(0.6, 0.0), (0.05, 0.65)], [(0.05, 0.65), (0.95, 0.65)], [(0.68, 0.3), (0.68, 1.0)]],
        5: [
            [(0.85, 0.0), (0.2, 0.0)],
            [(0.2, 0.0), (0.15, 0.45)],
            [(0.15, 0.45), (0.6, 0.38), (0.9, 0.7), (0.5, 1.0), (0.05, 0.88)],
        ],
        6: [[(0.75, 0.0), (0.25, 0.35), (0.08, 0.75), (0.45, 1.0), (0.85, 0.75), (0.5, 0.52), (0.12, 0.72)]],
        7: [[(0.05, 0.0), (0.95, 0.0)], [(0.95, 0.0), (0.4, 1.0)]],
        8: [
            [(0.85, 0.15), (0.45, 0.0), (0.15, 0.22), (0.5, 0.48), (0.88, 0.78), (0.5, 1.0), (0.1, 0.78), (0.5, 0.48), (0.85, 0.15)]
        ],
        9: [[(0.85, 0.25), (0.45, 0.0), (0.1, 0.28), (0.45, 0.52), (0.85, 0.25)], [(0.85, 0.25), (0.78, 1.0)]],
    },
    {
        0: [[(0.55, 0.0), (0.2, 0.1), (0.1, 0.5), (0.25, 0.92), (0.6, 1.0), (0.82, 0.55), (0.75, 0.1), (0.5, 0.0)]],
        1: [[(0.25, 0.25), (0.55, 0.0)], [(0.55, 0.0), (0.55, 1.0)]],
        2: [
            [(0.15, 0.2), (0.45, 0.0), (0.8, 0.2), (0.6, 0.6), (0.2, 0.95), (0.15, 0.8), (0.45, 0.85), (0.95, 0.98)]
        ],
        3: [[(0.15, 0.0), (0.85, 0.0)], [(0.85, 0.0), (0.4, 0.4)], [(0.4, 0.4), (0.85, 0.6), (0.6, 1.0), (0.1, 0.92)]],
        4: [[(0.15, 0.0), (0.1, 0.5)], [(0.1, 0.5), (0.9, 0.5)], [(0.75, 0.05), (0.75, 1.0)]],
        5: [
            [(0.2, 0.02), (0.2, 0.42)],
            [(0.2, 0.42), (0.65, 0.4), (0.85, 0.72), (0.5, 1.0), (0.1, 0.9)],
            [(0.2, 0.02), (0.9, 0.0)],
        ],
        6: [[(0.6, 0.0), (0.2, 0.5), (0.2, 0.88), (0.5, 1.0), (0.8, 0.8), (0.6, 0.55), (0.22, 0.75)]],
        7: [[(0.05, 0.08), (0.5, 0.03), (0.92, 0.0)], [(0.92, 0.0), (0.6, 0.5), (0.45, 1.0)]],
        8: [
            [(0.5, 0.0), (0.2, 0.2), (0.5, 0.45), (0.8, 0.2), (0.5, 0.0)],
            [(0.5, 0.45), (0.12, 0.75), (0.5, 1.0), (0.88, 0.75), (0.5, 0.45)],
        ],
        9: [[(0.8, 0.15), (0.4, 0.0), (0.12, 0.25), (0.4, 0.5), (0.8, 0.15), (0.8, 0.6), (0.6, 1.0)]],
    },
    {
        0: [[(0.45, 0.02), (0.0, 0.4), (0.2, 0.95), (0.7, 0.95), (1.0, 0.5), (0.7, 0.05), (0.4, 0.02)]],
        1: [[(0.62, 0.0), (0.42, 1.0)]],
        2: [[(0.05, 0.3), (0.3, 0.02), (0.8, 0.1), (0.75, 0.5), (0.05, 0.98)], [(0.05, 0.98), (0.9, 0.93)]],
        3: [
            [(0.2, 0.08), (0.6, 0.0), (0.8, 0.2), (0.45, 0.45), (0.85, 0.65), (0.65, 0.98), (0.05, 0.95)]
        ],
        4: [[(0.3, 0.0), (0.05, 0.55), (0.5, 0.6), (0.9, 0.52)], [(0.75, 0.2), (0.6, 1.0)]],
        5: [[(0.9, 0.0), (0.3, 0.05), (0.2, 0.42), (0.7, 0.45), (0.8, 0.8), (0.4, 1.0), (0.05, 0.9)]],
        6: [[(0.85, 0.05), (0.3, 0.3), (0.1, 0.7), (0.35, 1.0), (0.75, 0.85), (0.65, 0.55), (0.15, 0.65)]],
        7: [[(0.1, 0.05), (0.9, 0.0)], [(0.9, 0.0), (0.35, 1.0)], [(0.3, 0.5), (0.85, 0.48)]],
        8: [
            [(0.75, 0.1), (0.35, 0.05), (0.25, 0.3), (0.7, 0.65), (0.65, 0.95), (0.2, 0.95), (0.2, 0.65), (0.7, 0.35), (0.75, 0.1)]
        ],
        9: [[(0.9, 0.2), (0.5, 0.0), (0.2, 0.25), (0.45, 0.5), (0.88, 0.25)], [(0.9, 0.2), (0.75, 0.65), (0.3, 1.0)]],
    },
)  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """One digit on its canvas.

    Attributes:
        digit: The digit, from 0 to 9.
        tool: `pixel`, `line` (three pixels) or `brush`.
        pixels: Greyscale, uint8 `(side, side)`.
    """

    digit: int
    tool: str
    pixels: Pixels


def draw_all(seed: int = SEED) -> list[Drawing]:
    """Draw `NUM_OF_EACH` of every digit; the same seed gives the same drawings."""
    drawn = np.random.default_rng(seed)
    return [_draw(digit, i, drawn) for digit in range(10) for i in range(NUM_OF_EACH)]


def _draw(digit: int, number: int, drawn: np.random.Generator) -> Drawing:
    tool = ("pixel", "line", "brush")[number % 3]
    side = round(math.exp(drawn.uniform(math.log(28), math.log(600))))
    size = side * drawn.uniform(0.45, 0.8)
    if tool == "line":
        # Three pixels of a small canvas are a brush.
        side = max(side, 48)
        size = max(size, 30.0)
    width = {"pixel": 1, "line": 3, "brush": max(round(size * drawn.uniform(0.1, 0.17)), 2)}[
        tool
    ]
    if tool == "brush":
        side, size = max(side, 40), max(size, 24.0)
    aspect, slant, angle = (
        drawn.uniform(0.55, 0.8),
        drawn.normal(0, 0.12),
        drawn.normal(0, 0.08),
    )
    room = max(side - size * 1.25, 2.0)
    left, top = (drawn.uniform(0.1, 0.9) * room + 0.1 * size for _ in range(2))
    canvas = Image.new("L", (side, side), 255)
    draw = ImageDraw.Draw(canvas)
    for stroke in HANDS[int(drawn.integers(len(HANDS)))][digit]:
        points = _curve(np.array(stroke) + drawn.normal(0, 0.015, (len(stroke), 2)))
        x, y = points[:, 0] - 0.5, points[:, 1] - 0.5
        x = (x - slant * y) * aspect
        turned = np.stack(
            [
                x * math.cos(angle) - y * math.sin(angle),
                x * math.sin(angle) + y * math.cos(angle),
            ]
        ).T
        path = turned * size + size / 2 + np.array([left, top])
        draw.line([tuple(point) for point in path], fill=0, width=width, joint="curve")
        if width > 2:
            for px, py in (path[0], path[-1]):
                reach = width / 2
                draw.ellipse((px - reach, py - reach, px + reach, py + reach), fill=0)
    pixels = np.asarray(canvas)
    return Drawing(digit, tool, 255 - pixels if drawn.random() < 0.5 else pixels)


def _curve(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(points) == 2:
        return points
    spline, _ = splprep(points.T, s=0, k=min(3, len(points) - 1))
    return np.stack(splev(np.linspace(0, 1, 60), spline), axis=1)


def main() -> None:
    """Write the drawings to the given folder."""
    root = Path(sys.argv[1])
    for number, drawing in enumerate(draw_all()):
        folder = root / str(drawing.digit)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing.pixels).save(folder / f"{number:03d}-{drawing.tool}.png")


if __name__ == "__main__":
    main()
