"""Commands run as a user runs them, and what they leave in MLflow."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run


def searching(*overrides: str) -> tuple[str, ...]:
    """Return the overrides of a search that trains no finalists, unless these say otherwise.

    Finalists would be most of the trainings of studies as small as those of tests.
    """
    if any("search.finalists" in override for override in overrides):
        return overrides
    # Added or replaced, since the oracle of a user's own need not have the key in its file.
    return (*overrides, "++search.finalists=null")


def command(
    folder: Path, name: str, *overrides: str, timeout: float = 240, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m tuner.<name> <overrides>` in a folder, and wait for it."""
    given = searching(*overrides) if name == "search" else overrides
    return subprocess.run(
        [sys.executable, "-m", f"tuner.{name}", *given],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tuner.search", *searching(*overrides)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, text: str) -> None:
    for _ in range(1200):
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"{path} never said {text!r}")


def killed_and_whole(
    folder: Path, given: Sequence[str], text: str
) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """Run a study named `first` twice, killed once its log has a text, and undisturbed.

    Args:
        folder: An empty folder.
        given: Overrides of the search.
        text: What the killed study's log must say before the kill.

    Returns:
        The folder of the study that was killed and resumed, that of the other one, and how the
        other one's command ended.
    """
    killed, whole = folder / "killed", folder / "whole"
    for place in (killed, whole):
        place.mkdir()
    process = start(killed, *given)
    wait_for(killed / "experiments" / "first" / "tune.log", text)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for place in (killed, whole):
        done = command(place, "search", *given)
        assert done.returncode == 0, done.stderr
    return killed, whole, done


def runs(folder: Path, kind: str) -> list[Run]:
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(
        experiments, f"tags.`tuner.kind` = '{kind}'", order_by=["tags.`tuner.trial`"]
    )
