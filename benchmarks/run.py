"""`make bench`: run every row on every list of trials, in rounds, and write the tables."""

import compileall
import datetime
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
from omegaconf import MISSING, DictConfig, OmegaConf
from rich.console import Console

from benchmarks import images, machine, report
from benchmarks.images import VALIDATION_SPLIT, Images
from benchmarks.job import Job
from benchmarks.journal import Journal
from benchmarks.measure import Run, measure
from benchmarks.rows import BENCH_DIR, LISTS, ROOT, ROWS, Row, TrialList
from tuner.cli import application
from tuner.config.compose import typed
from tuner.errors import ConfigError
from tuner.wording import plural

BATCH_SIZE = 32
RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass
class DataConfig:
    """Where the images come from."""

    path: str | None = None


@dataclass
class BenchConfig:
    """Settings of the benchmark: mirrors `conf/commands/bench.yaml`."""

    data: DataConfig = field(default_factory=DataConfig)
    lists: list[str] | None = None
    rows: list[str] | None = None
    repeats: int = MISSING
    timeout_minutes: float = MISSING


def main(composed: DictConfig) -> None:
    """Measure the chosen rows, print the tables, and write them if they are complete."""
    config: BenchConfig = typed(composed, OmegaConf.structured(BenchConfig))
    if config.repeats < 1 or config.timeout_minutes <= 0:
        raise ConfigError("`repeats` must be at least 1, and `timeout_minutes` above 0.")
    lists: Sequence[TrialList] = _chosen("lists", config.lists, LISTS)
    rows: Sequence[Row] = _chosen("rows", config.rows, ROWS)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    # Installed packages are compiled already. Some machines keep Python from compiling here.
    for folder in ("tuner", "benchmarks"):
        compileall.compile_dir(ROOT / folder, quiet=1)
    data = images.prepare(config.data.path, range(config.repeats), BENCH_DIR / "data")
    versions = machine.versions(row.environment for row in ROWS)
    journal = Journal(
        BENCH_DIR / "runs.json",
        {"data": data.digest, "versions": json.dumps(versions), "code": machine.digest()},
        Run.read,
    )
    if journal.runs:
        done = plural(len(journal.runs), "run")
        console.print(f"Resuming after {done} in {journal.path}.")
    workers: int = joblib.cpu_count(only_physical_cores=True)
    runs = []
    # Round by round, so that a noisy minute does not affect only one row.
    for seed, trials, row in itertools.product(range(config.repeats), lists, rows):
        if trials.name not in row.lists:
            continue
        run = journal.find(trials.name, row.name, seed)
        if run is None:
            job = _job(data, trials, seed, workers)
            run_dir = BENCH_DIR / "runs" / f"{trials.name}-{row.name}-{seed}"
            run = measure(row, trials.name, job, run_dir, config.timeout_minutes * 60)
            if run.error is None:
                journal.add(run)
            said = f"failed: {run.error}" if run.error else f"{run.seconds:.1f} s"
            console.print(f"{seed + 1} of {config.repeats}  {trials.name}  {row.name}  {said}")
        runs.append(run)
    text = _head(data, versions, workers, config.repeats) + "".join(
        f"\n{report.section(trials, [r for r in rows if trials.name in r.lists], runs)}"
        for trials in lists
    )
    console.print(f"\n{text}")
    if len(lists) == len(LISTS) and len(rows) == len(ROWS):
        RESULTS.write_text(text, encoding="utf-8")
        console.print(f"Written to {RESULTS}.")
        if not any(run.error for run in runs):
            journal.close()


def _chosen(key: str, names: Sequence[str] | None, known: Sequence[Any]) -> Sequence[Any]:
    """Return the named items of `known`, in their own order; all for None."""
    known_names = [item.name for item in known]
    for name in names or ():
        if name not in known_names:
            raise ConfigError(
                f"`{key}` must hold only {', '.join(known_names)}, but got {name!r}."
            )
    return [item for item in known if names is None or item.name in names]


def _job(data: Images, trials: TrialList, seed: int, workers: int) -> Job:
    return Job(
        images=str(data.path),
        name=data.name,
        splits=str(data.splits[seed]),
        validation_split=VALIDATION_SPLIT,
        space=trials.space,
        batch_size=BATCH_SIZE,
        seed=seed,
        workers=workers,
    )


def _head(data: Images, versions: dict[str, str], workers: int, repeats: int) -> str:
    """Write what a reader must know about the tables."""
    installed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"""# Results

Written by `make bench` on {datetime.date.today()}: {data.name} (digest {data.digest}),
batches of {BATCH_SIZE}. Runs of each row, with different seeds: {repeats}.

- {machine.cpu()}, {workers} cores
- {installed}

Seconds run from the start of a row's process to its exit; the table shows the median of its
runs. **Times ours** is a row's seconds over those of the first row: use these ratios, since the
seconds depend on the machine. **At least** is the target for the ratio. **Best** and **mean**
are the best and mean validation accuracies of a run's trials after the last epoch, averaged
over the runs.
"""


if __name__ == "__main__":
    application.run(main, "commands/bench", BenchConfig)
