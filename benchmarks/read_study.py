"""How long it takes to read a study of many trials from Python.

Records a study with Glassy's own tracker in a SQLite store, as a search does but without
models and pictures, and reads its trials and curves: from its folder, from the store alone, and
from an MLflow server in front of that store. `python -m benchmarks.read_study [trials]`
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np

import tuner
from tuner import names
from tuner.driver.study_folder import EXPERIMENTS_DIR
from tuner.outcomes import TrialFiles, TrialResult
from tuner.tracking import epochs_file, tracking_store
from tuner.tracking.data_record import DataRecord
from tuner.tracking.runs import Tracker
from tuner.trial import Value

NUM_TRIALS = 2000
NUM_EPOCHS = 20
REPEATS = 3
STUDY_ID = "b" * 32
SETTINGS = {"search.objective": "val_accuracy", "search.oracle": "random", "seed": 0}


def main() -> None:
    num_trials = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_TRIALS
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        began = time.perf_counter()
        record(num_trials)
        seconds = time.perf_counter() - began
        print(f"{num_trials} trials of {NUM_EPOCHS} epochs recorded in {seconds:.0f} s")
        print(f"{'read from':34} {'trials':>16} {'curves':>16}  seconds (CPU)")
        uri = f"sqlite:///{folder}/mlflow.db"
        show("the study's folder", uri)
        EXPERIMENTS_DIR.rename("elsewhere")
        show("SQLite alone", uri)
        with serving(uri, Path(folder)) as server:
            show("a server alone", server)
        forget_epochs(uri)
        show("SQLite alone, while it runs there", uri)


def record(num_trials: int) -> None:
    """Record a study of made-up results, with all that a search records besides its files."""
    client = tracking_store.connect(None)
    folder = EXPERIMENTS_DIR / "many"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps({"study_id": STUDY_ID}))
    tracker = Tracker(client, "digits", "many", STUDY_ID)
    tracker.open_study(SETTINGS, DataRecord("digits", "d1", "{}", "{}"), [])
    drawn = np.random.default_rng(0)
    for number in range(num_trials):
        trial_id = f"{number:04d}"
        values: dict[str, Value] = {
            "epochs": NUM_EPOCHS, "batch_size": 32, "layers": int(drawn.integers(1, 4)),
            "units_1": int(drawn.integers(8, 512)), "learning_rate": float(drawn.uniform()),
            "optimizer": str(drawn.choice(["adam", "sgd"])),
        }  # fmt: skip
        tracker.open_trial(trial_id, values, {})
        epochs = tuple(
            dict(zip(("loss", "accuracy", "val_loss", "val_accuracy"), row, strict=True))
            for row in drawn.uniform(size=(NUM_EPOCHS, 4)).round(7).tolist()
        )
        result = TrialResult(
            trial_id, epochs, {"test_loss": 0.1, "test_accuracy": 0.9}, TrialFiles((), ""),
            num_parameters=1000, train_seconds=1.0, seconds=2.0,
        )  # fmt: skip
        tracker.finish_trial(result, with_model=False)
        epochs_file.append(folder / names.EPOCHS, tracker.run_of(trial_id), epochs)
    tracker.log_file(folder / names.EPOCHS)
    tracker.close_study("FINISHED")


def show(what: str, uri: str) -> None:
    """Print how long it takes to read a study's trials and curves."""
    study = tuner.open_study(STUDY_ID, tracking_uri=uri)
    # A server imports some things with its first answers.
    assert study.best is not None
    trials = timed(lambda: study.trials)
    curves = timed(lambda: study.curves)
    print(f"{what:34} {trials:>16} {curves:>16}", flush=True)


def timed(read: Callable[[], object]) -> str:
    """Return the medians of a few readings: seconds, and seconds of this process's CPU."""
    seconds, busy = [], []
    for _ in range(REPEATS):
        began, used = time.perf_counter(), time.process_time()
        read()
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - used)
    return f"{statistics.median(seconds):.2f} ({statistics.median(busy):.2f})"


def forget_epochs(uri: str) -> None:
    """Remove the file that an ended study has among those of its run."""
    client = mlflow.MlflowClient(uri)
    [run] = [r for r in client.search_runs(["1"], f"tags.`{names.KIND}` = 'study'")]
    Path(run.info.artifact_uri.removeprefix("file://"), names.EPOCHS).unlink()


@contextlib.contextmanager
def serving(uri: str, folder: Path) -> Iterator[str]:
    """Start MLflow's server in front of a store, and return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri,
         "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        cwd=folder, env={**os.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait()


if __name__ == "__main__":
    main()
