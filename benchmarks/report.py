"""The results in Markdown: medians, ratios, targets, and whether accuracies agree."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measure import Run
from benchmarks.rows import OURS, Row, TrialList

SPREADS = 2
"""How many standard deviations (of a trial over the seeds) two rows may differ by."""


@dataclass(frozen=True)
class Line:
    """The results of one row on one list.

    Attributes:
        seconds: Median seconds over the runs.
        trials_an_hour: Trials per hour at that pace.
        best: Best validation accuracy in a run, averaged over the runs.
        mean: Mean validation accuracy.
    """

    seconds: float
    trials_an_hour: float
    best: float
    mean: float


def summarise(runs: Sequence[Run]) -> Line:
    """Summarise the runs of one row and list in one line.

    Args:
        runs: At least one run; none of them failed.
    """
    seconds = statistics.median(run.seconds for run in runs)
    return Line(
        seconds,
        trials_an_hour=len(runs[0].accuracies) * 3600 / seconds,
        best=statistics.fmean(max(run.accuracies) for run in runs),
        mean=statistics.fmean(statistics.fmean(run.accuracies) for run in runs),
    )


def spread_over_seeds(rows: Sequence[Sequence[Run]]) -> float | None:
    """Return the standard deviation of one trial's accuracy over the seeds.

    It is pooled over all trials of all rows, each around its own mean.

    Args:
        rows: The runs of each row, with different seeds.

    Returns:
        None if no row has run with two seeds.
    """
    squares, degrees_of_freedom = 0.0, 0
    for runs in rows:
        for over_seeds in zip(*(run.accuracies for run in runs), strict=True):
            mean = statistics.fmean(over_seeds)
            squares += sum((accuracy - mean) ** 2 for accuracy in over_seeds)
            degrees_of_freedom += len(over_seeds) - 1
    return (squares / degrees_of_freedom) ** 0.5 if degrees_of_freedom else None


def agrees(line: Line, ours: Line, spread: float) -> bool:
    """Say whether best and mean accuracy of two rows differ by no more than seeds do."""
    apart = max(abs(line.best - ours.best), abs(line.mean - ours.mean))
    return apart <= SPREADS * spread


def section(trials: TrialList, rows: Sequence[Row], runs: Sequence[Run]) -> str:
    """Write the section of one list in Markdown.

    Args:
        trials: The list.
        rows: The rows to show, in order.
        runs: Runs of any lists and rows, in any order.
    """
    by_row = {
        row.name: [run for run in runs if (run.trials, run.row) == (trials.name, row.name)]
        for row in rows
    }
    failed = {
        name: next(run.error for run in of_row if run.error)
        for name, of_row in by_row.items()
        if any(run.error for run in of_row)
    }
    complete = {n: of_row for n, of_row in by_row.items() if of_row and n not in failed}
    lines = {name: summarise(of_row) for name, of_row in complete.items()}
    ours = lines.get(OURS)
    table = [
        "| | seconds | trials per hour | times ours | at least | best | mean |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        line = lines.get(row.name)
        cells = [""] * 6
        if row.name in failed:
            cells[0] = "failed"
        elif line is not None:
            ratio = line.seconds / ours.seconds if ours else None
            cells = [
                f"{line.seconds:.1f}",
                f"{line.trials_an_hour:.0f}",
                f"{ratio:.2f}" if ratio else "",
                _target(row.targets.get(trials.name), ratio),
                f"{line.best:.4f}",
                f"{line.mean:.4f}",
            ]
        table.append(f"| {' | '.join([row.title, *cells])} |")
    notes = [f"{row.title} failed: {failed[row.name]}" for row in rows if row.name in failed]
    if ours is not None:
        spread = spread_over_seeds(list(complete.values()))
        notes.append(_agreement(rows, lines, ours, spread))
        notes.append(_same(rows, complete))
    return "\n".join([f"## {trials.title}", "", *table, *(f"\n{note}" for note in notes), ""])


def _same(rows: Sequence[Row], complete: Mapping[str, Sequence[Run]]) -> str:
    """Name the rows whose trials have exactly our accuracies."""
    own = _accuracies(complete[OURS])
    same = [
        row.title
        for row in rows
        if row.name != OURS and row.name in complete and _accuracies(complete[row.name]) == own
    ]
    return f"All accuracies equal ours to the last digit in: {'; '.join(same) or 'none'}."


def _accuracies(runs: Sequence[Run]) -> dict[int, tuple[float, ...]]:
    return {run.seed: run.accuracies for run in runs}


def _target(at_least: float | None, ratio: float | None) -> str:
    if at_least is None or ratio is None:
        return ""
    return f"{at_least:.3g}: {'met' if ratio >= at_least else 'missed'}"


def _agreement(
    rows: Sequence[Row], lines: dict[str, Line], ours: Line, spread: float | None
) -> str:
    """Say which rows' accuracies differ from ours."""
    if spread is None:
        return "One run per row does not show how much accuracies vary with the seed."
    titles = {row.name: row.title for row in rows}
    outside = [titles[name] for name, line in lines.items() if not agrees(line, ours, spread)]
    said = f"Over the seeds, a trial's accuracy has a standard deviation of {spread:.4f}. "
    if outside:
        return said + f"**More than {SPREADS} of these from ours: {'; '.join(outside)}.**"
    return said + f"Best and mean of every row are within {SPREADS} of these from ours."
