"""Which trials cannot be told apart from the best: differences that may be chance."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.evaluation import accuracy_interval
from tuner.names import TEST_ACCURACY, TEST_RIGHT, TEST_WRONG
from tuner.trial import Metrics


@dataclass(frozen=True)
class Ties:
    """The trials whose test accuracy lies within the 95 % interval of the best trial's.

    Attributes:
        interval: Lowest and highest true accuracy of the best trial, in `[0, 1]`.
        num_images: Test images that were predicted.
        trial_ids: The trials tied with the best, itself not among them.
        higher: The trials that lie above the interval, which can be since the best trial is
            chosen by its validation images.
        num_others: How many trials were compared with it.
    """

    interval: tuple[float, float]
    num_images: int
    trial_ids: tuple[str, ...]
    higher: tuple[str, ...]
    num_others: int

    @property
    def said(self) -> str:
        """One sentence about them."""
        low, high = self.interval
        where = f"With {self.num_images:,} test images, its true accuracy lies between "
        where += f"{low:.4f} and {high:.4f} (95 %)"
        if not self.num_others:
            return f"{where}."
        who = f"{len(self.trial_ids):,} cannot" if self.trial_ids else "all can"
        more = f", and {len(self.higher):,} did better" if self.higher else ""
        return (
            f"{where}. Of the other trials ({self.num_others:,}), {who} be told apart from "
            f"it{more}."
        )


def find_ties(best: str, trials: Mapping[str, Metrics]) -> Ties | None:
    """Find the trials that are tied with the best.

    Args:
        best: The best trial, one of `trials`.
        trials: Metrics of all finished trials of a study.

    Returns:
        None where it was not counted what the best trial got right.
    """
    metrics = trials[best]
    if not {TEST_RIGHT, TEST_WRONG} <= metrics.keys():
        return None
    num_right = round(metrics[TEST_RIGHT])
    num_images = num_right + round(metrics[TEST_WRONG])
    low, high = accuracy_interval(num_right, num_images)
    others = {
        name: found[TEST_ACCURACY]
        for name, found in trials.items()
        if name != best and TEST_ACCURACY in found
    }
    tied = tuple(name for name, accuracy in others.items() if low <= accuracy <= high)
    higher = tuple(name for name, accuracy in others.items() if accuracy > high)
    return Ties((low, high), num_images, tied, higher, len(others))
