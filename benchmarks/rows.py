"""What is compared: the lists of trials, the rows, and the targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.job import Job

ROOT = Path(__file__).parent.parent
BENCH_DIR = ROOT / ".bench"


@dataclass(frozen=True)
class TrialList:
    """A list of trials that every row runs.

    Attributes:
        name: Its name in `lists=`.
        title: Its title in the tables.
        space: The options of each hyperparameter; the list is all combinations of them, since
            every peer can express such a grid search.
    """

    name: str
    title: str
    space: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Row:
    """One way to run a list of trials.

    Attributes:
        name: Its name in `rows=`.
        title: Its title in the tables.
        environment: The virtual environment it runs in.
        arguments: Returns the interpreter's arguments for a job; the job itself is in
            `job.json` in the folder where the run is started.
        is_tracked: Whether it records its trials in MLflow.
        lists: Names of the lists that it runs.
        targets: For each list, the smallest multiple of our time that it must take.
    """

    name: str
    title: str
    environment: Path
    arguments: Callable[[Job], list[str]]
    is_tracked: bool = True
    lists: tuple[str, ...] = ("shared", "separate", "new")
    targets: Mapping[str, float] = field(default_factory=dict)


def _search(*settings: str) -> Callable[[Job], list[str]]:
    """Return what a user of Glassy would type after `python`."""

    def arguments(job: Job) -> list[str]:
        space = [f"++space.{name}={list(options)}" for name, options in job.space.items()]
        return [
            *("-m", "tuner.search", "data=npz", f"data.path='{job.images}'"),
            *(f"data.name='{job.name}'", f"data.validation_split={job.validation_split}"),
            *("search=grid", *space, f"space.batch_size={job.batch_size}"),
            # All programs run the same trials, and nothing else.
            "search.finalists=null",
            *(f"seed={job.seed}", *settings),
        ]

    return arguments


def _module(name: str, *flags: str) -> Callable[[Job], list[str]]:
    return lambda job: ["-m", f"benchmarks.{name}", "job.json", *flags]


LISTS = (
    TrialList(
        "shared",
        "Epochs {2, 4} by four shapes",
        {"epochs": (2, 4), "units_1": (64, 128), "units_2": (64, 128)},
    ),
    TrialList(
        "separate",
        "Eight shapes, four epochs each: nothing to share",
        {"epochs": (4,), "units_1": (32, 64, 96, 128), "units_2": (64, 128)},
    ),
    TrialList(
        "new",
        "Forty new shapes, three epochs each",
        {
            "epochs": (3,),
            "units_1": (64, 96, 160, 224, 288, 352, 416, 512),
            "units_2": (48, 112, 176, 272, 384),
        },
    ),
    TrialList(
        "epochs",
        "Epochs searched: {2, 4, 8, 16} by four shapes",
        {"epochs": (2, 4, 8, 16), "units_1": (64, 128), "units_2": (64, 128)},
    ),
    TrialList(
        "wide",
        "Epochs searched: {2, 4, 8, 16} by four shapes of up to eight times the width",
        {"epochs": (2, 4, 8, 16), "units_1": (512, 1024), "units_2": (256, 512)},
    ),
)

OURS = "processes"
"""The row that all others are compared with."""

_OUR_ENVIRONMENT = ROOT / ".venv"

ROWS = (
    Row(
        OURS,
        "Glassy, a process for each core",
        _OUR_ENVIRONMENT,
        _search("executor=processes"),
        lists=("shared", "separate", "new", "epochs", "wide"),
    ),
    Row(
        "alone",
        "Glassy, a process for each core, each trial all its epochs",
        _OUR_ENVIRONMENT,
        _search("executor=processes", "curves.reuse=false"),
        lists=("shared", "epochs", "wide"),
        targets={"epochs": 1.7, "wide": 1.7},
    ),
    Row("serial", "Glassy, one process", _OUR_ENVIRONMENT, _search("executor=serial")),
    Row(
        "keras_tuner_mlflow",
        "Keras Tuner + MLflow",
        BENCH_DIR / "keras_tuner_mlflow",
        _module("peers.keras_tuner_mlflow"),
        targets={"shared": 12, "separate": 10, "new": 5.5},
    ),
    Row(
        "keras_tuner_mlflow_pinned",
        "Keras Tuner + MLflow, requirements pinned",
        BENCH_DIR / "keras_tuner_mlflow",
        _module("peers.keras_tuner_mlflow", "--pinned"),
        targets={"shared": 8, "separate": 7, "new": 5.5},
    ),
    Row(
        "keras_tuner_alone",
        "Keras Tuner alone, nothing logged",
        BENCH_DIR / "keras_tuner_alone",
        _module("peers.keras_tuner_alone"),
        is_tracked=False,
        targets={"shared": 7, "separate": 6, "new": 5.5},
    ),
    Row(
        "optuna_mlflow",
        "Optuna + Keras + MLflow, a process for each core",
        BENCH_DIR / "optuna_mlflow",
        _module("peers.optuna_mlflow"),
        targets={"shared": 8, "separate": 6, "new": 5.5},
    ),
    Row(
        "ray_mlflow",
        "Ray Tune + Keras + MLflow, an actor for each core",
        BENCH_DIR / "ray_mlflow",
        _module("peers.ray_mlflow"),
        targets={"shared": 8, "separate": 6, "new": 5.5},
    ),
    Row(
        "floor",
        "The floor: the compiled epochs alone",
        _OUR_ENVIRONMENT,
        _module("floor"),
        is_tracked=False,
        # Ours must not take longer.
        targets={"shared": 1, "separate": 1, "new": 1},
    ),
)
