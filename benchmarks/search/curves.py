"""`make bench-search-curves`: epochs until a search recommends what is nearly the best.

    make bench-search-curves
    make bench-search-curves ARGS="--tables mlp_digits --rows random tpe --seeds 5"

On the tables of learning curves that `make_tables.py` has made, with 4 simulated workers. A
search sees one of a table's trainings of each point; the others judge what it recommends.
"""

import argparse
import datetime
import importlib.metadata
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks import machine
from benchmarks.search import pruning_peers
from benchmarks.search.run import write
from benchmarks.search.table import FOLDER, Table, load
from benchmarks.search.trajectory import Step
from tuner.runtime import surroundings
from tuner.simulation import simulate

NUM_SEEDS = 30
WORKERS = 4
NEAR = 0.05
"""The regret that counts as nearly the best."""
AFTER = (54, 108, 270, 540, 1080)
"""Numbers of epochs after which the regret is shown: of 2, 4, 10, 20 and 40 whole trainings."""
MAX_TRIALS = 120
MAX_EPOCHS = 27
PACKAGES = ("glassy-tuner", "optuna", "keras-tuner", "numpy")

Search = Callable[[Table, int], list[Step]]
"""Searches a table with a seed, and returns what it recommends after each trial's end."""


def ours(*overrides: str) -> Search:
    """Return one of Glassy's searches, given what the command line takes."""

    def search(table: Table, seed: int) -> list[Step]:
        found = simulate(
            overrides,
            table.space,
            table.evaluate(seed),
            max_epochs=MAX_EPOCHS,
            seed=seed,
            workers=WORKERS,
        )
        values = dict(zip(found.trials["trial"], found.trials["values"], strict=True))
        epochs: dict[int, int] = {}
        scores: dict[int, float] = {}
        steps = []
        for end in found.ends.itertuples():
            place = table.place(values[end.trial])
            # A trial that is resumed counts by its last score.
            epochs[place], scores[place] = end.epochs, end.score
            steps.append(Step(sum(epochs.values()), max(scores, key=scores.__getitem__)))
        return steps

    return search


def theirs(name: str) -> Search:
    """Return one of the searches of others."""

    def search(table: Table, seed: int) -> list[Step]:
        return pruning_peers.PEERS[name](table, seed, MAX_TRIALS, WORKERS)

    return search


_TRIALS = f"search.max_trials={MAX_TRIALS}"

ROWS: Mapping[str, Search] = {
    "random": ours("search=random", _TRIALS),
    "tpe": ours("search=tpe", _TRIALS),
    # Of 288 points: as many as the epochs of the others would allow.
    "asha": ours("search=asha", "search.max_trials=288"),
    "hyperband": ours("search=hyperband", "search.iterations=8"),
    **{name: theirs(name) for name in pruning_peers.PEERS},
}
"""All that are compared."""


@dataclass(frozen=True)
class Cell:
    """How near a search has come to the best of a table, by the epochs that it has spent.

    Attributes:
        regrets: Median over the seeds of the true regret of what it recommends, after 1, 2, …
            epochs; 1 before the first trial has ended.
    """

    regrets: npt.NDArray[np.float64]

    @property
    def until_near(self) -> float:
        """Epochs until the regret is at most `NEAR`; infinite if it never is."""
        near = np.flatnonzero(self.regrets <= NEAR)
        return float(near[0] + 1) if near.size else math.inf

    def after(self, epochs: int) -> float:
        """Return the regret after some epochs."""
        return float(self.regrets[min(epochs, len(self.regrets)) - 1])


def measure(search: Search, table: Table, num_seeds: int) -> Cell:
    """Run a search on a table with every seed.

    Args:
        search: The search.
        table: The table.
        num_seeds: Number of seeds, from 0.
    """
    num_epochs = MAX_TRIALS * MAX_EPOCHS
    regrets = np.ones((num_seeds, num_epochs))
    for seed in range(num_seeds):
        judged = table.regrets(seed)
        for step in search(table, seed):
            regrets[seed, step.epochs - 1 :] = judged[step.recommended]
    return Cell(np.median(regrets, axis=0))


def main() -> None:
    """Measure, print the tables, and write them if they are complete."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = sorted(path.stem for path in FOLDER.glob("*.npz"))
    parser.add_argument("--tables", nargs="+", choices=known, default=known)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS)
    arguments = parser.parse_args()
    surroundings.prepare()
    tables = [load(name) for name in arguments.tables]
    cells = {}
    for row in arguments.rows:
        for table in tables:
            cells[row, table.name] = cell = measure(ROWS[row], table, arguments.seeds)
            print(f"{row}  {table.name}  {cell.until_near:g}", file=sys.stderr, flush=True)
    text = "\n".join(section(table, arguments.rows, cells, arguments.seeds) for table in tables)
    print(text)
    is_whole = arguments.tables == known and list(arguments.rows) == list(ROWS)
    if is_whole and arguments.seeds == NUM_SEEDS:
        write("The tables with curves", text)


def section(
    table: Table, rows: Sequence[str], cells: Mapping[tuple[str, str], Cell], num_seeds: int
) -> str:
    """Return what was measured on one table, with what a reader must know, in Markdown."""
    lines = [
        ["search", f"epochs until {NEAR}", *(f"after {n:,}" for n in AFTER)],
        ["---", *["---:"] * (1 + len(AFTER))],
    ]
    for row in rows:
        cell = cells[row, table.name]
        until = f"{cell.until_near:,.0f}" if math.isfinite(cell.until_near) else "never"
        after = [f"{cell.after(epochs):.3f}" for epochs in AFTER]
        lines.append([row if row in pruning_peers.PEERS else f"`{row}`", until, *after])
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    num_points, num_trained, _ = table.right.shape
    return (
        f"`{table.name}`: {num_points} points, trained {num_trained} times for {MAX_EPOCHS} "
        f"epochs ({table.facts}). {WORKERS} workers, {num_seeds} seeds; "
        f"{datetime.date.today()}, {versions}, {machine.cpu()}.\n\n"
        + "\n".join(f"| {' | '.join(line)} |" for line in lines)
        + "\n"
    )


if __name__ == "__main__":
    main()
