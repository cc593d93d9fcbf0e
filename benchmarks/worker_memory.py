"""The memory of a worker after many trials.

    python -m benchmarks.worker_memory [trials]

Runs trials on the digits in one worker process, each with a different form, so that each
compiles its own program, and prints the process's resident size after 10 trials and after every
tenth of all trials. The limit is 1.3 times the size after the tenth trial, which a worker does
not exceed because it is replaced when it grows.
"""

import contextlib
import functools
import random
import shutil
import sys
import tempfile
from pathlib import Path

import psutil

from benchmarks.values import PLAIN
from tuner.config.schema import DataConfig
from tuner.datasets import images
from tuner.executors import Workplace, make_run_trial
from tuner.executors.processes import ProcessExecutor
from tuner.outcomes import TrialResult
from tuner.runtime import forkserver
from tuner.trial import Objective, TrialRequest, Value, WorkerSetup


def main(num_trials: int) -> None:
    """Run the trials, and print the resident size as it goes."""
    forkserver.begin_imports(["tuner.worker.preload"])
    data = images.load(DataConfig("tuner.datasets.digits.load", "digits"), 0)
    setup = WorkerSetup(
        "tuner.models.mlp.build", {}, Objective("val_accuracy", "max"), 1, "xla"
    )
    make = functools.partial(make_run_trial, setup)
    folder = Path(tempfile.mkdtemp(prefix="glassy-memory-"))
    drawn = random.Random(0)
    workplace = Workplace(make, data, folder / "log", folder / "images")
    executor = ProcessExecutor(workplace, workers=1, retries=0)
    sizes: list[float] = []

    def look(*_: object) -> None:
        sizes.append(_resident_mb(executor.pids[0]))

    with contextlib.closing(executor):
        for trial in range(1, num_trials + 1):
            pid = executor.pids[0]
            executor.submit(TrialRequest(f"{trial}", _values(drawn), trial, str(folder)))
            [outcome] = executor.wait(look)
            assert isinstance(outcome, TrialResult), outcome
            shutil.rmtree(outcome.files.model_dir)
            if trial == 10:
                at_ten = sizes[-1]
                print(f"trial   10: {at_ten:6.0f} MB", flush=True)
            if trial > 10 and trial % max(num_trials // 10, 1) == 0:
                print(
                    f"trial {trial:4d}: {sizes[-1]:6.0f} MB, at most "
                    f"{max(sizes) / at_ten:.2f} times so far",
                    flush=True,
                )
            if executor.pids[0] != pid:
                print(f"trial {trial:4d}: the worker is replaced", flush=True)
    shutil.rmtree(folder)


def _values(drawn: random.Random) -> dict[str, Value]:
    layers = drawn.randint(1, 3)
    widths: dict[str, Value] = {
        f"units_{i}": drawn.randrange(16, 256) for i in range(1, layers + 1)
    }
    return {
        **PLAIN,
        **widths,
        "epochs": 2,
        "batch_size": drawn.choice([32, 64]),
        "layers": layers,
        "dropout": 0.1,
        "optimizer": drawn.choice(["adam", "sgd"]),
    }


def _resident_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
