"""What more trials would bring: the chance that studies were told, and what happened.

    python -m benchmarks.forecast_check <folder>

Runs ten studies on scikit-learn's digits in a folder, each with 20 trials, and then with 40.
Those that are there already are only read. Prints, for each, the chance that its first 20
trials give to 20 more, and the gain that these brought; then the same for parts of the same
records: for oracles that do not learn, their trials in random orders, for the others every
beginning.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tuner.config.searches import SEARCHES
from tuner.reports import gather, outlook
from tuner.reports.records import StudyRecord
from tuner.tracking import history, tracking_store
from tuner.trial import Objective

BUDGETS = (20, 40)
"""Trials of every study: at first, and when it goes on."""

COMMON = (
    "data=digits", "executor=processes", "executor.workers=1", "registry.name=null",
    "tracking.log_models=none", "curves.keep=none", "data.validation_split=0.3",
)  # fmt: skip

WIDE = (
    "space.learning_rate={min: 1e-4, max: 1e-1, log: true}",
    "space.units={min: 16, max: 256, step: 16}",
    "space.dropout={min: 0.0, max: 0.6}",
    "space.epochs={min: 2, max: 10}",
)
FINE = (
    "space.learning_rate={min: 5e-4, max: 5e-3, log: true}",
    "space.units={min: 128, max: 256, step: 32}",
    "space.epochs={min: 6, max: 10}",
)
MIXED = (
    "space.optimizer=[adam,sgd,rmsprop]",
    "space.learning_rate={min: 1e-3, max: 1e-1, log: true}",
    "space.layers={min: 1, max: 3}",
    "space.units=[16,32,64,128]",
    "space.batch_norm=[true,false]",
    "space.epochs={min: 2, max: 8}",
)

STUDIES: Mapping[str, tuple[str, ...]] = {
    "random-wide": ("search=random", "seed=1", *WIDE),
    "random-wide-loss": ("search=random", "seed=2", "search.objective=val_loss", *WIDE),
    "random-fine": ("search=random", "seed=3", *FINE),
    "random-mixed-loss": ("search=random", "seed=4", "search.objective=val_loss", *MIXED),
    "qmc-wide": ("search=qmc", "seed=5", *WIDE),
    "qmc-mixed": ("search=qmc", "seed=6", *MIXED),
    "tpe-wide": ("search=tpe", "seed=7", *WIDE),
    "tpe-mixed-loss": ("search=tpe", "seed=8", "search.objective=val_loss", *MIXED),
    "bayesian-wide": ("search=bayesian", "seed=9", *WIDE),
    "bayesian-fine-loss": ("search=bayesian", "seed=10", "search.objective=val_loss", *FINE),
}
"""The studies: their oracles, objectives and spaces."""

PARTS = ((5, 5), (10, 3), (10, 10), (10, 30), (20, 3), (20, 20), (30, 10))
"""Trials so far, and trials more, of the parts of a study's record."""

ORDERS = 300
"""Random orders of a study's trials."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A beginning of a search: the chance it gave, and what the trials after it brought.

    Attributes:
        chance: The estimate, in `[0, 1]`.
        happened: Whether one of them was better by more than the gain asked for.
    """

    chance: float
    happened: bool


def run(name: str, folder: Path, budget: int) -> None:
    """Run a study until it has a number of trials; a study that has them is left alone."""
    given = [*COMMON, *STUDIES[name], f"study={name}", f"search.max_trials={budget}"]
    subprocess.run(
        [sys.executable, "-m", "tuner.search", *given],
        cwd=folder, env={**os.environ}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def read(folder: Path) -> dict[str, StudyRecord]:
    """Read the studies of a folder, their trials in the order in which they were proposed."""
    client = tracking_store.connect_to_existing(f"sqlite:///{folder.resolve()}/mlflow.db")
    found = {}
    for recorded in history.studies(client, history.experiments(client)):
        study = gather.read_study(client, recorded)
        ordered = sorted(study.trials, key=lambda trial: trial.trial_id)
        found[study.name] = dataclasses.replace(study, trials=ordered)
    return found


def scores_of(study: StudyRecord) -> list[float]:
    """Return the scores of a study's finished trials, in their order."""
    return [study.score(trial) for trial in study.finished]


def learns(study: StudyRecord) -> bool:
    """Say whether a study's oracle learns from results."""
    return SEARCHES[str(study.params["search.oracle"])].learns_from_results


def case(objective: Objective, scores: Sequence[float], so_far: int, learns: bool) -> Case:
    """Judge a beginning of some scores by the rest of them."""
    before, after = scores[:so_far], scores[so_far:]
    chance = outlook.estimate(objective, before, len(after), learns)
    gain = _gain(objective, before, after)
    return Case(chance, gain > outlook.least_gain(objective, before))


def random_parts(study: StudyRecord, so_far: int, more: int) -> Iterator[Case]:
    """Yield cases from random orders of a study's trials."""
    drawn, scores = np.random.default_rng(0), scores_of(study)
    for _ in range(ORDERS):
        order = drawn.permutation(len(scores))[: so_far + more]
        yield case(study.objective, [scores[i] for i in order], so_far, learns=False)


def beginnings(study: StudyRecord, so_far: int, more: int) -> Iterator[Case]:
    """Yield the cases that a study of an oracle that learns holds in its own order.

    They overlap, so there is less to learn from them than from as many studies.
    """
    scores = scores_of(study)
    for start in range(so_far, len(scores) - more + 1):
        yield case(study.objective, scores[: start + more], start, learns=True)


def _gain(objective: Objective, before: Sequence[float], after: Sequence[float]) -> float:
    """Return how much better the best of the later scores is; below 0 if it is worse."""
    sign = 1 if objective.direction == "max" else -1
    return max(sign * score for score in after) - max(sign * score for score in before)


def _brier(cases: Sequence[Case], chance: float | None = None) -> float:
    """Return the mean squared error of the chances, or of one chance for all."""
    return float(
        np.mean([((c.chance if chance is None else chance) - c.happened) ** 2 for c in cases])
    )


def show_studies(studies: Mapping[str, StudyRecord]) -> None:
    """Print what each study was told, and what happened when it went on."""
    cases = []
    print(f"{'study':20} {'chance':>7} {'gain':>14}  happened")
    for name in STUDIES:
        study, scores = studies[name], scores_of(studies[name])
        so_far = sum(trial.trial_id < f"{BUDGETS[0]:04d}" for trial in study.finished)
        found = case(study.objective, scores, so_far, learns(study))
        gain = _gain(study.objective, scores[:so_far], scores[so_far:])
        best = study.objective.best_so_far(scores[:so_far])[-1]
        is_points = study.objective.direction == "max"
        shown = f"{100 * gain:+.2f} points" if is_points else f"{100 * gain / best:+.1f} %"
        print(f"{name:20} {found.chance:7.0%} {shown:>14}  {'yes' if found.happened else 'no'}")
        cases.append(found)
    expected, happened = sum(c.chance for c in cases), sum(c.happened for c in cases)
    print(f"Expected of {len(cases)}: {expected:.1f}; happened: {happened}")
    of_rate = _brier(cases, happened / len(cases))
    print(f"Brier score {_brier(cases):.3f}; if all were told their base rate, {of_rate:.3f}")


def show_parts(studies: Mapping[str, StudyRecord]) -> None:
    """Print the same of parts of the records, and how often which chance came true."""
    apart: list[Case] = []
    print("\nOracles that do not learn, their trials in random orders")
    _head()
    for so_far, more in PARTS:
        chosen = [study for study in studies.values() if not learns(study)]
        cases = [found for study in chosen for found in random_parts(study, so_far, more)]
        _row(f"{so_far} + {more}", cases)
        apart += cases
    _row("all", apart)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        if binned := [c for c in apart if low <= c.chance < low + 0.2]:
            _row(f"{low:.0%} to {low + 0.2:.0%}", binned)
    print("\nOracles that learn, in their own order, after at least so many trials")
    _head()
    for so_far, more in PARTS:
        chosen = [study for study in studies.values() if learns(study)]
        _row(
            f"{so_far} + {more}",
            [c for study in chosen for c in beginnings(study, so_far, more)],
        )


def _head() -> None:
    print(
        f"{'trials':>12} {'cases':>6} {'chance':>6} {'happened':>8} {'Brier':>6} {'of rate':>7}"
    )


def _row(title: str, cases: Sequence[Case]) -> None:
    rate = float(np.mean([c.happened for c in cases]))
    said = float(np.mean([c.chance for c in cases]))
    print(
        f"{title:>12} {len(cases):6d} {said:6.0%} {rate:8.0%} {_brier(cases):6.3f} "
        f"{_brier(cases, rate):7.3f}"
    )


def main(folder: Path) -> None:
    """Run the studies that are missing, and print the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in STUDIES:
        for budget in BUDGETS:
            run(name, folder, budget)
    studies = read(folder)
    show_studies(studies)
    show_parts(studies)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
