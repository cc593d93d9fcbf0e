"""Fixtures that many tests take: small real data, stores, trials and studies of them."""

import dataclasses
import itertools
import logging
import os
import shutil
import signal
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before TensorFlow and MLflow are imported anywhere.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)

import hypothesis
import mlflow
import numpy as np
import pytest

from support.commands import command
from support.networks import VALUES
from support.paths import MNIST
from support.studies import SMALL_GRID, FinishedStudy
from support.trials import MakeResult, MakeRun
from tuner.config.hydra_patches import replace_hyperparameters_whole
from tuner.config.schema import DataConfig
from tuner.datasets import ImageData, LabelledImages, Split, images
from tuner.outcomes import TrialFiles, TrialResult
from tuner.runtime import tensorflow_setup
from tuner.runtime.logs import native_noise_to
from tuner.tracking.data_record import DataRecord
from tuner.tracking.logged_models import logged_model_id
from tuner.tracking.runs import Tracker
from tuner.tracking.tracking_store import connect
from tuner.trial import Objective, TrialRequest, WorkerSetup

replace_hyperparameters_whole()
# The same examples every time, and however slow the machine is.
hypothesis.settings.register_profile(
    "glassy", derandomize=True, deadline=None, database=None, max_examples=200
)
hypothesis.settings.load_profile("glassy")
# `make test &` in a script ignores it, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Before any test starts TensorFlow, which then cannot be told any more. What it says meanwhile
# would follow pytest's last line.
with native_noise_to(Path(os.devnull)):
    tensorflow_setup.set_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that take long and break rarely: `make test-long` runs them."""
    if config.getoption("--long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def mnist_path() -> Path:
    """The real MNIST, which is not part of the project."""
    if not MNIST.exists():
        pytest.skip("needs the real MNIST as ../shared/data/mnist.npz")
    return MNIST


@pytest.fixture(scope="session")
def digits() -> ImageData:
    """The embedded digits, split as a study with seed 0 has them."""
    config = DataConfig("tuner.datasets.digits.load", "digits", validation_split=0.15)
    return images.load(config, seed=0)


@pytest.fixture(scope="session")
def few_digits(digits: ImageData) -> ImageData:
    """A tenth of the digits, for tests in which a training only has to run."""
    return ImageData(
        digits.name,
        digits.class_names,
        digits.digest,
        digits.train.take(np.arange(160)),
        digits.validation.take(np.arange(80)),
        digits.test.take(np.arange(80)),
    )


@pytest.fixture
def labelled() -> LabelledImages:
    """Twelve made-up images of two classes."""
    drawn = np.random.default_rng(0)
    pixels = drawn.integers(0, 256, (12, 4, 5), dtype=np.uint8)
    labels = np.arange(12) % 2
    return LabelledImages(
        Split(pixels[:8], labels[:8]), Split(pixels[8:], labels[8:]), ("a", "b")
    )


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with MLflow's tables and nothing in them: making them takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    connect(f"sqlite:///{folder}/mlflow.db")
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def leaves_nothing_in_force() -> Iterator[None]:
    """Undo what a test changes for others: where commands record, and what is logged."""
    store, level = os.environ.get("MLFLOW_TRACKING_URI"), logging.getLogger().level
    yield
    # Libraries set it for good, some to DEBUG.
    logging.getLogger().setLevel(level)
    assert os.environ.get("MLFLOW_TRACKING_URI") == store, "commands would record in its store"


@pytest.fixture
def client(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[mlflow.MlflowClient]:
    """A client of an empty store in the test's own folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    # Also undoes what MLflow does to the variable itself.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield connect(uri)
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="session")
def trained(few_digits: ImageData, tmp_path_factory: pytest.TempPathFactory) -> TrialResult:
    """A real trial's result, with its files."""
    from tuner.worker.worker import Worker

    setup = WorkerSetup("tuner.models.mlp.build", {}, Objective("val_accuracy", "max"), 1)
    request = TrialRequest(
        "0000", {**VALUES, "units_1": 8}, 0, str(tmp_path_factory.mktemp("trial"))
    )
    result = Worker(setup, few_digits).run(request, lambda *_: None)
    assert isinstance(result, TrialResult), result
    return result


@pytest.fixture
def make_result(trained: TrialResult, tmp_path: Path) -> MakeResult:
    """Give a result, with files of its own, to any trial."""

    def make(trial_id: str) -> TrialResult:
        source = Path(trained.files.model_dir).parent
        folder = tmp_path / "trials" / trial_id
        shutil.copytree(source, folder, dirs_exist_ok=True)
        files = TrialFiles(
            tuple(str(folder / Path(path).name) for path in trained.files.artifacts),
            str(folder / "model"),
        )
        return dataclasses.replace(trained, trial_id=trial_id, files=files)

    return make


@pytest.fixture
def make_run(client: mlflow.MlflowClient, make_result: MakeResult) -> MakeRun:
    """Record finished trials, and return the id of each run and of its model."""
    tracker = Tracker(client, "digits", "first", "id-1")
    tracker.open_study({}, DataRecord("digits", "d1", "{}", "{}"), [])
    made = itertools.count()

    def make() -> tuple[str, str]:
        trial_id = f"{next(made):04d}"
        run_id = tracker.open_trial(trial_id, {"epochs": 2}, {}).run_id
        tracker.finish_trial(make_result(trial_id))
        return run_id, logged_model_id(client, run_id)

    return make


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    """A small study of the digits, run once as a user runs it."""
    folder = tmp_path_factory.mktemp("project")
    return FinishedStudy(folder, command(folder, "search", *SMALL_GRID))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has everything a model needs, but not this package."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    # As a path, and not as a folder of packages, whose .pth files would be followed as well: an
    # editable install is one.
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib"))
    return str(folder / "bin" / "python")
