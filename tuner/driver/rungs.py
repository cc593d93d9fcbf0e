"""The trials that are paused at rungs, and how they stand there."""

from collections.abc import Mapping

from tuner.trial import Objective


class Rungs:
    """The trials of a study that are paused, and the scores at each rung.

    Args:
        objective: What is improved.
        paused: The epochs of every trial that was paused before.
        standings: The scores of all trials that have reached a rung, by rung.

    Attributes:
        paused: The epochs of every trial that is paused now.
    """

    def __init__(
        self,
        objective: Objective,
        paused: Mapping[str, int],
        standings: Mapping[int, Mapping[str, float]],
    ) -> None:
        self.paused = dict(paused)
        self._objective = objective
        self._standings = {rung: dict(scores) for rung, scores in standings.items()}

    def pause(self, trial_id: str, rung: int, score: float) -> None:
        """Take note of a trial that has reached a rung."""
        self.paused[trial_id] = rung
        self._standings.setdefault(rung, {})[trial_id] = score

    def leave(self, trial_id: str) -> None:
        """Take note of a trial that is resumed, if it was paused."""
        self.paused.pop(trial_id, None)

    def why_paused(self, trial_id: str) -> str:
        """Say how a paused trial stands at its rung, in words that follow a colon."""
        scores = self._standings[self.paused[trial_id]]
        score = scores[trial_id]
        better = sum(self._objective.is_better(other, score) for other in scores.values())
        return f"number {better + 1} of {len(scores)} there"
