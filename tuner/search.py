"""`python -m tuner.search`: search hyperparameters, record every trial, promote the best."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from tuner import cli, passwords
from tuner.config import flatten, load, to_dict
from tuner.models import SPACES
from tuner.schema import (
    GridConfig,
    HyperbandConfig,
    ProcessesConfig,
    RandomConfig,
    RayConfig,
    StudyConfig,
)

if TYPE_CHECKING:
    import mlflow
    from rich.console import Console

    from tuner.curve_store import CurveStore
    from tuner.datasets import ImageData
    from tuner.engine import Engine
    from tuner.executors import Executor
    from tuner.folder import StudyFolder
    from tuner.oracle_process import OracleProcess
    from tuner.promotion import Promotion
    from tuner.study import Best
    from tuner.tracking import DataRecord, Tracker

# Everything heavy is imported where it is needed: --help and --cfg answer at once.

logger = logging.getLogger("tuner.search")


def main(composed: DictConfig) -> None:
    """Run one study, or go on with it."""
    config = load(composed)
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from tuner import folder, forkserver, garbage
    from tuner.logs import logging_to, native_noise_to

    # What is shown and written from here on has no password in it.
    uri, shown = config.tracking.uri, passwords.hide(config.tracking.uri or "")
    config = dataclasses.replace(
        config, tracking=dataclasses.replace(config.tracking, uri=shown or None)
    )
    overrides = [passwords.hide(override) for override in HydraConfig.get().overrides.task]
    console = Console(soft_wrap=True, highlight=False)
    name = config.study or folder.make_name(config)
    console.print(f"study {name}")
    existing = folder.find(name, config)
    if existing is not None and existing.state.finished is not None:
        console.print(
            "It is finished: there is nothing left to train. What it said at its end:"
        )
        console.print("\n".join(existing.state.finished), markup=False)
        return

    # All that can be wrong is found before anything is written.
    with native_noise_to(Path(os.devnull)), garbage.kept():
        # First, because it takes longest, and all else here goes on beside it.
        forkserver.begin_imports(["tuner.preload"])
        from tuner import datasets, store
        from tuner.engine import choose
        from tuner.environment import environment
        from tuner.functions import check_function
        from tuner.registry import Registry

        data = datasets.load(config.data, config.seed)
        if isinstance(config.executor, RayConfig):
            from tuner.executors import cluster

            cluster.connect(config.executor, config.model_function)
        if config.model_function not in SPACES:
            # In a child, because a model's module imports TensorFlow.
            forkserver.call(check_function, "model._target_", config.model_function)
        surroundings = forkserver.call(environment, config.model_function)
        chosen = choose(config, data, surroundings["devices"])
        # Last, because it makes the database.
        client = store.connect(uri)
        if config.registry.name is not None:
            Registry(client, config.registry.name).check()
    with (
        folder.hold(name, config, overrides) as held,
        logging_to(console, held.log_file),
        native_noise_to(held.log_file),
    ):
        try:
            _settle(held, chosen)
            with (
                contextlib.closing(_make_oracle(config, held)) as oracle,
                contextlib.closing(_make_executor(config, data, held)) as executor,
            ):
                curves = _make_curves(config, data, held, surroundings)
                lines = _run(
                    config, name, held, data, client, oracle, executor, curves, console
                )
            held.state.finished = lines
            held.save_state()
        except KeyboardInterrupt:
            command = _command([*overrides, *([] if config.study else [f"study={name}"])])
            logger.warning(
                "Interrupted. To go on after the last finished trial:\n  %s", command
            )
            raise
        except Exception:
            logger.debug("The search failed.", exc_info=True)
            raise


def _run(
    config: StudyConfig,
    name: str,
    held: StudyFolder,
    data: ImageData,
    client: mlflow.MlflowClient,
    oracle: OracleProcess,
    executor: Executor,
    curves: CurveStore,
    console: Console,
) -> list[str]:
    """Search, promote, and return the closing lines."""
    from tuner import exploration, promotion, refit
    from tuner.errors import SearchFailed
    from tuner.forecast import Forecast
    from tuner.progress import Progress
    from tuner.records import StudyRun
    from tuner.study import Study
    from tuner.tracking import Tracker

    space, objective, search = config.searched_space(), config.objective, config.search
    if isinstance(search, HyperbandConfig) and "epochs" in config.space:
        logger.info(
            "Hyperband sets the epochs itself, up to search.max_epochs=%d; space.epochs is not "
            "searched.",
            search.max_epochs,
        )
    if oracle.num_told:
        logger.info("Going on after %d trials that have ended before.", oracle.num_told)
    deadline = None
    if search.max_minutes is not None:
        deadline = time.time() + search.max_minutes * 60 - held.state.seconds

    tracker = Tracker(client, str(config.tracking.experiment), name, held.state.study_id)
    picture = held.path / "data.png"
    if not picture.exists():
        exploration.draw(data, exploration.explore(data), picture)
    settings = [*held.settings, picture]
    tracker.open_study(flatten(to_dict(config)), _data_record(config, data), settings)
    tracker.log_study({}, {"tuner.engine": str(held.state.engine)})
    status = "FAILED"
    try:
        is_exhaustive = isinstance(search, GridConfig) and search.max_trials is None
        forecast = Forecast(
            space, oracle.num_trials, oracle.rounds, is_exhaustive, config.curves.reuse
        )
        progress = Progress(
            console,
            objective,
            space.searched,
            oracle.num_trials,
            forecast,
            deadline,
            executor.capacity,
        )
        study = Study(
            curves=curves,
            log_models=config.tracking.log_models,
            objective=objective,
            seed=config.seed,
            folder=held,
            oracle=oracle,
            executor=executor,
            tracker=tracker,
            progress=progress,
            deadline=deadline,
        )
        with progress:
            study.run()
        best = study.best()
        if best is None:
            raise SearchFailed("The search ended without a trial that succeeded.")
        promoted = None
        if config.registry.name is not None:
            challenger = promotion.Challenger(
                run_id=best.run_id,
                study=name,
                trial_id=best.trial_id,
                values=best.values,
                data_digest=data.digest,
                validation={objective.name: best.score},
            )
            if config.registry.refit:
                this = StudyRun(client.get_run(tracker.run_id), config)
                challenger = refit.refit(client, this, config, challenger)
            promoted = promotion.promote(client, config, challenger)
        study.finish()
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.close_study(status)
    report = _report(client, tracker, held)
    lines = _closing_lines(config, best, promoted, tracker, oracle.num_told, report)
    logger.info("%s", "\n".join(lines))
    return lines


def _settle(held: StudyFolder, chosen: Engine) -> None:
    """Record the study's engine, unless an earlier process has: all trials share one."""
    if held.state.engine is None:
        held.state.engine = chosen.name
        held.save_state()
        # For the study's log alone: most users need not know.
        logger.debug("%s", chosen)


def _make_oracle(config: StudyConfig, held: StudyFolder) -> OracleProcess:
    from tuner.oracle_process import OracleProcess

    return OracleProcess(
        config.search,
        config.searched_space(),
        config.objective,
        config.seed,
        held.journal,
        held.log_file,
    )


def _make_executor(config: StudyConfig, data: ImageData, held: StudyFolder) -> Executor:
    from tuner.executors import make_run_trial

    setup = config.worker_setup(held.path.name, str(held.state.engine))
    make = functools.partial(make_run_trial, setup)
    # Whose proposals do not depend on what came out before.
    looks_ahead = isinstance(config.search, GridConfig | RandomConfig)
    if isinstance(config.executor, ProcessesConfig):
        import joblib

        from tuner.executors.processes import ProcessExecutor

        workers = config.executor.workers or joblib.cpu_count(only_physical_cores=True)
        return ProcessExecutor(
            make,
            data,
            workers,
            config.executor.retries,
            held.log_file,
            held.images,
            looks_ahead,
        )
    if isinstance(config.executor, RayConfig):
        from tuner.executors.ray import RayExecutor

        return RayExecutor(make, data, config.executor, looks_ahead)
    from tuner.executors.serial import SerialExecutor

    return SerialExecutor(functools.partial(make, data))


def _make_curves(
    config: StudyConfig, data: ImageData, held: StudyFolder, surroundings: Mapping[str, Any]
) -> CurveStore:
    from tuner import folder
    from tuner.curve_store import CurveStore

    common = {
        # The split follows from these.
        "data": [data.digest, config.data.train_size, config.data.validation_split],
        "seed": config.seed,
        "arguments": config.model,
        "engine": held.state.engine,
        "threads": config.executor.threads,
        "environment": surroundings,
    }
    others = folder.all_curves() if config.curves.shared else ()
    return CurveStore(held.curves, common, config.curves, config.objective, others)


def _report(client: mlflow.MlflowClient, tracker: Tracker, held: StudyFolder) -> Path | None:
    """Make the study's report; a search that has ended well does not fail for want of one."""
    from tuner import reports

    path = held.path / reports.REPORT
    try:
        reports.report_study(client, client.get_run(tracker.run_id), path)
    except Exception as error:
        logger.debug("The report failed.", exc_info=True)
        logger.warning(
            "The report could not be made (%s); to try again: %s -m tuner.report study=%s",
            error,
            cli.program("python"),
            held.path.name,
        )
        return None
    return path


def _closing_lines(
    config: StudyConfig,
    best: Best,
    promoted: Promotion | None,
    tracker: Tracker,
    num_trials: int,
    report: Path | None,
) -> list[str]:
    """Word what a user wants to know at the end."""
    from tuner.progress import describe
    from tuner.ties import find_ties

    test_accuracy = best.metrics["test_accuracy"]
    lines = [
        "",
        f"Best of {num_trials} trials: {best.trial_id}  {describe(best.values)}",
        f"  {config.objective.name} {best.score:.4f}, test accuracy {test_accuracy:.4f}",
    ]
    if tied := find_ties(best.trial_id, tracker.finished_trials()):
        lines.append(f"  {tied.said}")
    images = "images=<file or folder>"
    model = f"runs:/{best.run_id}/model"
    if promoted is not None:
        lines += str(promoted).splitlines()
        model = promoted.uri
    if report is not None:
        lines.append(f"Report: {report}")
    uri = config.tracking.uri or passwords.hide(os.environ.get("MLFLOW_TRACKING_URI", ""))
    store = f" --backend-store-uri {uri}" if uri else ""
    lines += [
        "Next:",
        f"  {cli.program('mlflow')} ui{store}",
        f"  {cli.program('python')} -m tuner.predict {images} model={model}"
        + (f" tracking.uri={config.tracking.uri}" if config.tracking.uri else ""),
    ]
    return lines


def _data_record(config: StudyConfig, data: ImageData) -> DataRecord:
    from tuner.tracking import DataRecord

    source = {"loader": config.data._target_, "path": config.data.path}
    profile = {
        "image_shape": list(data.image_shape),
        "num_classes": len(data.class_names),
        "num_train": len(data.train),
        "num_validation": len(data.validation),
        "num_test": len(data.test),
    }
    return DataRecord(data.name, data.digest, json.dumps(source), json.dumps(profile))


def _command(overrides: Sequence[str]) -> str:
    # What was thrown away before must not be thrown away again.
    kept = [override for override in overrides if not override.startswith("overwrite=")]
    return f"{cli.program('python')} -m tuner.search {shlex.join(kept)}"


if __name__ == "__main__":
    cli.run(main, "config")
