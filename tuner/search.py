"""`python -m tuner.search`: search hyperparameters, record every trial, promote the best."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from tuner import names, passwords
from tuner.cli import application
from tuner.config import printed_commands
from tuner.config.compose import flatten, load, to_dict
from tuner.config.schema import (
    GridConfig,
    HyperbandConfig,
    ProcessesConfig,
    RandomConfig,
    RayConfig,
    SerialConfig,
    StudyConfig,
)
from tuner.errors import DataError, GlassyError, ModelError
from tuner.escapes import encodable
from tuner.runtime import interrupt, terminal

if TYPE_CHECKING:
    import mlflow
    from rich.console import Console
    from rich.status import Status

    from tuner.config.engine import Engine
    from tuner.curves.identity import Identity
    from tuner.curves.store import CurveStore
    from tuner.datasets import ImageData
    from tuner.driver.rehearsal import Rehearsal
    from tuner.driver.study_folder import StudyFolder
    from tuner.executors import Executor
    from tuner.oracles.process import OracleProcess
    from tuner.tracking.runs import DataRecord, Tracker

# Everything heavy is imported where it is needed: --help and --cfg answer at once.

logger = logging.getLogger("tuner.search")


def main(composed: DictConfig) -> None:
    """Run one study, or go on with it."""
    config = load(composed)
    from tuner.driver import study_folder

    arguments = printed_commands.arguments()
    name = config.study or study_folder.make_name(config)
    console = terminal.console(soft_wrap=True)
    try:
        console.print(f"study {name}")
        _search(config, name, arguments, console)
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, KeyboardInterrupt) or interrupt.is_cause_of(error):
            command = printed_commands.resume(arguments, None if config.study else name)
            console.print(f"Interrupted. To resume after the last finished trial:\n  {command}")
            if passwords.STARS in command:
                console.print(f"  (with the password in place of {passwords.STARS})")
        raise


def _search(config: StudyConfig, name: str, arguments: list[str], console: Console) -> None:
    """Run a study, unless it is finished."""
    from tuner.driver import study_folder
    from tuner.driver.progress import shown_while_starting

    # What is shown and written from here on has no password in it.
    uri, shown = config.tracking.uri, passwords.hide(config.tracking.uri or "")
    config = dataclasses.replace(
        config, tracking=dataclasses.replace(config.tracking, uri=shown or None)
    )
    existing = study_folder.find(name, config)
    if existing is not None and existing.state.finished is not None:
        missing = _missing(config, uri, existing)
        if missing is None:
            from tuner.tracking import standing

            console.print("It is finished: there is nothing left to train.")
            if changed := _changed_sources(existing):
                console.print(
                    f"The model's sources have changed since ({', '.join(changed)}); what "
                    f"follows is of those it was searched with. Another study=… searches with "
                    f"them as they are now.",
                    markup=False,
                )
            state, alias = existing.state, config.registry.alias
            for line in standing.summary(uri, state.study_id, alias, state.finished or ()):
                console.print(line)
            if existing.told:
                console.print(_not_applied(name, existing))
            return
        console.print(f"It was finished, but {missing}: it is made whole.")

    # All that can be wrong is found before anything is written.
    with shown_while_starting(console) as waiting:
        _prepare(config, uri, name, arguments, console, waiting)


def _prepare(
    config: StudyConfig,
    uri: str | None,
    name: str,
    arguments: list[str],
    console: Console,
    waiting: Status,
) -> None:
    """Check what a search needs, and run it."""
    from tuner.driver import study_folder
    from tuner.errors import FolderGone
    from tuner.runtime import forkserver, gc_pauses
    from tuner.runtime.logs import logging_to, native_noise_to

    with native_noise_to(Path(os.devnull)), gc_pauses.kept():
        # First, because it takes longest, and all else here goes on beside it.
        forkserver.begin_imports(["tuner.worker.preload"])
        from tuner import datasets
        from tuner.config.engine import choose
        from tuner.curves.fingerprint import environment
        from tuner.curves.identity import Identity
        from tuner.registry.versions import Registry
        from tuner.runtime import tensorflow_setup
        from tuner.runtime.user_code import is_ours
        from tuner.tracking import experiment, tracking_store

        tensorflow_setup.check_flags()
        if isinstance(config.executor, SerialConfig) and not is_ours(config.data._target_):
            # In a child, because a loader may start TensorFlow, which trials set up here.
            data = forkserver.call(datasets.load, config.data, config.seed)
        else:
            data = datasets.load(config.data, config.seed)
        if isinstance(config.executor, RayConfig):
            from tuner.executors import cluster

            cluster.connect(config.executor, config.model_function)
        # In a child, because a model's module imports TensorFlow.
        facts = forkserver.call(environment, config.model_function)
        identity = Identity.of(data, facts)
        chosen = choose(config, data.num_bytes, facts["devices"])
        # Last, because it makes the database.
        if moved := tracking_store.bring_here(uri):
            console.print(moved, markup=False)
        client = tracking_store.connect(uri)
        experiment_name = experiment.name_of(
            client, config.tracking.experiment, config.data.name
        )
        if config.registry.name is not None:
            Registry(client, config.registry.name).check()
    with (
        study_folder.hold(name, config, arguments, identity) as held,
        logging_to(console, held.log_file),
        native_noise_to(held.log_file),
    ):
        oracle: OracleProcess | None = None
        try:
            _settle(held, chosen)
            with (
                contextlib.closing(_make_oracle(config, held)) as oracle,
                contextlib.closing(_make_executor(config, data, held)) as executor,
                contextlib.closing(_make_rehearsal(config, data, held)) as rehearsal,
            ):
                curves = _make_curves(config, identity, held)
                lines = _run(
                    config,
                    name,
                    held,
                    data,
                    identity,
                    client,
                    experiment_name,
                    oracle,
                    executor,
                    curves,
                    rehearsal,
                    console,
                    waiting,
                )
            held.state.finished = lines
            held.save_state()
            # What is said is on disk by then.
            for line in lines:
                logger.info("%s", line)
        except KeyboardInterrupt:
            logger.debug("Interrupted.")
            raise
        except (DataError, ModelError):
            if oracle is not None and oracle.num_told == 0:
                # Nothing has ended: the name is free for what the user mends.
                shutil.rmtree(held.path, ignore_errors=True)
            raise
        except Exception as error:
            logger.debug("The search failed.", exc_info=True)
            if not isinstance(error, FolderGone):
                # Else whatever could not be found or written first would be told instead.
                held.check_held()
                tracking_store.check_kept(client)
            error.add_note(f"The traceback is in {held.log_file}.")
            raise


def _run(
    config: StudyConfig,
    name: str,
    held: StudyFolder,
    data: ImageData,
    identity: Identity,
    client: mlflow.MlflowClient,
    experiment_name: str,
    oracle: OracleProcess,
    executor: Executor,
    curves: CurveStore,
    rehearsal: Rehearsal,
    console: Console,
    waiting: Status,
) -> list[str]:
    """Search, promote, and return the closing lines."""
    from tuner.datasets import exploration
    from tuner.driver import closing
    from tuner.driver.forecast import Forecast
    from tuner.driver.loop import Study
    from tuner.driver.notices import notices
    from tuner.driver.progress import Progress
    from tuner.errors import SearchFailed
    from tuner.evaluation.ties import find_ties
    from tuner.registry import promotion, refit
    from tuner.tracking.runs import Tracker
    from tuner.wording import plural

    space, objective, search = config.searched_space(), config.objective, config.search
    for notice in notices(config, oracle.num_trials):
        logger.info("%s", notice)
    if oracle.num_told:
        logger.info("Resuming after %s.", plural(oracle.num_told, "finished trial"))
    deadline = None
    if search.max_minutes is not None:
        deadline = time.time() + search.max_minutes * 60 - held.state.seconds

    tracker = Tracker(client, experiment_name, name, held.state.study_id)
    picture = held.path / "data.png"
    if not picture.exists() or not picture.stat().st_size:
        exploration.draw(data, exploration.explore(data), picture)
    settings = [*held.settings, picture]
    tracker.open_study(_params(config), _data_record(config, data), settings, identity.tag())
    tracker.log_study({}, {names.ENGINE: str(held.state.engine)})
    status, is_void = "FAILED", False
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
            rehearsal=rehearsal,
        )
        waiting.stop()
        with progress:
            study.run()
        waiting.update("Judging the best model, and writing the report")
        if console.is_terminal:
            waiting.start()
        best = study.best()
        if best is None:
            raise SearchFailed(
                "The search ended without a trial that succeeded. The failed runs in MLflow "
                "say why, in error.txt: mend the cause, then give another name, or "
                "overwrite=true to begin this study anew."
            )
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
                challenger = refit.refit(tracker, config, str(held.state.engine), challenger)
            promoted = promotion.promote(client, config, challenger)
        study.finish()
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except (DataError, ModelError):
        is_void = oracle.num_told == 0
        raise
    finally:
        tracker.close_study(status)
        if is_void:
            _withdraw(client, tracker)
    report = _report(client, tracker, held, config.tracking.uri)
    waiting.stop()
    trials = tracker.finished_trials()
    tied = find_ties(best.trial_id, trials, objective, len(data.validation))
    return closing.lines(config, best, promoted, oracle.num_told, tied, report)


def _missing(config: StudyConfig, uri: str | None, existing: StudyFolder) -> str | None:
    """Say what a finished study claims that is gone or damaged, if that can be seen."""
    from tuner.driver import checkup
    from tuner.tracking import tracking_store

    try:
        tracking_store.check_is_there(uri)
    except GlassyError:
        return "the tracking store that it was recorded in is gone"
    try:
        client = tracking_store.connect_to_existing(uri)
        missing = checkup.find_missing(client, config, existing.state.study_id)
    except GlassyError as error:
        logger.debug("Whether all of it is still there could not be seen: %s", error)
        return None
    if missing is None and (blank := existing.blank):
        verb = "is" if len(blank) == 1 else "are"
        return f"its {' and '.join(blank)} {verb} missing or empty in {existing.path}"
    return missing


def _changed_sources(existing: StudyFolder) -> list[str]:
    from tuner.curves.fingerprint import changed_on_disk

    environment = (existing.state.identity or {}).get("environment", {})
    return changed_on_disk(environment.get("sources", {}))


def _settle(held: StudyFolder, chosen: Engine) -> None:
    """Record the study's engine, unless an earlier process has: all trials share one."""
    if held.state.engine is None:
        held.state.engine = chosen.name
        held.save_state()
        # For the study's log alone: most users need not know.
        logger.debug("%s", chosen)


def _withdraw(client: mlflow.MlflowClient, tracker: Tracker) -> None:
    """Delete the runs of a study in which nothing has ended (`mlflow runs restore` undoes)."""
    study = client.get_run(tracker.run_id)
    query = f"tags.`{names.STUDY_ID}` = '{study.data.tags[names.STUDY_ID]}'"
    for run in client.search_runs([study.info.experiment_id], query):
        client.delete_run(run.info.run_id)


def _make_rehearsal(config: StudyConfig, data: ImageData, held: StudyFolder) -> Rehearsal:
    from tuner.driver.rehearsal import Rehearsal

    return Rehearsal(
        config, config.worker_setup(held.path.name, str(held.state.engine)), data, held.log_file
    )


def _make_oracle(config: StudyConfig, held: StudyFolder) -> OracleProcess:
    from tuner.oracles.process import OracleProcess

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


def _make_curves(config: StudyConfig, identity: Identity, held: StudyFolder) -> CurveStore:
    from tuner.curves.store import CurveStore
    from tuner.driver import study_folder

    common = {
        # The split follows from these.
        "data": [identity.data, config.data.train_size, config.data.validation_split],
        "seed": config.seed,
        "arguments": {**config.model_arguments, "_target_": config.model_function},
        "engine": held.state.engine,
        "threads": config.executor.threads,
        "environment": identity.environment,
    }
    others = study_folder.all_curves() if config.curves.shared else ()
    return CurveStore(held.curves, common, config.curves, config.objective, others)


def _params(config: StudyConfig) -> dict[str, object]:
    """Return what is recorded of a configuration, flat: the space as it is searched."""
    # A byte of a path that is not UTF-8 is nothing that a database takes.
    params = {
        key: encodable(value) if isinstance(value, str) else value
        for key, value in passwords.without(flatten(to_dict(config))).items()
    }
    if isinstance(config.search, HyperbandConfig):
        params["space.epochs"] = config.search.epochs
    return params


def _not_applied(name: str, existing: StudyFolder) -> str:
    """Say which settings a finished study has not been told before, and how to apply them."""
    told = existing.told.items()
    said = ", ".join(f"{key} (was {old}, now {new})" for key, (old, new) in told)
    return (
        f"Not applied, since the study is finished: {said}. To register its best trial in "
        f"another way: "
        f"{printed_commands.of_module('tuner.promote', [f'study={name}'])}, with the keys of "
        f"registry."
    )


def _report(
    client: mlflow.MlflowClient, tracker: Tracker, held: StudyFolder, uri: str | None
) -> Path | None:
    """Make the study's report; a search that has ended well does not fail for want of one."""
    from tuner import reports

    path = held.path / reports.REPORT
    try:
        reports.report_study(client, client.get_run(tracker.run_id), path)
        tracker.sync_study()
    except Exception as error:
        logger.debug("The report failed.", exc_info=True)
        given = [f"study={held.path.name}"]
        if uri is not None:
            given.append(f"tracking.uri={uri}")
        logger.warning(
            "The report could not be made (%s); to try again: %s",
            error,
            printed_commands.of_module("tuner.report", given),
        )
        return None
    return path


def _data_record(config: StudyConfig, data: ImageData) -> DataRecord:
    from tuner.tracking.runs import DataRecord

    path = config.data.path
    source = {"loader": config.data._target_, "path": path and passwords.hide(path)}
    profile = {
        "image_shape": list(data.image_shape),
        "num_classes": len(data.class_names),
        "num_train": len(data.train),
        "num_validation": len(data.validation),
        "num_test": len(data.test),
    }
    return DataRecord(data.name, data.digest, json.dumps(source), json.dumps(profile))


if __name__ == "__main__":
    application.run(main, "config", StudyConfig)
