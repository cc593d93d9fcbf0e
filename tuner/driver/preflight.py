"""Checks everything that a search needs before anything is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.runtime import forkserver, gc_pauses
from tuner.runtime.background import Background
from tuner.runtime.logs import native_noise_to

if TYPE_CHECKING:
    import mlflow

    from tuner.config.engine import Engine
    from tuner.config.schema import StudyConfig
    from tuner.config.training import CallbackFacts
    from tuner.curves.identity import Identity
    from tuner.datasets import ImageData, LabelledImages
    from tuner.executors import Start
    from tuner.runtime.screen import Screen
    from tuner.trial import Values


@dataclass(frozen=True)
class Ready:
    """What a search needs, found and checked.

    Attributes:
        data: The images.
        identity: Facts that must not change when the study is resumed.
        engine: The engine that trains its epochs, unless it has started with another.
        client: Client of the tracking store.
        experiment: Name of the MLflow experiment that new studies go to.
        start_executor: Starts the executor.
        first: The points that are tried first, whole.
        notices: What a user should know of the callbacks before the first trial.
    """

    data: ImageData
    identity: Identity
    engine: Engine
    client: mlflow.MlflowClient
    experiment: str
    start_executor: Start
    first: Sequence[Values] = ()
    notices: Sequence[str] = ()


def begin_imports() -> None:
    """Start the process that imports TensorFlow, from which children are forked."""
    with native_noise_to(Path(os.devnull)):
        forkserver.begin_imports(["tuner.worker.preload"])


def check(
    config: StudyConfig,
    uri: str | None,
    screen: Screen,
    source: LabelledImages | None = None,
    is_new_search: bool = True,
) -> Ready:
    """Load the data, connect to everything, and make sure that the search can start.

    Args:
        config: The study's configuration.
        uri: The tracking store's address, with its password.
        screen: Shows a line if the tracking store had to be moved.
        source: The data, if they were given as they are; None to load them.
        is_new_search: Whether the search has not begun; then it may have starting points.

    Raises:
        ConfigError: If something that the configuration names is missing or cannot be used.
        DataError: If the data cannot be loaded.
        UnavailableError: If the tracking store or the cluster does not answer.
    """
    with native_noise_to(Path(os.devnull)), gc_pauses.kept():
        from tuner.curves.fingerprint import environment
        from tuner.runtime import tensorflow_setup

        tensorflow_setup.check_flags()
        model, own = config.model_function, config.training.options(config.objective).callbacks
        # In a child process, because a model's module imports TensorFlow. All that follows
        # runs while the child's parent imports it, and uses only the facts that it must.
        asked = Background(forkserver.call, environment, model, own)
        from tuner import executors
        from tuner.config.engine import choose
        from tuner.config.training import CallbackFacts
        from tuner.curves.identity import Identity
        from tuner.driver import starting_points
        from tuner.registry.versions import Registry
        from tuner.tracking import experiment, tracking_store

        data = _load(config, source)
        config.training.check_classes(data.class_names)
        start_executor = executors.prepare(config.executor, model, *own)
        tables = tracking_store.make_tables(uri)
        _import_ahead()
        facts = asked.result()
        told: CallbackFacts = forkserver.call(_examine, own) if own else CallbackFacts()
        identity = Identity.of(data, facts)
        devices = facts["devices"]
        engine = choose(config, data.num_bytes, len(data.train), devices, told.batch_hook)
        # Last, because it creates the database.
        if moved := tracking_store.bring_here(uri):
            screen.say(moved)
        client = tracking_store.connect(uri, tables)
        experiment_name = experiment.name_of(
            client, config.tracking.experiment, config.data.name
        )
        if config.registry.name is not None:
            Registry(client, config.registry.name).check()
        first: Sequence[Values] = ()
        if is_new_search:
            first = starting_points.find(client, config, data.digest)
    return Ready(
        data,
        identity,
        engine,
        client,
        experiment_name,
        start_executor,
        first,
        list(told.notices()),
    )


def _import_ahead() -> None:
    """Import what the study needs next, while there is something to wait for."""
    from tuner.driver import assembly, conclusion, finalists  # noqa: F401
    from tuner.tracking import runs

    runs.import_ahead()


def _examine(callbacks: Sequence[str]) -> CallbackFacts:
    """Look at callbacks of the user's own; called in a child process, which imports Keras."""
    from tuner.runtime import tensorflow_setup

    tensorflow_setup.set_up()
    from tuner.training.callbacks import examine

    return examine(callbacks)


def _load(config: StudyConfig, source: LabelledImages | None) -> ImageData:
    from tuner import datasets
    from tuner.runtime.user_code import is_ours

    if source is not None:
        return datasets.divide(source, config.data, config.seed)
    if config.executor.trains_in_driver and not is_ours(config.data._target_):
        # In a child process, because a loader may start TensorFlow, which trials set up here.
        loaded: ImageData = forkserver.call(datasets.load, config.data, config.seed)
        return loaded
    return datasets.load(config.data, config.seed)
