"""Finds the trials that are statistically indistinguishable from the best one."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.evaluation.measures import accuracy_interval
from tuner.names import TEST_ACCURACY, TEST_RIGHT, TEST_WRONG
from tuner.trial import Metrics, Objective


@dataclass(frozen=True)
class Ties:
    """The trials whose validation accuracy lies within the 95 % interval of the best trial's.

    They are judged on the validation images, since these rank the trials: then a trial that
    ranks higher is never the worse one. The test images take no part.

    Attributes:
        interval: Lowest and highest true accuracy of the best trial, in `[0, 1]`.
        num_images: Number of validation images.
        trial_ids: The trials tied with the best, not including it.
        num_others: Number of trials that were compared with it.
    """

    interval: tuple[float, float]
    num_images: int
    trial_ids: tuple[str, ...]
    num_others: int

    def __str__(self) -> str:
        """Describe the ties in one sentence."""
        where = f"on the {self.num_images:,} validation images (95 %)"
        num_tied, num_others = len(self.trial_ids), self.num_others
        if num_others == 1:
            verb = "is statistically indistinguishable from" if num_tied else "is worse than"
            return f"The other trial {verb} it {where}."
        if not num_tied:
            return f"The {num_others:,} other trials are significantly worse {where}."
        if num_tied == num_others:
            all_others = f"All {num_others:,} other trials"
            return f"{all_others} are statistically indistinguishable from it {where}."
        verb = "is" if num_tied == 1 else "are"
        return (
            f"{num_tied:,} of the {num_others:,} other trials {verb} statistically "
            f"indistinguishable from it {where}."
        )


@dataclass(frozen=True)
class Tested:
    """The accuracy of one trial on the test images.

    Attributes:
        accuracy: Accuracy in `[0, 1]`.
        interval: Lowest and highest true accuracy, with 95 % confidence.
        num_images: Number of test images.
    """

    accuracy: float
    interval: tuple[float, float]
    num_images: int

    def __str__(self) -> str:
        """Describe the result in a few words."""
        low, high = self.interval
        return (
            f"test accuracy {self.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}, "
            f"{self.num_images:,} images)"
        )


def find_ties(
    best: str, trials: Mapping[str, Metrics], objective: Objective, num_validation: int | None
) -> Ties | None:
    """Find the trials that are tied with the best.

    Args:
        best: The best trial, one of `trials`.
        trials: Metrics of all finished trials of a study.
        objective: The metric that ranked them.
        num_validation: Number of validation images; None if that was not recorded.

    Returns:
        None if there is nothing to compare, or if the trials were not ranked by accuracy: for a
        loss no interval is known.
    """
    name = objective.name
    interval = interval_on_validation(trials[best][name], objective, num_validation)
    if interval is None or num_validation is None or len(trials) < 2:
        return None
    low, _ = interval
    others = [trial_id for trial_id in trials if trial_id != best]
    tied = tuple(trial_id for trial_id in others if trials[trial_id][name] >= low)
    return Ties(interval, num_validation, tied, len(others))


def interval_on_validation(
    score: float, objective: Objective, num_validation: int | None
) -> tuple[float, float] | None:
    """Return the 95 % interval of a trial's true validation accuracy.

    Args:
        score: Its score.
        objective: The metric that ranks the trials.
        num_validation: Number of validation images; None if that was not recorded.

    Returns:
        Lowest and highest accuracy, in `[0, 1]`; None if the trials are not ranked by accuracy,
        or the number is not known.
    """
    if objective.name != "val_accuracy" or not num_validation:
        return None
    return accuracy_interval(round(score * num_validation), num_validation)


def accuracy_on_test(metrics: Metrics) -> Tested | None:
    """Return a trial's accuracy on the test images; None if it was not counted."""
    if not {TEST_RIGHT, TEST_WRONG, TEST_ACCURACY} <= metrics.keys():
        return None
    num_right = round(metrics[TEST_RIGHT])
    num_images = num_right + round(metrics[TEST_WRONG])
    interval = accuracy_interval(num_right, num_images)
    return Tested(metrics[TEST_ACCURACY], interval, num_images)
