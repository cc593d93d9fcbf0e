"""`make torture`: hit a study again and again, and see that nothing is ever lost.

    python -m torture.run [--rounds 100] [--seed 0] [--fault NAME]

Every round runs one study of 24 short trials with two workers in a folder of its own, hits it
once at a random moment, gives the same command again until it is complete, and compares what is
recorded with a run that nobody has disturbed.
"""

import argparse
import dataclasses
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from torture.faults import FAULTS, Fault
from torture.study import NUM_TRIALS, Place, Record, Unclear, check_end, record

MAX_STARTS = 6
"""How often the command is given until the study must be complete."""


@dataclass
class Score:
    """What became of the trials of all rounds of one fault: each number must be 0 but `times`.

    Attributes:
        times: Rounds.
        lost: Trials that are not finished, or of which the oracle was not told.
        doubled: Trials with two runs, or of which the oracle was told twice.
        differing: Trials whose values or metrics are not those of the undisturbed run; and
            studies whose best trial or champion is not.
        too_often: Epochs trained again beyond one for each worker that was stopped.
        left: Files left beside the study and the store.
    """

    times: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    too_often: int = 0
    left: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing went wrong."""
        return not any(dataclasses.astuple(self)[1:])

    def add(self, seen: Record, expected: Record, fault: Fault) -> None:
        """Count what a round has left."""
        self.times += 1
        for trial_id, wanted in expected.trials.items():
            found = seen.trials.get(trial_id, [])
            told = seen.num_told.get(trial_id, 0)
            self.lost += not found or found[0].status != "FINISHED" or not told
            self.doubled += len(found) > 1 or told > 1
            self.differing += bool(found) and found[0] != wanted[0]
        self.doubled += len(seen.trials.keys() - expected.trials.keys())
        self.differing += seen.summary != expected.summary
        self.too_often += max(seen.trained_again - fault.num_kills, 0)
        self.left += len(seen.others - expected.others)


def differences(seen: Record, expected: Record) -> list[str]:
    """Say what a round has left otherwise than the undisturbed run."""
    pairs: dict[str, tuple[object, object]] = {
        f"trial {trial_id}": (seen.trials.get(trial_id), expected.trials.get(trial_id))
        for trial_id in sorted(seen.trials.keys() | expected.trials)
    }
    pairs["study"] = (seen.summary, expected.summary)
    return [
        f"{name} is {found}, and should be {wanted}"
        for name, (found, wanted) in pairs.items()
        if found != wanted
    ]


def undisturbed(folder: Path, search: str) -> Record:
    """Run the study to its end, and return what all others are compared with."""
    folder.mkdir(parents=True)
    place = Place(folder, search)
    status = check_end(place.start())
    seen = record(place)
    if status != 0 or len(seen.trials) != NUM_TRIALS:
        raise Unclear(f"The undisturbed run ended with {status}.")
    return seen


def one_round(
    fault: Fault, folder: Path, search: str, delay: float, seed: int
) -> Record | None:
    """Run a study, hit it once, and bring it to its end.

    Args:
        fault: What hits it.
        folder: Made anew.
        search: A key of `torture.study.SEARCHES`.
        delay: Seconds from the start to the hit.
        seed: Of all else that is random.

    Returns:
        What it has left, or None if it was over before the hit: that would show nothing.

    Raises:
        Unclear: If it does not come to its end, or ends otherwise than with a clear message.
    """
    drawn = random.Random(seed)
    folder.mkdir(parents=True)
    with fault.place(folder, search) as place:
        process = place.start()
        time.sleep(delay)
        if place.is_finished:
            check_end(process)
            return None
        fault.hit(process, place, drawn)
        check_end(process)
        fault.after(place, drawn)
        for _ in range(MAX_STARTS):
            if check_end(place.start()) == 0:
                return record(place)
        raise Unclear(f"It was not complete after {MAX_STARTS} starts.")


def torture(
    rounds: int, seed: int, names: Sequence[str], searches: Sequence[str], console: Console
) -> tuple[Mapping[str, Score], list[str]]:
    """Run so many rounds, the faults in turn, and return what came of them.

    Args:
        rounds: How many.
        seed: Of the moments and of all else that is random.
        names: Of the faults.
        searches: Keys of `torture.study.SEARCHES`, of which one is drawn for each round.
        console: Gets a line for each round.

    Returns:
        The scores by fault, and what was unclear.
    """
    drawn = random.Random(seed)
    scores = {name: Score() for name in names}
    unclear: list[str] = []
    with tempfile.TemporaryDirectory(prefix="glassy-torture-") as root:
        expected, seconds = {}, {}
        for search in searches:
            begin = time.perf_counter()
            expected[search] = undisturbed(Path(root, f"undisturbed-{search}"), search)
            seconds[search] = time.perf_counter() - begin
        for i, name in zip(range(rounds), itertools.cycle(names), strict=False):
            search = drawn.choice(searches)
            fault, delay = FAULTS[name](), drawn.uniform(0.5, seconds[search])
            folder = Path(root, f"round-{i}")
            other_seed = drawn.randrange(2**31)
            try:
                while (seen := one_round(fault, folder, search, delay, other_seed)) is None:
                    shutil.rmtree(folder)
                    delay /= 2
                scores[name].add(seen, expected[search], fault)
                said = f"{seen.trained_again} epochs trained again"
                said += "".join(f"\n  {line}" for line in differences(seen, expected[search]))
            except Unclear as error:
                scores[name].times += 1
                unclear.append(f"{name} ({search}, after {delay:.1f} s): {error}")
                said = f"unclear: {error}"
            console.print(f"{i + 1} of {rounds}  {name}  {search} after {delay:.1f} s  {said}")
            shutil.rmtree(folder, ignore_errors=True)
    return scores, unclear


def main() -> None:
    """Torture, print the table, and fail if anything in it is not 0."""
    parser = argparse.ArgumentParser(prog="torture.run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="append", choices=FAULTS)
    arguments = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    names = []
    for name in arguments.fault or FAULTS:
        fault = FAULTS[name]()
        if (obstacle := fault.obstacle()) is None:
            names.append(name)
        else:
            console.print(f"left out: {name} ({obstacle})")
    scores, unclear = torture(
        arguments.rounds, arguments.seed, names, ["grid", "random"], console
    )
    table = Table("fault", "times", "lost", "doubled", "differing", "too often", "left")
    for name, score in scores.items():
        table.add_row(name, *map(str, dataclasses.astuple(score)))
    console.print(table)
    for line in unclear:
        console.print(f"unclear: {line}")
    sys.exit(0 if not unclear and all(score.is_clean for score in scores.values()) else 1)


if __name__ == "__main__":
    main()
