"""The driver's loop with a worker that is a plain function: what `start_run` gives."""

import dataclasses
from collections.abc import Callable

from tuner.driver.loop import TrialLoop
from tuner.oracles.journal import JournaledOracle
from tuner.trial import Objective, RunTrial, TrialFailure

OBJECTIVE = Objective("val_accuracy", "max")

SCORES = {1: 0.5, 2: 0.75, 3: 0.25, 4: 0.75, 5: 0.625}
"""What each `width` scores after its second epoch."""


@dataclasses.dataclass
class Run:
    """One process's part of a study, and what it had to train."""

    loop: TrialLoop
    oracle: JournaledOracle
    trained: list[int]


StartRun = Callable[..., Run]


def failing(kind: str, error: str = "ValueError: no") -> RunTrial:
    return lambda request, _: TrialFailure(request.trial_id, error, "Traceback", kind)
