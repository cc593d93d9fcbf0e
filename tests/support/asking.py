"""Oracles that are asked and told to the end of their search."""

from collections.abc import Callable

from tuner.oracles.journal import JournaledOracle
from tuner.trial import Values

Tell = Callable[[JournaledOracle, str, Values], None]
"""Tells an oracle how a trial with these values has ended."""


def run(oracle: JournaledOracle, tell: Tell, in_flight: int = 1) -> list[Values]:
    """Run a search whose trials end in the order in which they began; return their values.

    Args:
        oracle: What proposes them.
        tell: Called for each that ends.
        in_flight: How many run at a time.
    """
    asked: list[tuple[str, Values]] = []
    points: list[Values] = []
    while (proposal := oracle.ask()) is not None or asked:
        if proposal is not None:
            asked.append((proposal.trial_id, proposal.values))
            points.append(proposal.values)
        if proposal is None or len(asked) == in_flight:
            tell(oracle, *asked.pop(0))
    return points
