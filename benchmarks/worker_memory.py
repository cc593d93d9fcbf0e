"""How much memory a worker holds after many trials.

    python -m benchmarks.worker_memory [trials]

Runs trials of the digits in one worker, every one of another form, so that each compiles a
program of its own, and prints the resident size after 10 trials and after every tenth of all.
The bar is 1.3 times what it was after the tenth.
"""

import random
import shutil
import sys
import tempfile
from pathlib import Path

from tuner.datasets import images
from tuner.executors import make_run_trial
from tuner.schema import DataConfig
from tuner.trial import Objective, TrialRequest, TrialResult, Value, WorkerSetup


def main(num_trials: int) -> None:
    """Run the trials, and print the resident size as it goes."""
    data = images.load(DataConfig("tuner.datasets.digits.load", "digits"), 0)
    objective = Objective("val_accuracy", "max")
    run = make_run_trial(WorkerSetup("tuner.models.mlp.build", {}, objective, 1), data)
    output_dir = Path(tempfile.mkdtemp(prefix="glassy-memory-"))
    drawn = random.Random(0)
    at_ten = 0.0
    for trial in range(1, num_trials + 1):
        layers = drawn.randint(1, 3)
        widths = {f"units_{i}": drawn.randrange(16, 256) for i in range(1, layers + 1)}
        values: dict[str, Value] = {
            "epochs": 2, "batch_size": drawn.choice([32, 64]), "layers": layers, **widths,
            "activation": "relu", "dropout": 0.1, "learning_rate": 0.001,
            "optimizer": drawn.choice(["adam", "sgd"]), "transform": "rescale",
        }  # fmt: skip
        outcome = run(TrialRequest(f"{trial}", values, trial, str(output_dir)), _ignore)
        assert isinstance(outcome, TrialResult), outcome
        shutil.rmtree(outcome.files.model_dir)
        if trial == 10:
            at_ten = _resident_mb()
        if trial == 10 or trial % max(num_trials // 10, 1) == 0:
            size = _resident_mb()
            print(
                f"trial {trial:4d}: {size:6.0f} MB, {size / (at_ten or size):.2f}", flush=True
            )
    shutil.rmtree(output_dir)


def _ignore(*_: object) -> None:
    """Take no note of an epoch."""


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("Linux alone says how much memory is resident.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
