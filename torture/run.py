"""`make torture`: hit a study repeatedly, and check that nothing is ever lost.

    python -m torture.run [--rounds 100] [--seed 0] [--fault NAME] [--search NAME]

Every round runs one study of 24 short trials, in its own folder, with two workers unless
trials depend on each other, hits it once at a random moment, repeats the same command until the
study is complete, and compares its records with those of an undisturbed run.
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
from torture.study import NUM_TRIALS, SEARCHES, Place, Record, Unclear, check_end, record

HIT = ("grid", "random", "repeats", "tpe", "asha")
"""The searches that are hit in turn, unless others are asked for."""

MAX_STARTS = 6
"""Number of times that the command is given, after which the study must be complete."""


@dataclass
class Score:
    """The result of all rounds with one fault: every number except `times` must be 0.

    Attributes:
        times: Number of rounds.
        lost: Trials that are not finished, or that the oracle was not told about.
        doubled: Trials with two runs, or that the oracle was told about twice.
        differing: Trials whose values or metrics differ from the undisturbed run, and studies
            whose best trial or champion does.
        too_often: Epochs trained again, beyond one per worker that was stopped.
        left: Files left besides the study and the store.
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
        """Count the results of a round."""
        self.times += 1
        for trial_id, wanted in expected.trials.items():
            found = seen.trials.get(trial_id, [])
            told = seen.num_told.get(trial_id, 0)
            self.lost += not found or found[0].status != "FINISHED" or not told
            # A trial that is paused at rungs is told of at each.
            self.doubled += len(found) > 1 or told > expected.num_told[trial_id]
            self.differing += bool(found) and found[0] != wanted[0]
        self.doubled += len(seen.trials.keys() - expected.trials.keys())
        self.differing += seen.summary != expected.summary
        self.too_often += max(seen.trained_again - fault.num_kills, 0)
        self.left += len(seen.others - expected.others)


def differences(seen: Record, expected: Record) -> list[str]:
    """Say how the results of a round differ from the undisturbed run."""
    pairs: dict[str, tuple[object, object]] = {
        f"trial {trial_id}": (seen.trials.get(trial_id), expected.trials.get(trial_id))
        for trial_id in sorted(seen.trials.keys() | expected.trials)
    }
    pairs["study"] = (seen.summary, expected.summary)
    return [
        f"{name} is {found}, but should be {wanted}"
        for name, (found, wanted) in pairs.items()
        if found != wanted
    ]


def undisturbed(folder: Path, search: str) -> Record:
    """Run the study to its end undisturbed, and return its record for comparison."""
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
        fault: The fault that hits it.
        folder: A folder to make.
        search: A key of `torture.study.SEARCHES`.
        delay: Seconds from the start to the hit.
        seed: Seed of everything else that is random.

    Returns:
        Its record, or None if it was over before the hit, which would show nothing.

    Raises:
        Unclear: If it does not end, or fails without a clear message.
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
        raise Unclear(f"The study was not complete after {MAX_STARTS} starts.")


def torture(
    rounds: int, seed: int, names: Sequence[str], searches: Sequence[str], console: Console
) -> tuple[Mapping[str, Score], list[str]]:
    """Run rounds with the faults in turn, and return the results.

    Args:
        rounds: Number of rounds.
        seed: Seed of the moments and of everything else that is random.
        names: Names of the faults.
        searches: Keys of `torture.study.SEARCHES`, one of which is drawn for each round.
        console: Shows a line per round.

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
                said = f"epochs trained again: {seen.trained_again}"
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
    parser.add_argument("--search", action="append", choices=SEARCHES)
    arguments = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    names = []
    for name in arguments.fault or FAULTS:
        fault = FAULTS[name]()
        if (obstacle := fault.obstacle()) is None:
            names.append(name)
        else:
            console.print(f"skipped: {name} ({obstacle})")
    scores, unclear = torture(
        arguments.rounds, arguments.seed, names, arguments.search or HIT, console
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
