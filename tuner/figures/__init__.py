"""Pictures of data, trials, promotions and predictions: the home of matplotlib and seaborn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.datasets.exploration import Overview


def draw_overview(overview: Overview, path: Path) -> None:
    """Draw the classes of a data set; see `tuner.figures.class_overview.draw`.

    It is defined here so that a process can let another one draw without importing matplotlib.
    """
    from tuner.figures import class_overview

    class_overview.draw(overview, path)
