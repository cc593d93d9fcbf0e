"""The driver's loop, opened as a new process would open it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from rich.console import Console

from support.loops import OBJECTIVE, SCORES, Run, StartRun
from support.trials import MakeResult
from tuner.config.schema import CurvesConfig, DataConfig, StudyConfig, TrackingConfig
from tuner.config.searches import GridConfig, SearchConfig
from tuner.curves.store import CurveStore
from tuner.driver.assembly import make_loop, make_parts
from tuner.driver.clock import Clock
from tuner.driver.study_folder import StudyFolder
from tuner.executors import Executor
from tuner.executors.serial import SerialExecutor
from tuner.oracles.journal import JournaledOracle
from tuner.outcomes import Outcome, RunTrial
from tuner.runtime import files
from tuner.runtime.screen import ConsoleScreen
from tuner.tracking.data_record import DataRecord
from tuner.tracking.runs import Tracker
from tuner.trial import Objective, OnEpoch, TrialRequest


@pytest.fixture
def start_run(client: mlflow.MlflowClient, make_result: MakeResult, tmp_path: Path) -> StartRun:
    """Open the same study as a new process would."""
    held_path = tmp_path / "experiments" / "first"

    def start(
        run_trial: RunTrial | None = None,
        max_minutes: float | None = None,
        max_trials: int | None = None,
        patience: int | None = None,
        target: float | None = None,
        make_executor: Callable[[Callable[[], RunTrial]], Executor] = SerialExecutor,
        curves_config: CurvesConfig | None = None,
        log_models: str = "all",
        objective: Objective = OBJECTIVE,
        constraints: dict[str, dict[str, float]] | None = None,
        clock: Clock | None = None,
        search: SearchConfig | None = None,
        finalists: Any = None,
        pruner: object = None,
        num_epochs: int = 2,
        repeats: int = 1,
        folds: int | None = None,
        max_trial_minutes: float | None = None,
    ) -> Run:
        if not held_path.exists():
            held_path.mkdir(parents=True)
            files.write(held_path / "study.json", '{"study_id": "id-1"}')
        held = StudyFolder(held_path)
        config = StudyConfig(
            study="first",
            data=DataConfig("my.load", "digits", folds=folds),
            space={"epochs": num_epochs, "batch_size": 32, "width": [1, 2, 3, 4, 5]},
            model={"_target_": "my.build"},
            search=search
            or GridConfig(
                "grid",
                objective=[one.name for one in objective.all],
                max_minutes=max_minutes,
                max_trials=max_trials,
                patience=patience,
                target=target,
                finalists=finalists,
                pruner=pruner,
                constraints=constraints,
                repeats=repeats,
                max_trial_minutes=max_trial_minutes,
            ),
            curves=curves_config or CurvesConfig(),
            tracking=TrackingConfig(log_models=log_models),
        )
        space = config.searched_space()
        oracle = JournaledOracle(config.search, space, objective, 0, held.journal)
        tracker = Tracker(client, "digits", "first", held.state.study_id)
        settings = {"search.objective": OBJECTIVE.name}
        tracker.open_study(settings, DataRecord("digits", "d1", "{}", "{}"), [])
        trained: list[int] = []

        def succeed(request: TrialRequest, on_epoch: OnEpoch) -> Outcome:
            width = int(request.values["width"])
            trained.append(width)
            result = make_result(request.trial_id)
            epochs = ({"val_accuracy": 0.1}, {"val_accuracy": SCORES[width]})
            for i, metrics in enumerate(epochs):
                on_epoch(request.trial_id, i + 1, metrics)
            return dataclasses.replace(result, epochs=epochs)

        curves = CurveStore(held.curves, {}, config.curves, OBJECTIVE)
        executor = make_executor(lambda: run_trial or succeed)
        parts = make_parts(
            config,
            held,
            oracle,
            executor,
            tracker,
            curves,
            ConsoleScreen(Console()),
            clock=clock,
        )
        return Run(config, make_loop(config, parts), parts, oracle, succeed, trained)

    return start
