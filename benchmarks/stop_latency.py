"""How long `tuner.stop trial=…` takes to end a trial, in every executor.

    python -m benchmarks.stop_latency [trials]

Starts a study of endless trials for each executor, Ray's on a cluster of this machine, and
stops one trial after another with the command. Prints the median and the longest of the seconds
from the command's return until the driver passed the request on, until the trial's last epoch
was reported, and until the trial had ended: evaluated and recorded in MLflow.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.logs import LIMIT_SECONDS, times_of

EXECUTORS = ("serial", "processes", "ray")

COMMON = (
    "study=stopped", "data=digits", "executor.workers=1", "registry.name=null",
    "tracking.log_models=none", "search.finalists=null", "space.epochs=1000000",
    "space.layers=1", "space.units={min: 8, max: 64}",
)  # fmt: skip


def main(num_trials: int) -> None:
    """Measure all executors, and print a table."""
    print(f"Seconds, median (longest) of {num_trials} trials")
    print(f"{'executor':10} {'passed on':>16} {'last epoch':>16} {'ended':>16}")
    for executor in EXECUTORS:
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(executor, num_trials, Path(folder))
        columns = [f"{_shown(column):>16}" for column in zip(*measured, strict=True)]
        print(f"{executor:10} {' '.join(columns)}", flush=True)


class Latency(NamedTuple):
    """How a trial was stopped, in seconds after the command's return, or below 0 before it.

    Attributes:
        passed_on: When the driver passed the request on.
        last_epoch: When the trial's last epoch was reported.
        ended: When the trial had ended.
    """

    passed_on: float
    last_epoch: float
    ended: float


def measure(executor: str, num_trials: int, folder: Path) -> list[Latency]:
    """Stop the trials of a study one after another.

    Args:
        executor: Where its trials run.
        num_trials: Their number.
        folder: An empty folder for it.
    """
    log = folder / "experiments" / "stopped" / "tune.log"
    given = [option for option in COMMON if executor != "serial" or "workers" not in option]
    study = _start(folder, "search", *given, f"executor={executor}",
                   f"search.max_trials={num_trials}")  # fmt: skip
    try:
        measured = [_stop(log, folder, f"{number:04d}") for number in range(num_trials)]
        study.wait(LIMIT_SECONDS)
    finally:
        study.terminate()
        study.wait()
    return measured


def _stop(log: Path, folder: Path, trial: str) -> Latency:
    """Stop a trial of a study in a folder once it trains."""
    times_of(log, rf"trial {trial} epoch \d\d")
    command = _start(folder, "stop", "study=stopped", f"trial={trial}")
    if command.wait(LIMIT_SECONDS) != 0:
        raise RuntimeError(f"tuner.stop ended with exit status {command.returncode}.")
    returned = time.time()
    passed_on = times_of(log, rf"trial {trial} ends after this epoch")[-1]
    ended = times_of(log, rf"trial {trial} \(.*stopped by hand")[-1]
    last_epoch = times_of(log, rf"trial {trial} epoch")[-1]
    return Latency(passed_on - returned, last_epoch - returned, ended - returned)


def _start(folder: Path, name: str, *given: str) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-m", f"tuner.{name}", *given], cwd=folder,
        stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip


def _shown(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.1f} ({max(seconds):.1f})"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
