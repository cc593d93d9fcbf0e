"""What a proposal costs: after 10, 100 and 1,000 trials, and to resume from 1,000.

    python -m benchmarks.proposal_cost [search …]

Asks and tells an oracle with its journal, as the driver does, four trials in flight at a time,
whose scores follow from their values. One space is of ranges and widths; the other of choices
alone, where a model soon proposes points again that it must not.
"""

import itertools
import math
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.config.searches import SEARCHES
from tuner.config.space import Space
from tuner.errors import ConfigError
from tuner.oracles.journal import JournaledOracle
from tuner.outcomes import Told
from tuner.trial import Objective, Proposal, is_number

SPACES: Mapping[str, Mapping[str, Any]] = {
    "ranges": {
        "epochs": {"min": 1, "max": 27},
        "batch_size": [16, 32, 64, 128],
        "layers": {"min": 1, "max": 3},
        "units": {"min": 32, "max": 512, "step": 32},
        "optimizer": ["adam", "sgd", "rmsprop"],
        "learning_rate": {"min": 1e-4, "max": 1e-1, "log": True},
        "dropout": {"min": 0.0, "max": 0.5},
        "decay": {"min": 1e-6, "max": 1e-2, "log": True},
    },
    "choices": {
        "epochs": [1, 3, 9, 27],
        "batch_size": [16, 32, 64, 128],
        "layers": [1, 2],
        "units": [32, 64, 128, 256, 512],
        "optimizer": ["adam", "sgd", "rmsprop"],
        "learning_rate": [1e-4, 1e-3, 1e-2, 1e-1],
        "dropout": [0.0, 0.25, 0.5],
    },
}
STAGES = (10, 100, 1000)
IN_FLIGHT = 4
OBJECTIVE = Objective("val_accuracy", "max")


def score(proposal: Proposal) -> float:
    """Score values by a function with one hill, on which the model climbs."""
    numbers = [float(v) for v in proposal.values.values() if is_number(v)]
    return -sum(math.log1p(abs(n)) for n in numbers) + len(str(proposal.values)) % 3


def measure(name: str, kind: str, folder: Path) -> None:
    """Print the cost of one search's proposals in one space."""
    search = SEARCHES[name](name, max_trials=STAGES[-1] + 20)
    space = Space.parse(SPACES[kind], "my.build")
    try:
        search.check(space)
    except ConfigError:
        return
    journal = folder / f"{name} {kind}.jsonl"

    def opened() -> JournaledOracle:
        return JournaledOracle(search, space, OBJECTIVE, 0, journal)

    oracle = opened()
    in_flight: deque[Proposal] = deque()
    seconds: list[float] = []
    while True:
        begun = time.process_time()
        proposal = oracle.ask()
        seconds.append(time.process_time() - begun)
        if proposal is None:
            break
        in_flight.append(proposal)
        if len(in_flight) == IN_FLIGHT:
            ended = in_flight.popleft()
            oracle.tell(ended.trial_id, Told(score(ended)))
    begun = time.process_time()
    opened()
    resumed = time.process_time() - begun
    costs = [[1000 * s for s in seconds[n : n + 20]] for n in STAGES if len(seconds) > n + 20]
    medians = [statistics.median(part) for part in costs]
    longest = max(itertools.chain.from_iterable(costs))
    cells = " | ".join(f"{cost:.1f}" for cost in (*medians, longest))
    print(f"| `{name}` | {kind} | {cells} | {resumed:.2f} |", flush=True)


def main(names: list[str]) -> None:
    """Print the table."""
    print(f"| search | space | {' | '.join(map(str, STAGES))} | longest | resumed |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name in names or ["random", "tpe", "cmaes", "qmc"]:
            for kind in SPACES:
                measure(name, kind, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
