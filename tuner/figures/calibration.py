"""A calibration diagram: how well a model's confidence matches its accuracy."""

from pathlib import Path

import numpy as np
import seaborn

from tuner.evaluation.measures import NUM_BINS, Calibration
from tuner.figures.drawing import new_figure, save


def calibration_diagram(found: Calibration, path: Path) -> None:
    """Draw how often a model is right at each level of confidence, as a PNG.

    Args:
        found: Calibration of the model's predictions.
        path: File to write.
    """
    figure, axes = new_figure(4.8, 4.2)
    edges = np.linspace(0, 1, NUM_BINS + 1)
    share = found.counts / found.counts.sum()
    axes.plot((0, 1), (0, 1), color="0.6", linestyle="--", linewidth=1)
    seaborn.histplot(
        x=(edges[:-1] + edges[1:]) / 2, weights=found.accuracies,
        bins=NUM_BINS, binrange=(0, 1),
        color="#9ecae1", edgecolor="white", alpha=1, label="accuracy", ax=axes,
    )  # fmt: skip
    filled = found.counts > 0
    seaborn.scatterplot(
        x=found.confidences[filled], y=found.accuracies[filled], color="#08519c", s=20,
        linewidth=0, ax=axes,
    )  # fmt: skip
    seaborn.lineplot(
        x=edges, y=np.append(share, share[-1]), drawstyle="steps-post", color="#e6550d",
        linewidth=1.2, label="share of the images", ax=axes,
    )  # fmt: skip
    axes.set_title(f"expected calibration error {found.error:.4f}")
    axes.set_xlabel("confidence: probability of the predicted class")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of right predictions")
    axes.legend(loc="upper left", framealpha=0.9, edgecolor="white")
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
