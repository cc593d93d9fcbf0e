"""The best values trained once more, on training and validation images together."""

import dataclasses
import tempfile
from pathlib import Path

from tuner import forkserver
from tuner.errors import SearchFailed
from tuner.promotion import Challenger
from tuner.schema import StudyConfig
from tuner.tracking import Tracker
from tuner.trial import Outcome, TrialFailure, TrialRequest, Values, trial_seed

KIND = "refit"
"""Its run's tag `tuner.kind`: no search takes it for a trial."""


def refit(tracker: Tracker, config: StudyConfig, challenger: Challenger) -> Challenger:
    """Train a trial's values for as many epochs on more images, and record it as a run.

    The validation metrics are left out: those images are trained on now. Doing it again finds
    the run that was made.

    Args:
        tracker: Of the study, which is open.
        config: The study's.
        challenger: The trial.

    Returns:
        The challenger with the new run.

    Raises:
        SearchFailed: If the training fails.
    """
    trial_id = f"{challenger.trial_id}-{KIND}"
    run_id = tracker.finished_run(KIND, trial_id)
    if run_id is None:
        trial = tracker.open_trial(trial_id, challenger.values, {"tuner.kind": KIND})
        run_id = trial.run_id
        with tempfile.TemporaryDirectory() as folder:
            outcome: Outcome = forkserver.call(
                train, config, challenger.study, trial_id, challenger.values, folder
            )
            if isinstance(outcome, TrialFailure):
                tracker.fail_trial(outcome)
                raise SearchFailed(
                    f"The best values could not be trained again (registry.refit=true): "
                    f"{outcome.error} Their run in MLflow, {run_id}, has the traceback."
                )
            tracker.finish_trial(outcome)
    return dataclasses.replace(challenger, run_id=run_id, trial_id=trial_id)


def train(
    config: StudyConfig, study: str, trial_id: str, values: Values, folder: str
) -> Outcome:
    """Train, evaluate and draw it; called in a child, since it imports TensorFlow."""
    from tuner import datasets
    from tuner.worker import Worker

    data = datasets.load(config.data, config.seed)
    both = dataclasses.replace(data, train=data.train.joined(data.validation))
    request = TrialRequest(
        trial_id=trial_id,
        values=values,
        seed=trial_seed(config.seed, values),
        output_dir=str(Path(folder).resolve()),
    )
    outcome = Worker(config.worker_setup(study), both).run(request, lambda *_: None)
    if isinstance(outcome, TrialFailure):
        return outcome
    epochs = [
        {name: value for name, value in epoch.items() if not name.startswith("val_")}
        for epoch in outcome.epochs
    ]
    return dataclasses.replace(outcome, epochs=tuple(epochs))
