"""How long a search takes to start, beside `import tensorflow` alone.

    python -m benchmarks.start [runs]

Measures in turn, each in a new process: a bare `import tensorflow`, and the command of a search
of the digits with its default executor, from its start in an empty folder until the first
epoch of its first trial has been reported. Prints both for each run, and the medians.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.logs import LIMIT_SECONDS, times_of
from benchmarks.process import RunFailed, started

IMPORT = ("-c", "import tensorflow")

SEARCH = (
    "-m", "tuner.search", "study=x", "data=digits", "search=random", "search.max_trials=2",
    "search.finalists=null",
)  # fmt: skip


class Start(NamedTuple):
    """One run, in seconds.

    Attributes:
        importing: Time that `import tensorflow` took alone.
        search: Time from the search's command to the end of its first epoch.
    """

    importing: float
    search: float

    @property
    def more(self) -> float:
        """What the search took beyond the import."""
        return self.search - self.importing


def main(num_runs: int) -> None:
    """Measure, and print a table."""
    # The first run compiles what has no bytecode yet, and reads files into memory.
    measure()
    print(f"{'seconds':10} {'import':>7} {'first epoch':>12} {'difference':>11}")
    runs = []
    for number in range(num_runs):
        runs.append(measure())
        _print(f"run {number + 1}", runs[-1], runs[-1].more)
    medians = Start(*map(statistics.median, zip(*runs, strict=True)))
    _print("median", medians, statistics.median(run.more for run in runs))


def measure() -> Start:
    """Measure both once."""
    return Start(_time_import(), _time_search())


def _time_import() -> float:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.time()
        with started([sys.executable, *IMPORT], Path(folder)) as process:
            if status := process.wait(LIMIT_SECONDS):
                raise RunFailed(f"`import tensorflow` ended with exit status {status}.")
            return time.time() - begin


def _time_search() -> float:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "experiments" / "x" / "tune.log"
        begin = time.time()
        with started([sys.executable, *SEARCH], Path(folder)) as process:
            first_epoch = times_of(log, r"trial \d+ epoch 1/")[0]
            # It runs to its end, so that nothing of it is left to disturb the next run.
            if status := process.wait(LIMIT_SECONDS):
                raise RunFailed(f"The search ended with exit status {status}.")
            return first_epoch - begin


def _print(name: str, start: Start, more: float) -> None:
    print(f"{name:10} {start.importing:7.2f} {start.search:12.2f} {more:11.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
