"""A simulated search asks for the trials that a real one asks for, in the same order."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import mlflow
import numpy as np
import pytest
from rich.console import Console

from support.workers import result
from tuner import names
from tuner.config.schema import CurvesConfig, DataConfig, StudyConfig, TrackingConfig
from tuner.config.searches import TpeConfig
from tuner.curves.store import CurveStore
from tuner.datasets import ImageData
from tuner.driver import finalists
from tuner.driver.assembly import make_loop, make_parts
from tuner.driver.study_folder import StudyFolder
from tuner.evaluation.racing import Race
from tuner.executors import Executor, Workplace
from tuner.executors.processes import ProcessExecutor
from tuner.executors.serial import SerialExecutor
from tuner.oracles.journal import JournaledOracle
from tuner.outcomes import Outcome, RunTrial, TrialResult
from tuner.runtime import files
from tuner.runtime.screen import ConsoleScreen
from tuner.simulation import Simulated, simulate
from tuner.tracking.data_record import DataRecord
from tuner.tracking.runs import Tracker
from tuner.trial import ReportEpoch, TrialRequest, Values, number, whole

MODEL = "tuner.models.mlp.build"
SPACE = {
    "epochs": 2,
    "batch_size": 32,
    "units": {"min": 4, "max": 64},
    "layers": [1, 2],
    "learning_rate": {"min": 1e-4, "max": 1e-1, "log": True},
}
REST = {
    "activation": "relu",
    "batch_norm": False,
    "dropout": 0.0,
    "l2": 0.0,
    "learning_rate_decay": 1.0,
    "optimizer": "adam",
    "transform": "rescale",
}
SEARCH = TpeConfig(
    "tpe", max_trials=7, num_initial_points=3, finalists={"trials": 2, "seeds": 2}
)
TOLD = [
    "search=tpe",
    "search.max_trials=7",
    "search.num_initial_points=3",
    "search.finalists={trials: 2, seeds: 2}",
]


@dataclasses.dataclass
class Recorded:
    """A real study's trials and finalists, in the order in which they were asked for.

    Attributes:
        values: Those of each trial.
        results: What came of each trial and each finalist, by name.
        race: The finalists' scores.
    """

    values: dict[str, Values]
    results: dict[str, TrialResult]
    race: Race | None

    def evaluate(self, values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
        """Serve what was recorded; the whole training's time is spent in its last epoch."""
        [trial_id] = [
            trial_id
            for trial_id, own in self.values.items()
            if {n: v for n, v in own.items() if n in values} == values
        ]
        name = names.finalist_name(trial_id, repeat) if repeat else trial_id
        found = self.results[name]
        is_last = epoch == len(found.epochs)
        return {**found.epochs[epoch - 1], "seconds": found.seconds if is_last else 0.0}


Search = Callable[[Executor], Recorded]


@pytest.fixture
def search(client: mlflow.MlflowClient, tmp_path: Path) -> Search:
    """Run a study with everything that a study has, but with files that no trial makes."""

    def run(executor: Executor) -> Recorded:
        path = tmp_path / "experiments" / "real"
        path.mkdir(parents=True)
        files.write(path / "study.json", '{"study_id": "id-1"}')
        held = StudyFolder(path)
        config = StudyConfig(
            data=DataConfig("my.load", "digits"),
            study="real",
            space={**SPACE, **REST},
            model={"_target_": MODEL},
            search=SEARCH,
            curves=CurvesConfig(),
            tracking=TrackingConfig(log_models="none"),
        )
        space, objective = config.searched_space(), config.objective
        oracle = JournaledOracle(SEARCH, space, objective, 0, held.journal)
        tracker = Tracker(client, "digits", "real", "id-1")
        tracker.open_study({}, DataRecord("digits", "d1", "{}", "{}"), [])
        curves = CurveStore(held.curves, {}, config.curves, objective)
        screen = ConsoleScreen(Console())
        parts = make_parts(config, held, oracle, executor, tracker, curves, screen)
        results: dict[str, TrialResult] = {}
        finish = tracker.finish_trial

        def noted(result: TrialResult, with_model: bool = True) -> None:
            results[result.trial_id] = result
            finish(result, with_model)

        tracker.finish_trial = noted
        loop = make_loop(config, parts)
        loop.run()
        display = functools.partial(finalists.progress, config, parts, screen)
        best = finalists.train(config, parts, loop, display, None)
        executor.close()
        return Recorded(dict(oracle.values), results, best.race)

    return run


def simulated(recorded: Recorded, workers: int) -> Simulated:
    space = {**SPACE, **REST}
    return simulate(TOLD, space, recorded.evaluate, workers=workers)


def train(data: ImageData) -> RunTrial:
    """Train on the digits, and make no files."""
    from tuner import training
    from tuner.models import mlp

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        begin = time.monotonic()
        training.seed_everything(request.seed)
        history = training.fit(
            mlp.build(request.values, data.image_shape, len(data.class_names)),
            data.train,
            data.validation,
            epochs=request.epochs,
            batch_size=whole(request.values["batch_size"]),
            seed=request.seed,
        ).history
        epochs = tuple(
            {name: float(values[i]) for name, values in history.items()}
            for i in range(request.epochs)
        )
        for i, metrics in enumerate(epochs, 1):
            on_epoch(request.trial_id, i, metrics)
        seconds = time.monotonic() - begin
        return dataclasses.replace(result(request, 0.0), epochs=epochs, seconds=seconds)

    return run


def test_one_worker_asks_for_the_trials_of_a_study_of_the_digits(
    search: Search, few_digits: ImageData
) -> None:
    recorded = search(SerialExecutor(lambda: train(few_digits)))
    run = simulated(recorded, workers=1)
    assert list(run.trials["values"]) == list(recorded.values.values())
    results = [*map(recorded.results.get, recorded.values)]
    scores = [result.final["val_accuracy"] for result in results]
    assert list(run.trials["score"]) == scores
    # Otherwise any order of proposals would do.
    assert len(set(scores)) > 5
    assert run.best.race == recorded.race
    assert list(run.finalists["repeat"]) == [1, 1, 2, 2]
    assert run.seconds == pytest.approx(sum(r.seconds for r in recorded.results.values()))


def resting(data: ImageData) -> RunTrial:
    """Take 0.3 seconds for a trial, but 0.15 for the first: two workers end in turns."""

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        begin = time.monotonic()
        score = 1 / (1 + abs(np.log10(number(request.values["learning_rate"])) + 2))
        epochs = tuple({"val_accuracy": float(score) * share} for share in (0.5, 1.0))
        for i, metrics in enumerate(epochs, 1):
            on_epoch(request.trial_id, i, metrics)
        time.sleep(0.15 if request.trial_id == "0000" else 0.3)
        seconds = time.monotonic() - begin
        return dataclasses.replace(result(request, 0.0), epochs=epochs, seconds=seconds)

    return run


def test_two_workers_ask_for_the_trials_of_a_study_whose_trials_took_as_long(
    search: Search, few_digits: ImageData, tmp_path: Path
) -> None:
    workplace = Workplace(resting, few_digits, tmp_path / "tune.log", tmp_path / "images")
    recorded = search(ProcessExecutor(workplace, workers=2, retries=0))
    run = simulated(recorded, workers=2)
    assert list(run.trials["values"]) == list(recorded.values.values())
    assert run.best.race == recorded.race
    # With one worker the search would know more when it asks, and ask for something else.
    with pytest.raises(ValueError, match="not enough values"):
        simulated(recorded, workers=1)
