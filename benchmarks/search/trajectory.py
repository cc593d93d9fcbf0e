"""What a search recommends as its epochs are spent."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """The state of a search when a trial has ended, or is paused at a rung.

    Attributes:
        epochs: Epochs of the trials that have ended, those of a continued one counted once.
        recommended: Place of the recommended point in its table.
    """

    epochs: int
    recommended: int
