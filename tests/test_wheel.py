"""Glassy from a wheel, in an environment of its own and far from the clone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

import tuner
from support.paths import ROOT
from support.studies import SMALL_GRID

pytestmark = pytest.mark.slow

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")

OWN = """\
# @package _global_
study: mine
search:
  max_trials: 1
space:
  epochs: 1
  units: 8
"""


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def python(bare_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An interpreter with the wheel installed beside what it depends on."""
    pytest.importorskip("hatchling", reason="needs hatchling, which builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    built = run(
        *(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir"),
        *(str(folder), str(ROOT)),
        folder=folder,
    )
    assert built.returncode == 0, built.stderr
    [wheel] = folder.glob("glassy_tuner-*.whl")
    installed = run(
        *(PIP[0], "-m", "pip", "--python", bare_python, *PIP[3:], "install", "--no-deps"),
        str(wheel),
        folder=folder,
    )
    assert installed.returncode == 0, installed.stderr
    yield bare_python
    # Other tests need the interpreter without the package.
    run(
        *(PIP[0], "-m", "pip", "--python", bare_python, *PIP[3:], "uninstall", "--yes"),
        "glassy-tuner",
        folder=folder,
    )


def test_study_runs_in_an_empty_folder(python: str, tmp_path: Path) -> None:
    done = run(python, "-m", "tuner.search", *SMALL_GRID, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    where = run(python, "-c", "import tuner; print(tuner.__file__)", folder=tmp_path)
    assert ROOT not in Path(where.stdout.strip()).parents
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    champion = client.get_model_version_by_alias("digits-classifier", "champion")
    assert str(champion.version) == "1"
    report = run(python, "-m", "tuner.report", "study=first", folder=tmp_path)
    assert (report.returncode, report.stderr) == (0, "")


@pytest.mark.parametrize(
    "name", ["search", "watch", "predict", "promote", "report", "explore", "demo"]
)
def test_every_command_has_its_configuration(python: str, tmp_path: Path, name: str) -> None:
    done = run(python, "-m", f"tuner.{name}", "--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m tuner.{name}" in done.stdout


@pytest.mark.parametrize("preset", sorted((ROOT / "conf" / "experiment").glob("*.yaml")))
def test_presets_are_in_the_wheel(python: str, tmp_path: Path, preset: Path) -> None:
    chosen = f"+experiment={preset.stem}"
    done = run(python, "-m", "tuner.search", chosen, "--cfg", "job", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "model:" in done.stdout


@pytest.mark.long
def test_configurations_of_ones_own_lie_beside(python: str, tmp_path: Path) -> None:
    (tmp_path / "my_conf" / "experiment").mkdir(parents=True)
    (tmp_path / "my_conf" / "experiment" / "mine.yaml").write_text(OWN)
    done = run(
        *(python, "-m", "tuner.search", "--config-dir", "my_conf", "+experiment=mine"),
        "search.finalists=null",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "experiments" / "mine" / "report.html").is_file()


def test_public_names_are_there() -> None:
    assert sorted(tuner.__all__) == tuner.__all__
    assert {name for name in tuner.__all__ if not hasattr(tuner, name)} == set()
    assert set(tuner.__all__) <= set(dir(tuner))
    with pytest.raises(AttributeError, match="no attribute 'Tracker'"):
        tuner.Tracker  # noqa: B018
