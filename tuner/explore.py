"""`python -m tuner.explore`: look at a data set before searching on it."""

from pathlib import Path

from omegaconf import DictConfig
from rich.table import Table

from tuner.cli import application
from tuner.config.compose import load_explore
from tuner.config.schema import ExploreConfig
from tuner.escapes import visible
from tuner.runtime import terminal


def main(composed: DictConfig) -> None:
    """Print a summary of a data set, and draw its overview."""
    config = load_explore(composed)
    from tuner import datasets
    from tuner.datasets import exploration
    from tuner.figures import draw_overview

    data = datasets.load(config.data, config.seed)
    if not config.data._target_.startswith("tuner.datasets."):
        datasets.check_repeatable(data, datasets.load(config.data, config.seed))
    found = exploration.explore(data)
    table = Table("class", *exploration.SPLITS, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, *counts in exploration.table(data, found):
        table.add_row(visible(name), *counts)
    console = terminal.console()
    console.print(table)
    console.print(f"\n{found.said_of_duplicates}\n{found.said_of_pixels}")
    picture = Path(config.picture)
    draw_overview(exploration.overview(data, found), picture)
    console.print(f"Mean and first images of each class: {visible(str(picture))}")


if __name__ == "__main__":
    application.run(main, "explore", ExploreConfig)
