"""Trains the best values again, on training and validation images together."""

import contextlib
import dataclasses
import tempfile
from pathlib import Path

from tuner import names
from tuner.config.schema import StudyConfig
from tuner.constraints import Constraints
from tuner.errors import SearchFailed
from tuner.outcomes import Outcome, TrialFailure, TrialResult
from tuner.registry.promotion import Challenger
from tuner.runtime import forkserver, tensorflow_setup
from tuner.runtime.user_code import find_function
from tuner.tracking.runs import Tracker
from tuner.trial import TrialRequest, trial_seed


def refit(
    tracker: Tracker, config: StudyConfig, engine: str, challenger: Challenger
) -> Challenger:
    """Train a trial's values on more images for the same number of epochs, and record a run.

    That is the number that the trial's model was trained for: if it stopped early, or has the
    weights of an earlier epoch, no more than that. The seed is that of its model, too. The
    validation metrics are left out, and nothing stops the training early by them, since those
    images are now trained on. A second call finds the run of the first one, and completes it if
    an earlier process has not.

    Args:
        tracker: Tracker of the trial's study; the study's run is open.
        config: The configuration for training and testing.
        engine: The study's engine; see `tuner.config.engine`.
        challenger: The trial.

    Returns:
        The challenger with the new run.

    Raises:
        SearchFailed: If the training fails.
        KeyboardInterrupt: Raised again once the run is marked KILLED.
    """
    trial_id = names.refit_name(challenger.trial_id)
    run = tracker.find_run(trial_id)
    if run is None or run.finished is None:
        run = tracker.open_trial(trial_id, challenger.values, {}, names.KIND_REFIT)
        try:
            outcome = _record(tracker, config, engine, challenger, trial_id)
        except BaseException:
            with contextlib.suppress(Exception):
                tracker.kill_trial(trial_id)
            raise
        if isinstance(outcome, TrialFailure):
            raise SearchFailed(
                f"The refit of the best values failed (registry.refit=true): {outcome.error} "
                f"Its run in MLflow, {run.run_id}, has the traceback."
            )
    return dataclasses.replace(challenger, run_id=run.run_id, trial_id=trial_id)


def _record(
    tracker: Tracker,
    config: StudyConfig,
    engine: str,
    challenger: Challenger,
    trial_id: str,
) -> Outcome:
    """Let a child process train it, and record the outcome."""
    with tempfile.TemporaryDirectory() as folder:
        request = TrialRequest(
            trial_id=trial_id,
            values=challenger.values,
            seed=_seed(config, challenger),
            output_dir=str(Path(folder).resolve()),
            num_epochs=tracker.used_epochs(challenger.trial_id),
        )
        outcome: Outcome = forkserver.call(train, config, engine, challenger.study, request)
        if isinstance(outcome, TrialResult):
            tracker.finish_trial(outcome)
        elif isinstance(outcome, TrialFailure):
            tracker.fail_trial(outcome)
    return outcome


def _seed(config: StudyConfig, challenger: Challenger) -> int:
    if challenger.seed is not None:
        return challenger.seed
    return trial_seed(config.seed, challenger.values)


def train(config: StudyConfig, engine: str, study: str, request: TrialRequest) -> Outcome:
    """Train, evaluate and draw it; called in a child process, since it imports TensorFlow."""
    # Before the user's loader, which may start TensorFlow itself.
    tensorflow_setup.set_up(config.executor.threads)
    from tuner import datasets
    from tuner.worker.worker import Worker

    # The model's module is imported before the loader runs: it may change settings that
    # TensorFlow accepts only before its first operation.
    find_function("model._target_", config.model_function)
    data = datasets.load(config.data, config.seed)
    both = dataclasses.replace(data, train=data.train.joined(data.validation))
    setup = config.worker_setup(study, engine)
    options = dataclasses.replace(setup.options, early_stopping=None)
    # Its values were chosen already, and its latency is judged by the gate.
    setup = dataclasses.replace(setup, options=options, constraints=Constraints())
    outcome = Worker(setup, both).run(request, lambda *_: None)
    if not isinstance(outcome, TrialResult):
        return outcome
    epochs = [
        {name: value for name, value in epoch.items() if not name.startswith("val_")}
        for epoch in outcome.epochs
    ]
    return dataclasses.replace(outcome, epochs=tuple(epochs))
