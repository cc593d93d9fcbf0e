"""When a search ends before its trials or its time are over: enough is reached, or no more."""

from tuner.trial import Objective
from tuner.wording import plural


class Stopping:
    """Watches the scores of a search, in the order in which its trials end.

    Args:
        objective: What is improved.
        patience: Completed trials in a row without a gain after which the search ends, or None.
        target: Score at which it ends, or None.
    """

    def __init__(
        self, objective: Objective, patience: int | None, target: float | None
    ) -> None:
        self._objective = objective
        self._patience = patience
        self._target = target
        self._best: float | None = None
        self._without_gain = 0
        self._seen: set[str] = set()

    def note(self, trial_id: str, score: float | None) -> None:
        """Take note of a completed trial's score; trials that fail do not count.

        A trial that is paused counts when it is paused first.

        Args:
            trial_id: The trial.
            score: Its score; None if it breaks a constraint, which is no gain. Before a first
                trial meets the constraints, nothing can stagnate.
        """
        if score is None:
            is_new = trial_id not in self._seen
            self._without_gain += self._best is not None and is_new
        elif self._best is None or self._objective.is_better(score, self._best):
            self._best, self._without_gain = score, 0
        elif trial_id not in self._seen:
            self._without_gain += 1
        self._seen.add(trial_id)

    @property
    def _has_reached_target(self) -> bool:
        if self._best is None or self._target is None:
            return False
        return not self._objective.is_better(self._target, self._best)

    @property
    def reason(self) -> str | None:
        """Why the search ends, or None if it does not."""
        name = self._objective.name
        if self._has_reached_target:
            return f"{name} {self._best:.4f} has reached search.target={self._target:g}"
        if self._patience is not None and self._without_gain >= self._patience:
            trials = plural(self._patience, "trial")
            return f"{name} has not improved in {trials} (search.patience={self._patience})"
        return None
