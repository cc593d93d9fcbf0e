"""The driver's cost per trial, from the first to the ten-thousandth.

    python -m benchmarks.driver_cost [trials] [--watched]

Runs a study with Keras Tuner's random oracle whose trials train nothing: each returns the files
of one small model that was trained before. Everything else is real: the oracle in its process
with its journal, MLflow on SQLite, the study's folder, the log. Prints milliseconds per trial
for every tenth of the study. With `--watched`, `tuner.watch` shows the study meanwhile, to one
visitor.
"""

import argparse
import contextlib
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.values import PLAIN
from tuner.config.schema import CurvesConfig, DataConfig, StudyConfig, TrackingConfig
from tuner.config.searches import RandomConfig
from tuner.curves.store import CurveStore
from tuner.driver import study_folder
from tuner.driver.assembly import make_loop, make_parts, start_oracle
from tuner.executors.serial import SerialExecutor
from tuner.outcomes import Outcome, TrialFiles, TrialResult
from tuner.runtime import forkserver, gc_pauses
from tuner.runtime.logs import logging_to
from tuner.runtime.screen import ConsoleScreen
from tuner.tracking import tracking_store
from tuner.tracking.data_record import DataRecord
from tuner.tracking.runs import Tracker
from tuner.trial import Objective, ReportEpoch, TrialRequest, Value, WorkerSetup, number

OBJECTIVE = Objective("val_accuracy", "max")
SPACE: dict[str, Any] = {
    "epochs": {"min": 1, "max": 4},
    "batch_size": 32,
    "rate": {"min": 0.0, "max": 1.0},
}


def prepare(output_dir: Path) -> None:
    """Train one small model, and leave the files that a worker leaves."""
    from tuner.datasets import images
    from tuner.executors import make_run_trial

    setup = WorkerSetup("tuner.models.mlp.build", {}, OBJECTIVE, 1, "xla")
    run = make_run_trial(
        setup, images.load(DataConfig("tuner.datasets.digits.load", "digits"), 0)
    )
    values: dict[str, Value] = {
        **PLAIN, "epochs": 1, "batch_size": 32, "layers": 1, "units_1": 8
    }  # fmt: skip
    outcome = run(TrialRequest("0000", values, 0, str(output_dir)), lambda *_: None)
    assert isinstance(outcome, TrialResult), outcome


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Show the study that runs in this folder to a visitor, meanwhile."""
    root = str(Path(__file__).parents[1])
    server = subprocess.Popen(
        [sys.executable, "-m", "tuner.watch", "study=many"], text=True,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert server.stdout is not None
    address = re.search(r"http://\S+", server.stdout.readline())
    assert address is not None

    def visit() -> None:
        # The server is ended while it is being read.
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{address[0]}events") as sent,
        ):
            for _ in sent:
                pass

    threading.Thread(target=visit, daemon=True).start()
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def main(num_trials: int, is_watched: bool) -> None:
    """Run the study in its own folder, and print its cost."""
    gc_pauses.keep_all()
    os.chdir(tempfile.mkdtemp(prefix="glassy-driver-"))
    forkserver.begin_imports(["tuner.worker.preload"])
    prepared = Path("prepared").resolve()
    prepared.mkdir()
    forkserver.call(prepare, prepared)
    # When a trial is given to the worker, and when it returns: the rest is the driver's time.
    handed: list[float] = []
    returned: list[float] = []

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        handed.append(time.perf_counter())
        output_dir = Path(request.output_dir)
        shutil.copytree(prepared, output_dir, dirs_exist_ok=True)
        score = number(request.values["rate"])
        epochs = tuple({"val_accuracy": score, "loss": 1 - score} for _ in range(2))
        for epoch, metrics in enumerate(epochs, 1):
            on_epoch(request.trial_id, epoch, metrics)
        pictures = sorted(str(path) for path in output_dir.iterdir() if path.is_file())
        files = TrialFiles(tuple(pictures), str(output_dir / "model"))
        test = {"test_accuracy": score, "test_loss": 1 - score}
        returned.append(time.perf_counter())
        return TrialResult(request.trial_id, epochs, test, files, 1, 0.1, 0.1)

    config = StudyConfig(
        data=DataConfig("my.load", "digits"),
        study="many",
        space=SPACE,
        model={"_target_": "my.build"},
        search=RandomConfig("random", max_trials=num_trials),
        curves=CurvesConfig(),
        tracking=TrackingConfig(),
    )
    client = tracking_store.connect(None)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    screen = ConsoleScreen(Console(quiet=True))
    with (
        study_folder.hold("many", config, []) as held,
        logging_to(screen, held.log_file),
        contextlib.closing(start_oracle(config, held)) as oracle,
    ):
        tracker = Tracker(client, "many", "many", held.state.study_id)
        data: Any = DataRecord("digits", "0", "{}", "{}")
        tracker.open_study({"seed": 0}, data, [])
        curves = CurveStore(held.curves, {}, config.curves, OBJECTIVE)
        executor = SerialExecutor(lambda: run)
        parts = make_parts(config, held, oracle, executor, tracker, curves, screen)
        with watched() if is_watched else contextlib.nullcontext():
            make_loop(config, parts).run()
        tracker.close_study("FINISHED")
    costs = [
        1000 * (after - before) for before, after in zip(returned, handed[1:], strict=False)
    ]
    size = max(len(costs) // 10, 1)
    for i in range(0, len(costs) - size + 1, size):
        mean = statistics.fmean(costs[i : i + size])
        print(f"trials {i:5d} to {i + size:5d}: {mean:6.1f} ms each", flush=True)
    shutil.rmtree(Path.cwd())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("trials", nargs="?", type=int, default=10_000)
    parser.add_argument("--watched", action="store_true")
    given = parser.parse_args()
    main(given.trials, given.watched)
