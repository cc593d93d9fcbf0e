"""What a search may improve, and in which direction."""

from tuner import names
from tuner.models import DIRECTIONS
from tuner.trial import Objective

OF_MODEL = {names.NUM_PARAMETERS: "min", names.LATENCY_MS: "min"}
"""The objectives that are no validation metrics, with their directions."""

KNOWN = {**DIRECTIONS, **OF_MODEL}
"""The objectives whose directions need not be said."""


def listed(given: object) -> list[object]:
    """Return one value, or a list of them, as a list; None gives an empty one."""
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def make_objective(given: object, directions: object) -> Objective:
    """Return what `search.objective` and `search.direction` say, which have been checked.

    Args:
        given: The name of one metric, or a list of them, the first of which ranks trials.
        directions: A direction for each; None, for one or for all, stands for its own.
    """
    wanted = [str(name) for name in listed(given)]
    said = listed(directions) or [None] * len(wanted)
    first, *others = (
        Objective(name, "max" if (direction or KNOWN[name]) == "max" else "min")
        for name, direction in zip(wanted, said, strict=True)
    )
    return Objective(first.name, first.direction, tuple(others))
