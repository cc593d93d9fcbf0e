"""The part of a report on the finalists: their scores under new seeds, and which has won."""

from __future__ import annotations

from collections.abc import Iterator

from tuner import names
from tuner.evaluation.racing import Race
from tuner.reports import overview
from tuner.reports.page import Chart, Link, Section, Table
from tuner.reports.plotting import BEST, OTHER, TIED, Figure, figure, plain, round_all
from tuner.reports.records import StudyRecord
from tuner.wording import plural

TITLE = "The finalists"


def section(study: StudyRecord) -> Iterator[Section]:
    """Show the finalists of a study, if it has any."""
    race = study.race
    if race is None:
        return
    text = [
        f"The search could not tell these {plural(len(race.scores), 'trial')} apart, so each "
        f"was trained again with new seeds, which took no part in the search. Trial "
        f"{race.winner} has won: {race}." + (f" {race.lead}" if race.lead is not None else ""),
        f"Its model is that of seed {race.median}, its median one. Scores in the search "
        f"promise too much: these trials were chosen because they did well with that one seed. "
        f"Intervals are those of the expected score over seeds, on the same validation images.",
    ]
    chart = Chart("finalists", scores(study, race), height=120 + 42 * len(race.scores))
    yield Section(TITLE, text, [chart], [_table(study, race)])


def scores(study: StudyRecord, race: Race) -> Figure:
    """Draw a row of scores for each finalist, the winner on top."""
    upwards = _ordered(race)[::-1]
    places = {trial: place for place, trial in enumerate(upwards)}
    with_scores = [trial for trial in upwards if race.scores[trial]]
    searched = {t.trial_id: study.score(t) for t in study.finished if t.trial_id in places}
    points = [
        (score, places[trial], f"trial {trial}, seed {number}")
        for trial in upwards
        for number, score in enumerate(race.scores[trial], 1)
    ]
    intervals = [race.interval(trial) or (race.mean(trial),) * 2 for trial in with_scores]
    means = [race.mean(trial) for trial in with_scores]
    pairs = list(zip(intervals, means, strict=True))
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "mean, with its 95 % interval",
            "x": round_all(means),
            "y": [places[trial] for trial in with_scores],
            "text": [f"trial {plain(trial)}, mean" for trial in with_scores],
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": round_all(i[1] - mean for i, mean in pairs),
                "arrayminus": round_all(mean - i[0] for i, mean in pairs),
                "color": BEST,
            },
            "marker": {"color": BEST, "size": 11, "symbol": "diamond"},
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "with a new seed",
            "x": round_all(score for score, _, _ in points),
            "y": [place for _, place, _ in points],
            "text": [plain(text) for _, _, text in points],
            "marker": {"color": TIED, "size": 8},
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "in the search",
            "x": round_all(searched.values()),
            "y": [places[trial] for trial in searched],
            "text": [f"trial {plain(trial)}, in the search" for trial in searched],
            "marker": {
                "color": OTHER,
                "size": 10,
                "symbol": "circle-open",
                "line": {"width": 2},
            },
        },
    ]
    for trace in data:
        trace["hovertemplate"] = "%{text}: %{x:.4f}<extra></extra>"
    drawn = figure(data, race.objective.name, "")
    drawn["layout"]["yaxis"] |= {
        "tickvals": list(range(len(upwards))),
        "ticktext": [plain(trial) for trial in upwards],
        "range": [-0.5, len(upwards) - 0.5],
    }
    drawn["layout"]["xaxis"] |= {"nticks": 6}
    return drawn


def _table(study: StudyRecord, race: Race) -> Table:
    numbers = range(1, len(race.seeds) + 1)
    head = (
        "trial", "mean", "95 % interval", *(f"seed {number}" for number in numbers),
        "in the search", "",
    )  # fmt: skip
    runs = {trial.trial_id: trial.run_id for trial in [*study.trials, *study.finalists]}
    searched = {trial.trial_id: f"{study.score(trial):.4f}" for trial in study.finished}

    def linked(text: str, name: str) -> str | Link:
        return overview.link(study, text, runs[name]) if name in runs else text

    rows = []
    for trial in _ordered(race):
        found = race.scores[trial]
        interval = race.interval(trial) if found else None
        cells = [
            linked(f"{found[number - 1]:.4f}", names.finalist_name(trial, number))
            if number <= len(found)
            else ""
            for number in numbers
        ]
        rows.append(
            (
                linked(trial, trial),
                f"{race.mean(trial):.4f}" if found else "",
                "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
                *cells,
                searched.get(trial, ""),
                _ending(race, trial),
            )
        )
    return Table(head, rows, marked=(0,))


def _ordered(race: Race) -> list[str]:
    """Return the finalists, the winner first, those that left early last."""
    rank = race.objective.rank
    kept = [trial for trial, found in race.scores.items() if found]
    best_first = sorted(
        kept, key=lambda t: (t != race.winner, -len(race.scores[t]), rank(race.mean(t), t))
    )
    return [*best_first, *(trial for trial, found in race.scores.items() if not found)]


def _ending(race: Race, trial: str) -> str:
    if trial == race.winner:
        return "winner"
    if not (found := race.scores[trial]):
        return "failed"
    return "" if trial in race.remaining else f"left after {plural(len(found), 'seed')}"
