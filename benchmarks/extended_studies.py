"""Studies that are given more trials, against studies that have them at once, bit for bit.

    python -m benchmarks.extended_studies <folder>

Searches the digits with one worker: with 10 trials and then 20, and in another folder with 20
at once. Compares every trial's status, values, tags, metrics of every epoch and weights.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.rows import ROOT
from benchmarks.same_records import records
from tuner import names

COMMON = (
    "data=digits", "executor=processes", "executor.workers=1", "registry.name=null",
    "search.finalists=null",
    "space.epochs=[1,2,3]", "space.layers={min: 1, max: 2}",
)  # fmt: skip

RANGES = (
    "space.units={min: 8, max: 64}",
    "space.learning_rate={min: 1e-4, max: 1e-1, log: true}",
)

STUDIES: Mapping[str, tuple[str, ...]] = {
    "random": RANGES,
    "grid": ("space.units=[8,16]", "space.learning_rate=[1e-3,1e-2]"),
    "tpe": RANGES,
    "bayesian": RANGES,
}
"""What each oracle searches."""

WAYS: Mapping[str, tuple[int, ...]] = {"extended": (10, 20), "at_once": (20,)}
"""Folders, and the budgets that their studies are given one after another."""


def search(folder: Path, oracle: str, budget: int) -> None:
    """Run a study until it has so many trials."""
    given = [*COMMON, *STUDIES[oracle], f"search={oracle}", f"study={oracle}"]
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "tuner.search", *given, f"search.max_trials={budget}"],
        cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def main(folder: Path) -> int:
    """Run the studies that are missing, print a row for each, and return the differences."""
    total = 0
    print(f"{'search':10} {'trials':>6} {'metrics':>8} {'weights':>8} {'differences':>12}")
    for oracle in STUDIES:
        for way, budgets in WAYS.items():
            for budget in budgets:
                search(folder / way, oracle, budget)
        first, second = (_trials_of(oracle, records(folder / way)) for way in WAYS)
        differing = sum(
            first.get(trial, {}).get(kind) != second.get(trial, {}).get(kind)
            for trial in first.keys() | second.keys()
            for kind in ("status", "params", "tags", "metrics", "weights")
        )
        num_metrics = sum(len(v) for t in first.values() for v in t["metrics"].values())
        num_weights = sum(t["weights"] is not None for t in first.values())
        print(
            f"{oracle:10} {len(first):6} {num_metrics:8,} {num_weights:8} {differing:12}",
            flush=True,
        )
        total += differing
    return total


def _trials_of(
    study: str, found: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    return {
        trial: record
        for (name, kind, trial), record in found.items()
        if (name, kind) == (study, names.KIND_TRIAL)
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    sys.exit(main(parser.parse_args().folder) > 0)
