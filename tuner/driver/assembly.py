"""Puts a search together: its oracle, executor, curves and records, and the loop over them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner import figures, names, passwords
from tuner.config.compose import flatten, to_dict
from tuner.config.pruners import pruner_of
from tuner.config.schema import DataConfig, StudyConfig
from tuner.curves.store import CurveStore
from tuner.datasets import exploration
from tuner.driver import study_folder
from tuner.driver.clock import Clock, SystemClock
from tuner.driver.forecast import Forecast
from tuner.driver.loop import TrialLoop
from tuner.driver.parts import LoopParts, Parts, TrialSource
from tuner.driver.progress import Progress
from tuner.driver.pruning import Pruning
from tuner.driver.rehearsal import Rehearsal
from tuner.driver.repeats import RepeatPlan
from tuner.driver.stopping import Stopping
from tuner.driver.study_folder import StudyFolder
from tuner.driver.trainings import TrainingRules
from tuner.escapes import encodable
from tuner.executors import Executor, Workplace, make_run_trial
from tuner.oracles.process import OracleProcess
from tuner.runtime import forkserver
from tuner.runtime.screen import Screen
from tuner.tracking import json_tags
from tuner.tracking.data_record import DataRecord
from tuner.tracking.runs import Tracker
from tuner.trial import TrainingOptions

if TYPE_CHECKING:
    from tuner.config.engine import Engine
    from tuner.curves.identity import Identity
    from tuner.datasets import ImageData
    from tuner.driver.preflight import Ready
    from tuner.trial import Values

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def assembled(
    config: StudyConfig, ready: Ready, held: StudyFolder, screen: Screen
) -> Iterator[Parts]:
    """Start all parts that a search needs, and close them afterwards.

    Args:
        config: The study's configuration.
        ready: The preflight's findings.
        held: The study's folder.
        screen: Where progress is shown.
    """
    settle_engine(held, ready.engine)
    name, data = held.path.name, ready.data
    setup = config.worker_setup(name, str(held.state.engine))
    workplace = Workplace(
        functools.partial(make_run_trial, setup),
        data,
        held.log_file,
        held.images,
        looks_ahead=config.looks_ahead,
    )
    with (
        contextlib.closing(start_oracle(config, held, ready.first)) as oracle,
        contextlib.closing(ready.start_executor(workplace)) as executor,
        contextlib.closing(Rehearsal(config, setup, data, held.log_file)) as rehearsal,
    ):
        tracker = Tracker(ready.client, ready.experiment, name, held.state.study_id)
        curves = _make_curves(config, ready, held)
        yield make_parts(config, held, oracle, executor, tracker, curves, screen, rehearsal)


def make_parts(
    config: StudyConfig,
    held: StudyFolder,
    oracle: TrialSource,
    executor: Executor,
    tracker: Tracker,
    curves: CurveStore,
    screen: Screen,
    rehearsal: Rehearsal | None = None,
    clock: Clock | None = None,
) -> Parts:
    """Put together the parts that a loop drives, with a progress display.

    Args:
        config: The study's configuration.
        held: The study's folder.
        oracle: Proposes the trials.
        executor: Runs them.
        tracker: Records them.
        curves: Keeps their checkpoints.
        screen: Where progress is shown.
        rehearsal: Checks during the first trial that the study can end well.
        clock: Tells the time; this machine's clock if None.
    """
    clock = clock or SystemClock()
    space, num_trials = config.searched_space(), oracle.num_trials
    minutes, deadline = config.search.max_minutes, None
    if minutes is not None:
        # The time of earlier processes counts too.
        deadline = clock.now() + minutes * 60 - held.state.seconds
    forecast = Forecast(
        space,
        num_trials,
        oracle.rounds,
        config.search.tries_every_point,
        config.curves.reuse,
        config.num_repeats,
    )
    progress = Progress(
        screen,
        config.objective,
        space.searched,
        num_trials,
        forecast,
        deadline,
        executor.capacity,
        clock,
        constraints=config.constraints,
        num_repeats=config.num_repeats,
    )
    return Parts(held, oracle, executor, tracker, curves, progress, clock, deadline, rehearsal)


def make_loop(config: StudyConfig, parts: LoopParts) -> TrialLoop:
    """Make the loop of a search.

    Args:
        config: The study's configuration.
        parts: The parts that it drives.
    """
    return TrialLoop(
        parts,
        TrainingRules(
            config.objective,
            config.seed,
            RepeatPlan(config.num_repeats, config.data.folds),
            config.search.max_trial_minutes,
        ),
        config.tracking.models_kept,
        Stopping(config.objective, config.search.patience, config.search.target),
        Pruning(
            pruner_of(config.search.pruner),
            config.objective,
            parts.oracle,
            parts.tracker,
            config.num_repeats,
            config.constraints,
        ),
        config.constraints,
    )


def draw_data(data: ImageData, held: StudyFolder) -> Path:
    """Draw a picture of a study's data, unless there is one, and return its path.

    Args:
        data: The images.
        held: The study's folder.
    """
    picture = held.path / names.DATA_PICTURE
    if not picture.exists() or not picture.stat().st_size:
        shown = exploration.overview(data, exploration.explore(data))
        # In a child process, which has already imported matplotlib and TensorFlow.
        forkserver.call(figures.draw_overview, shown, picture)
    return picture


def open_records(config: StudyConfig, ready: Ready, parts: Parts, picture: Path) -> None:
    """Find or make the study's run, with its configuration and a picture of its data.

    Args:
        config: The study's configuration.
        ready: The preflight's findings.
        parts: Its tracker and folder.
        picture: Where `draw_data` has drawn.
    """
    held = parts.folder
    parts.tracker.open_study(
        recorded_params(config),
        _data_record(config, ready.data),
        [*held.settings, picture],
        ready.identity.tag(),
    )
    held.note_progress(parts.oracle.num_told)
    parts.tracker.log_study(
        {},
        {
            names.ENGINE: str(held.state.engine),
            names.NUM_TRIALS: str(parts.oracle.num_trials or ""),
            **json_tags.as_tags(names.EXTENSIONS, held.state.extensions),
        },
    )


def recorded_params(config: StudyConfig) -> dict[str, object]:
    """Return a configuration's flat params for the record, with the space as searched."""
    # A database takes no byte of a path that is not UTF-8.
    params = {
        key: encodable(value) if isinstance(value, str) else value
        for key, value in passwords.without(flatten(to_dict(config))).items()
    }
    if config.search.sets_epochs:
        params["space.epochs"] = config.search.epochs
    return params


def settle_engine(held: StudyFolder, chosen: Engine) -> None:
    """Record the study's engine, unless an earlier process has: all trials share one.

    Args:
        held: The study's folder.
        chosen: The engine that a new study would use.
    """
    if held.state.engine is None:
        held.state.engine = chosen.name
        held.save_state()
        # Only for the study's log: most users need not know.
        logger.debug("%s", chosen)


def start_oracle(
    config: StudyConfig, held: StudyFolder, first: Sequence[Values] = ()
) -> OracleProcess:
    """Start a study's oracle at the end of its journal.

    Args:
        config: The study's configuration.
        held: The study's folder.
        first: Points that are tried first, whole.

    Raises:
        StudyError: If the journal was written by an oracle that answers differently.
    """
    return OracleProcess(
        config.search,
        config.searched_space(),
        config.objective,
        config.seed,
        held.journal,
        held.earlier_journals,
        first,
        held.log_file,
    )


def training_facts(config: StudyConfig, identity: Identity, engine: str) -> dict[str, object]:
    """Return what may change a training and is the same in all trials, for the curves' keys.

    Args:
        config: The study's configuration.
        identity: What its settings stand for.
        engine: What runs its epochs.
    """
    facts = {
        # These determine the split.
        "data": [identity.data, config.data.train_size, *_split(config.data)],
        "seed": config.seed,
        "arguments": {**config.model_arguments, "_target_": config.model_function},
        "engine": engine,
        "threads": config.executor.threads,
        "environment": identity.environment,
    }
    options = config.training.options(config.objective)
    if options != TrainingOptions():
        # Otherwise left out: the keys of earlier versions stay valid.
        facts["training"] = dataclasses.asdict(options)
    return facts


def _split(data: DataConfig) -> list[object]:
    """Return what determines the images that validate: with folds, not the share of them."""
    return [data.validation_split] if data.folds is None else ["folds", data.folds]


def _make_curves(config: StudyConfig, ready: Ready, held: StudyFolder) -> CurveStore:
    common = training_facts(config, ready.identity, str(held.state.engine))
    others = study_folder.all_curves() if config.curves.shared else ()
    return CurveStore(held.curves, common, config.curves, config.objective, others)


def _data_record(config: StudyConfig, data: ImageData) -> DataRecord:
    path = config.data.path
    source = {"loader": config.data._target_, "path": path and passwords.hide(path)}
    profile = {
        "image_shape": list(data.image_shape),
        "num_classes": len(data.class_names),
        "num_train": len(data.train),
        "num_validation": len(data.validation),
        "num_scored": data.num_scored,
        "num_test": len(data.test),
    }
    return DataRecord(data.name, data.digest, json.dumps(source), json.dumps(profile))
