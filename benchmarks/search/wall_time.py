"""`make bench-search-time`: how long a search takes to find what random search finds.

    make bench-search-time ARGS="--mnist ../shared/data/mnist.npz"
    make bench-search-time ARGS="--rows asha optuna_hyperband --runs 1"     # on the digits

Each search is a command that is run for real. It is stopped as soon as it has been told of a
validation accuracy at or above the target: what `random` reaches with 60 trials, the median of
its runs. Runs are kept in `.bench/wall_time/`, so an interrupted benchmark is resumed.
"""

import argparse
import compileall
import datetime
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence

from benchmarks import images, machine
from benchmarks.job import SearchJob
from benchmarks.journal import Journal
from benchmarks.rows import BENCH_DIR, ROOT
from benchmarks.search.run import write
from benchmarks.search.timed_run import TimedRun, measure
from benchmarks.search.wall_time_rows import (
    MAX_EPOCHS,
    REFERENCE,
    ROWS,
    SPACE,
    TARGET,
    SearchRow,
)
from tuner import datasets
from tuner.config.schema import DataConfig
from tuner.datasets import ImageData
from tuner.errors import UserError
from tuner.runtime import surroundings
from tuner.wording import plural

WORKERS = 2
BATCH_SIZE = 32
NUM_RUNS = 3
NUM_TRIALS = 60
"""Trials of `random`, whose best is the target."""
MAX_TRIALS = 1000
"""Trials of the others: more than the time allows."""
TRAIN_SIZE = 5000
VALIDATION_SPLIT = 0.2
"""A thousand of MNIST's 5,000 images, so that an accuracy's standard error is 0.6 points."""
SPLIT_SEED = 0
"""Seed of the split, the same for all runs: one target is for all of them."""

Runs = Mapping[str, Sequence[TimedRun]]
"""The runs of each row, by its name."""


def main() -> None:
    """Measure, print the table, and write it if it is complete."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--mnist", help="MNIST, an .npz in the form of Keras's; else the digits"
    )
    parser.add_argument(
        "--train-size",
        type=int,
        help=f"images to train and validate with; default: {TRAIN_SIZE} of MNIST, all digits",
    )
    parser.add_argument("--rows", nargs="+", choices=[r.name for r in ROWS])
    parser.add_argument("--runs", type=int, default=NUM_RUNS, help="runs of each row")
    parser.add_argument("--trials", type=int, default=NUM_TRIALS, help="trials of random")
    parser.add_argument("--limit-minutes", type=float, default=20.0, help="of any other row")
    arguments = parser.parse_args()
    if arguments.runs < 1 or arguments.trials < 1 or arguments.limit_minutes <= 0:
        parser.error("--runs and --trials must be at least 1, and --limit-minutes above 0")
    surroundings.prepare()
    try:
        _run(arguments)
    except UserError as error:
        parser.error(str(error))


def _run(arguments: argparse.Namespace) -> None:
    # Installed packages are compiled already. Some machines keep Python from compiling here.
    for package in ("tuner", "benchmarks"):
        compileall.compile_dir(ROOT / package, quiet=1)
    train_size = arguments.train_size or (TRAIN_SIZE if arguments.mnist else None)
    data = _load(arguments.mnist, train_size)
    folder = BENCH_DIR / "wall_time"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{data.name}-{train_size or 'all'}-{arguments.trials}"
    splits = folder / f"{name}.npz"
    images.write_splits(data, splits)
    versions = machine.versions(row.environment for row in ROWS)
    settings = {"data": data.digest, "versions": json.dumps(versions), "code": machine.digest()}
    journal = Journal(folder / f"{name}.json", settings, TimedRun.read)

    def run_once(row: SearchRow, seed: int, target: float, limit: float) -> TimedRun:
        is_target = row.name == TARGET
        job = SearchJob(
            name=data.name,
            splits=str(splits),
            batch_size=BATCH_SIZE,
            seed=seed,
            workers=WORKERS,
            space=SPACE,
            max_epochs=MAX_EPOCHS,
            max_trials=arguments.trials if is_target else MAX_TRIALS,
        )
        return measure(row, job, folder / f"{row.name}-{seed}", target, limit)

    limit = arguments.limit_minutes * 60
    runs = measure_all(arguments.rows, arguments.runs, limit, journal, run_once)
    text = f"{_head(data, arguments.trials, runs[TARGET], versions)}\n{table(runs, limit)}"
    print(text)
    is_default = (arguments.runs, arguments.trials) == (NUM_RUNS, NUM_TRIALS)
    if arguments.mnist and train_size == TRAIN_SIZE and is_default and len(runs) == len(ROWS):
        write("Wall time on MNIST", text)
        if not any(run.error for of_row in runs.values() for run in of_row):
            journal.close()


def _load(mnist: str | None, train_size: int | None) -> ImageData:
    """Load the images, and split them as Glassy does."""
    config = DataConfig(
        _target_=f"tuner.datasets.{'npz' if mnist else 'digits'}.load",
        name="mnist" if mnist else "digits",
        path=mnist,
        train_size=train_size,
        validation_split=VALIDATION_SPLIT,
    )
    return datasets.load(config, SPLIT_SEED)


def measure_all(
    names: Sequence[str] | None,
    num_runs: int,
    limit: float,
    journal: Journal[TimedRun],
    run_once: Callable[[SearchRow, int, float, float], TimedRun],
) -> Runs:
    """Run the row that sets the target, and then the others, unless the journal has them.

    Args:
        names: The rows to run; None for all.
        num_runs: Number of runs of each row.
        limit: Seconds after which a run of the others is stopped.
        journal: Keeps the runs.
        run_once: Runs a row with a seed, a target and a limit.

    Raises:
        UserError: If the row that sets the target fails.
    """

    def take(row: SearchRow, seed: int, target: float, limit: float) -> TimedRun:
        run = journal.find(row.name, seed)
        if run is None or not run.is_enough(target, limit):
            run = run_once(row, seed, target, limit)
            if run.error is None:
                journal.add(run)
        said = f"failed: {run.error}" if run.error else f"{run.best:.4f} in {run.seconds:.1f} s"
        print(f"{seed + 1} of {num_runs}  {row.name}  {said}", file=sys.stderr, flush=True)
        return run

    first = next(row for row in ROWS if row.name == TARGET)
    runs: dict[str, list[TimedRun]] = {TARGET: []}
    for seed in range(num_runs):
        run = take(first, seed, math.inf, math.inf)
        if run.error is not None:
            raise UserError(f"`{TARGET}`, which sets the target, failed: {run.error}")
        runs[TARGET].append(run)
    target = target_of(runs[TARGET])
    # Round by round, so that a noisy minute does not affect only one row.
    for seed in range(num_runs):
        for row in ROWS:
            if row is not first and (names is None or row.name in names):
                runs.setdefault(row.name, []).append(take(row, seed, target, limit))
    return runs


def target_of(runs: Sequence[TimedRun]) -> float:
    """Return the accuracy to reach: the median of the best ones of these runs."""
    # One that a run has reached, also if the number of runs is even.
    return statistics.median_low(run.best for run in runs)


def table(runs: Runs, limit: float) -> str:
    """Return the table of what was measured, in Markdown.

    Args:
        runs: The runs; those of the row that sets the target are among them.
        limit: Seconds after which a run was stopped.
    """
    target = target_of(runs[TARGET])
    lines = [
        ["search", "seconds", "of each run", f"times `{REFERENCE}`", "at least", "best"],
        ["---", *["---:"] * 5],
    ]
    notes = []
    reference = _median(runs.get(REFERENCE, ()), target)
    for row in ROWS:
        of_row = runs.get(row.name, ())
        if not of_row:
            continue
        if failed := [run.error for run in of_row if run.error]:
            lines.append([row.title, "failed", *[""] * 4])
            notes.append(f"\n{row.title} failed: {failed[0]}\n")
            continue
        seconds = _median(of_row, target)
        have_ended = all(run.has_ended for run in of_row)
        each = [_shown(run.until(target), run.has_ended, limit) for run in of_row]
        # A row that did not get there has taken at least as long as it was let.
        taken = limit if math.isinf(seconds) and not have_ended else seconds
        lines.append(
            [
                row.title,
                _shown(seconds, have_ended, limit),
                ", ".join(each),
                *_compared(row, taken / reference, is_least=math.isinf(seconds)),
                f"{statistics.median_low(run.best for run in of_row):.4f}",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n" + "".join(notes)


def _median(runs: Sequence[TimedRun], target: float) -> float:
    """Return the median of the seconds until the target; infinite if most did not reach it."""
    if not runs or any(run.error for run in runs):
        return math.inf
    return statistics.median(run.until(target) for run in runs)


def _shown(seconds: float, has_ended: bool, limit: float) -> str:
    """Write the seconds until the target, or that it was not reached."""
    if math.isfinite(seconds):
        return f"{seconds:,.1f}"
    return "never" if has_ended else f"> {limit:,.0f}"


def _compared(row: SearchRow, ratio: float, is_least: bool) -> tuple[str, str]:
    """Write how many times the reference's time a row takes, and whether that is the target.

    Args:
        row: The row.
        ratio: Its time over the reference's; infinite or 0 if either is unknown.
        is_least: Whether it may take longer.
    """
    if not 0 < ratio < math.inf:
        return "", ""
    shown = f"{'> ' if is_least else ''}{ratio:.2f}"
    if row.at_least is None:
        return shown, ""
    missed = "open" if is_least else "missed"
    return shown, f"{row.at_least:g}: {'met' if ratio >= row.at_least else missed}"


def _head(
    data: ImageData, trials: int, random: Sequence[TimedRun], versions: Mapping[str, str]
) -> str:
    """Write what a reader must know about the table."""
    installed = ", ".join(f"{name} {version}" for name, version in versions.items())
    bests = ", ".join(f"{run.best:.4f}" for run in random)
    return (
        f"{datetime.date.today()}, {data.name}, {len(data.train):,} images to train on and "
        f"{len(data.validation):,} to validate with, batches of {BATCH_SIZE}; "
        f"{plural(WORKERS, 'worker')}, {plural(len(random), 'run')} of each search. Target: "
        f"{target_of(random):.4f}, the median of the best of {trials} random trials ({bests}). "
        f"{installed}. {machine.cpu()}.\n"
    )


if __name__ == "__main__":
    main()
