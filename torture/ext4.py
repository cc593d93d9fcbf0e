"""`make powercut-ext4`: copy the disk under a running study, and check what a power cut leaves.

    python -m torture.ext4 [--copies 8] [--seed 0]

A small study runs on its own ext4 file system, an image on a loop device. While it runs, the
device is copied at chosen moments: after a trial is reported as ended, after the last one,
after "now champion", and at random ones. Whatever the system has not yet written to the device
is not in the copy, as after a power cut. Each copy is mounted in place of the image: every
FINISHED trial must have everything it has logged, and a champion its model. Then the same
command is given, and the final records are compared with those of an undisturbed study.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import mlflow
from rich.console import Console

from torture.run import differences
from torture.study import NAME, Place, Process, Record, Unclear, check_end, record
from tuner.names import FILES as FILES_TAG
from tuner.tracking.checksums import MODEL_FILE, TAG, sha256_of
from tuner.tracking.manifest import Manifest, damage, local_folder

T = TypeVar("T")

SIZE_MB = 400

# The system's own commits come every 5 s by default: less often, more is lost.
_MOUNT_OPTIONS = "loop,commit=120"
_MODEL_NAME = "digits-classifier"
_NEEDED = ("mkfs.ext4", "mount", "umount", "losetup")


def obstacle() -> str | None:
    """Say what this machine lacks, or return None."""
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        return f"needs {', '.join(missing)}"
    if os.geteuid() != 0:
        return "needs root, to mount an image"
    found = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return None if found.returncode == 0 else f"needs a loop device ({found.stderr.strip()})"


def in_child(read: Callable[..., T], *args: Any) -> T:
    """Call a function in its own process, so that everything it opens is closed at its end.

    MLflow keeps its connections: the disk could not be unmounted, and the next one would be
    read through the files of the previous one.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(read, args)


@contextlib.contextmanager
def mounted(image: Path, place: Path) -> Iterator[None]:
    """Mount an image, and unmount it at the end."""
    subprocess.run(["mount", "-o", _MOUNT_OPTIONS, str(image), str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@dataclass
class Copies:
    """The copies of an image, each made while the study is stopped.

    Attributes:
        image: The image.
        folder: Folder for the copies.
        made: Files of the copies, by moment.
    """

    image: Path
    folder: Path
    made: dict[str, Path] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, moment: str, process: Process) -> None:
        """Copy the image as the device holds it now."""
        with self._lock:
            if process.poll() is not None and not moment.startswith("champion"):
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGSTOP)
            try:
                path = self.folder / f"{len(self.made)}.img"
                copy = ["cp", "--sparse=always", str(self.image), str(path)]
                subprocess.run(copy, check=True)
                self.made[moment] = path
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGCONT)


def run_and_copy(place: Place, copies: Copies, moments: Sequence[float]) -> None:
    """Run the study to its end, and copy its disk while it runs.

    Args:
        place: Where it runs, on the image.
        copies: Receives the copies.
        moments: Seconds after the start at which to copy, besides after the study's lines.
    """
    process = place.start()
    timers = [
        threading.Timer(after, copies.make, (f"after {after:.1f} s", process))
        for after in moments
    ]
    for timer in timers:
        timer.start()
    num_ended = 0
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("trial "):
            num_ended += 1
            if num_ended in (1, 4, 8):
                copies.make(f"{num_ended} trials ended", process)
        elif "now champion" in line:
            copies.make("champion", process)
    for timer in timers:
        timer.cancel()
        timer.join()
    if check_end(process) != 0:
        raise Unclear("The undisturbed study failed.")


def faults_of(place: Place) -> list[str]:
    """Say what a disk claims but does not hold."""
    path = place.folder / "mlflow.db"
    if not path.exists() or not path.stat().st_size:
        return []
    client = mlflow.MlflowClient(f"sqlite:///{path}")
    experiment = client.get_experiment_by_name("digits")
    if experiment is None:
        return []
    models = {
        m.source_run_id: m for m in client.search_logged_models([experiment.experiment_id])
    }
    found = []
    query = "tags.`tuner.kind` = 'trial' and attributes.status = 'FINISHED'"
    for run in client.search_runs([experiment.experiment_id], query):
        manifest = Manifest.decode(run.data.tags.get(FILES_TAG))
        model = models.get(run.info.run_id)
        artifacts = local_folder(run.info.artifact_uri)
        if manifest is None or model is None or artifacts is None:
            found.append(f"trial {run.data.tags['tuner.trial']} is incomplete")
            continue
        folder = local_folder(model.artifact_location)
        if (what := damage(manifest, artifacts, folder)) is not None:
            found.append(f"trial {run.data.tags['tuner.trial']}: {what}")
    for version in client.search_model_versions(f"name = '{_MODEL_NAME}'"):
        model = models.get(version.run_id)
        folder = None if model is None else local_folder(model.artifact_location)
        if TAG in version.tags and (
            folder is None or sha256_of(folder / MODEL_FILE) != version.tags[TAG]
        ):
            found.append(f"version {version.version} has no model")
    return found + _untold(place, client, experiment.experiment_id)


def _untold(place: Place, client: mlflow.MlflowClient, experiment_id: str) -> list[str]:
    """List the trials that have ended according to the journal, but not to MLflow."""
    journal = place.study_dir / "oracle.jsonl"
    text = journal.read_text() if journal.exists() else ""
    query = "tags.`tuner.kind` = 'trial' and attributes.status = 'FINISHED'"
    runs = client.search_runs([experiment_id], query)
    finished = {run.data.tags["tuner.trial"] for run in runs}
    told = {line.split('"')[3] for line in text.splitlines() if line.startswith('{"tell"')}
    return [f"trial {trial} was told and is not FINISHED" for trial in sorted(told - finished)]


def resumed(place: Place, expected: Record) -> list[str]:
    """Give the same command again on a copy, and say what is then wrong."""
    if (status := check_end(place.start())) != 0:
        return [f"the same command ended with {status}"]
    seen = in_child(record, place)
    told = [f"times that {n} was told: {t}" for n, t in seen.num_told.items() if t != 1]
    return [*differences(seen, expected), *told, *in_child(faults_of, place)]


def powercut(num_copies: int, seed: int, console: Console) -> list[str]:
    """Run the study, copy its disk, and return what is wrong with the copies.

    Args:
        num_copies: Number of copies at random moments, besides those after the study's lines.
        seed: Seed of these moments.
        console: Shows a line per copy.
    """
    drawn = random.Random(seed)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="glassy-powercut-") as root:
        image, folder = Path(root, "disk.img"), Path(root, "disk")
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(SIZE_MB * 1_000_000)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        (Path(root, "copies")).mkdir()
        copies = Copies(image, Path(root, "copies"))
        place = Place(folder / "project", "small")
        begin = time.perf_counter()
        with mounted(image, folder):
            place.folder.mkdir()
            os.sync()
            moments = [drawn.uniform(5, 60) for _ in range(num_copies)]
            run_and_copy(place, copies, moments)
            expected = in_child(record, place)
        console.print(f"undisturbed: {time.perf_counter() - begin:.0f} s, {NAME}")
        for moment, copy in copies.made.items():
            shutil.copyfile(copy, image)
            with mounted(image, folder):
                found = in_child(faults_of, place)
                num_files, num_empty = _count(place.folder)
                if place.folder.exists():
                    try:
                        found += resumed(place, expected)
                    except Unclear as error:
                        found.append(str(error))
            said = "; ".join(found) or "complete, and the same after the same command"
            console.print(f"{moment}: files {num_files}, empty {num_empty}: {said}")
            wrong += [f"{moment}: {what}" for what in found]
            copy.unlink()
    return wrong


def _count(folder: Path) -> tuple[int, int]:
    """Count the files below `mlruns` of a project, and those that are empty."""
    files = [path for path in (folder / "mlruns").rglob("*") if path.is_file()]
    return len(files), sum(not path.stat().st_size for path in files)


def main() -> None:
    """Run the check, and fail if anything is wrong."""
    parser = argparse.ArgumentParser(prog="torture.ext4", description=__doc__)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if (missing := obstacle()) is not None:
        sys.exit(f"This command {missing}.")
    wrong = powercut(arguments.copies, arguments.seed, console)
    console.print(f"faults: {len(wrong)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
