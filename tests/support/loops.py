"""The driver's loop with a plain function as worker, as `start_run` returns it."""

import dataclasses
from collections.abc import Callable

from tuner.config.schema import StudyConfig
from tuner.driver.loop import TrialLoop
from tuner.driver.parts import Parts
from tuner.oracles.journal import JournaledOracle
from tuner.outcomes import RunTrial, TrialFailure
from tuner.trial import Objective

OBJECTIVE = Objective("val_accuracy", "max")

SCORES = {1: 0.5, 2: 0.75, 3: 0.25, 4: 0.75, 5: 0.625}
"""What each `width` scores after its second epoch."""


@dataclasses.dataclass
class Run:
    """One process's part of a study.

    Attributes:
        config: The study's configuration.
        loop: Not run yet.
        parts: What it drives.
        oracle: What proposes its trials.
        succeed: What runs a trial, where nothing else is given.
        trained: The `width` of each trial that `succeed` has run.
    """

    config: StudyConfig
    loop: TrialLoop
    parts: Parts
    oracle: JournaledOracle
    succeed: RunTrial
    trained: list[int]


StartRun = Callable[..., Run]


def failing(kind: str, error: str = "ValueError: no") -> RunTrial:
    return lambda request, _: TrialFailure(request.trial_id, error, "Traceback", kind)
