"""A calibration diagram: how well a model's confidence matches its accuracy."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import seaborn
from matplotlib.collections import Collection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tuner.evaluation.measures import NUM_BINS, Calibration
from tuner.figures.drawing import Template, new_figure, save

_EDGES = np.linspace(0, 1, NUM_BINS + 1)


@dataclass(frozen=True)
class _Diagram:
    """The diagram, made once, and what differs between models.

    Attributes:
        template: The figure.
        bars: The accuracy in each bin.
        points: A point per bin that is not empty.
        line: The share of the images in each bin.
    """

    template: Template
    bars: Sequence[Patch]
    points: Collection
    line: Line2D


def calibration_diagram(found: Calibration, path: Path) -> None:
    """Draw how often a model is right at each level of confidence, as a PNG.

    Args:
        found: Calibration of the model's predictions.
        path: File to write.
    """
    diagram, filled = _diagram(), found.counts > 0
    for bar, accuracy in zip(diagram.bars, np.nan_to_num(found.accuracies), strict=True):
        bar.set(height=accuracy)
    points = np.stack([found.confidences, found.accuracies], axis=1)
    diagram.points.set_offsets(points[filled])
    share = found.counts / found.counts.sum()
    diagram.line.set_ydata(np.append(share, share[-1]))
    title = f"expected calibration error {found.error:.4f}"
    save(diagram.template.draw(title), path)


@functools.cache
def _diagram() -> _Diagram:
    figure, axes = new_figure(4.8, 4.2, (0.6, 0.6, 0.2, 0.45))
    nothing = np.zeros(NUM_BINS)
    axes.plot((0, 1), (0, 1), color="0.6", linestyle="--", linewidth=1)
    seaborn.histplot(
        x=(_EDGES[:-1] + _EDGES[1:]) / 2, weights=nothing, bins=NUM_BINS, binrange=(0, 1),
        color="#9ecae1", edgecolor="white", alpha=1, label="accuracy", ax=axes,
    )  # fmt: skip
    seaborn.scatterplot(x=nothing, y=nothing, color="#08519c", s=20, linewidth=0, ax=axes)
    seaborn.lineplot(
        x=_EDGES, y=np.append(nothing, 0), drawstyle="steps-post", color="#e6550d",
        linewidth=1.2, label="share of the images", errorbar=None, ax=axes,
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("confidence: probability of the predicted class")
    axes.set_ylabel("share of right predictions")
    axes.legend(loc="upper left", framealpha=0.9, edgecolor="white")
    axes.spines[["top", "right"]].set_visible(False)
    (points,) = axes.collections
    _, line = axes.lines
    return _Diagram(Template(figure, axes), axes.patches, points, line)
