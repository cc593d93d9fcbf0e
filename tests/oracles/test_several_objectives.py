"""Oracles that are given several objectives: what they learn, and that a study is resumed."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from support.asking import Tell, run
from tuner.config.searches import (
    SEARCHES,
    GridConfig,
    NsgaConfig,
    QmcConfig,
    RandomConfig,
    SearchConfig,
    TpeConfig,
)
from tuner.config.space import Space
from tuner.oracles.journal import JournaledOracle
from tuner.oracles.optuna_nsga import NsgaOracle
from tuner.outcomes import Told
from tuner.trial import Objective, Values, number

BOTH = Objective("val_accuracy", "max", (Objective("num_parameters", "min"),))
SPACE = {
    "width": {"min": 1, "max": 400},
    "rate": {"min": 0.0, "max": 1.0},
    "kind": ["a", "b"],
    "decay": {"min": 0.5, "max": 0.9, "when": {"kind": ["a"]}},
}
SMALL = {"num_parameters": {"max": 10_000}}
NSGA = NsgaConfig("nsga2", max_trials=60, population_size=8)
SEVERAL = [
    TpeConfig("tpe", max_trials=60),
    NSGA,
    QmcConfig("qmc", max_trials=20),
    RandomConfig("random", max_trials=20),
]
LIMITED = [
    TpeConfig("tpe", max_trials=30, constraints=SMALL),
    NsgaConfig("nsga2", max_trials=30, population_size=4, constraints=SMALL),
]


def parsed(**dimensions: object) -> Space:
    return Space.parse({"epochs": 1, "batch_size": 8, **(dimensions or SPACE)}, "my.build")


def open_oracle(
    search: SearchConfig, folder: Path, earlier: Sequence[Path] = ()
) -> JournaledOracle:
    return JournaledOracle(search, parsed(), BOTH, 0, folder / "oracle.jsonl", earlier)


def telling(search: SearchConfig) -> Tell:
    """Tell of networks that are better the wider they are, and the nearer their rate is to 0.5.

    Those beyond the search's limits are not trained.
    """

    def tell(oracle: JournaledOracle, trial_id: str, values: Values) -> None:
        width, rate = number(values["width"]), number(values["rate"])
        is_trained = not search.constraints or width <= 100
        score = width / 400 - 2 * abs(rate - 0.5) if is_trained else None
        oracle.tell(trial_id, Told(score, measured={"num_parameters": 100 * width}))

    return tell


@pytest.mark.parametrize("search", SEVERAL[:2], ids=lambda search: search.oracle)
def test_search_learns_what_is_good_for_any_trade_off(
    search: SearchConfig, tmp_path: Path
) -> None:
    """The rate should be near 0.5 whatever the width; the widths stay apart."""
    points = run(open_oracle(search, tmp_path), telling(search), in_flight=3)
    off = [abs(number(point["rate"]) - 0.5) for point in points]
    assert statistics.median(off[40:]) < 0.6 * statistics.median(off[:10])
    widths = sorted(number(point["width"]) for point in points[40:])
    assert widths[-1] - widths[0] > 100


@pytest.mark.parametrize("search", [*SEVERAL, *LIMITED], ids=lambda search: str(search)[:40])
def test_search_resumed_at_every_trial_proposes_the_same(
    search: SearchConfig, tmp_path: Path
) -> None:
    (at_once := tmp_path / "at-once").mkdir()
    points = run(open_oracle(search, at_once), telling(search), in_flight=2)
    again: list[Values] = []
    flight: list[tuple[str, Values]] = []
    while True:
        oracle = open_oracle(search, tmp_path)
        # Those in flight come first, as in a study that was interrupted.
        for _ in flight:
            oracle.ask()
        proposal = oracle.ask()
        if proposal is not None:
            again.append(proposal.values)
            flight.append((proposal.trial_id, proposal.values))
        if not flight:
            break
        if proposal is None or len(flight) == 2:
            telling(search)(oracle, *flight.pop(0))
    assert again == points


@pytest.mark.parametrize("search", LIMITED, ids=lambda search: search.oracle)
def test_search_learns_from_trials_that_were_not_trained(
    search: SearchConfig, tmp_path: Path
) -> None:
    points = run(open_oracle(search, tmp_path), telling(search))
    first, last = ([number(p["width"]) for p in part] for part in (points[:10], points[20:]))
    assert sum(width <= 100 for width in last) > sum(width <= 100 for width in first)


def test_journal_keeps_one_score_and_the_other_objectives_beside_it(tmp_path: Path) -> None:
    oracle = open_oracle(RandomConfig("random", max_trials=1), tmp_path)
    assert oracle.ask() is not None
    oracle.tell("0000", Told(0.5, measured={"num_parameters": 300}))
    line = json.loads((tmp_path / "oracle.jsonl").read_text().splitlines()[-1])
    assert line == {"tell": "0000", "score": 0.5, "measured": {"num_parameters": 300}}
    assert oracle.scores == {"0000": 0.5}


def test_nsga_is_that_of_optuna(tmp_path: Path) -> None:
    """The same seeds and scores lead Optuna's own sampler, as it comes, to the same points."""
    space = parsed(width={"min": 1, "max": 400}, rate={"min": 0.0, "max": 1.0})
    search = NsgaConfig("nsga2", max_trials=30, population_size=6)
    journaled = JournaledOracle(search, space, BOTH, 0, tmp_path / "oracle.jsonl")
    points = run(journaled, telling(search), in_flight=2)
    oracle = NsgaOracle(search, space, BOTH, 0)
    study = optuna.create_study(directions=["maximize", "minimize"])
    asked: list[tuple[optuna.Trial, Values]] = []
    drawn: list[dict[str, Any]] = []
    for i, point in enumerate(points):
        for k in range(20):
            seed = oracle.seed_of_draw(f"{i:04d}", k)
            study.sampler = optuna.samplers.NSGAIISampler(population_size=6, seed=seed)
            trial = study.ask({n: axis.distribution for n, axis in oracle.axes.items()})
            if trial.params not in drawn:
                break
            # Crossing may make a point anew; none is tried twice.
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        assert trial.params == oracle.params(point)
        drawn.append(trial.params)
        asked.append((trial, point))
        if len(asked) == 2:
            ended, values = asked.pop(0)
            width, rate = number(values["width"]), number(values["rate"])
            study.tell(ended, [width / 400 - 2 * abs(rate - 0.5), 100 * width])


def test_nsga_goes_on_from_the_trials_of_an_earlier_search(tmp_path: Path) -> None:
    """A generation's worth of good trials are its parents at once."""
    (earlier := tmp_path / "earlier").mkdir()
    run(open_oracle(NSGA, earlier), telling(NSGA))
    oracle = open_oracle(NSGA, tmp_path, [earlier / "oracle.jsonl"])
    assert oracle.num_told == 60
    wider = NsgaConfig("nsga2", max_trials=80, population_size=8)
    points = run(open_oracle(wider, tmp_path, [earlier / "oracle.jsonl"]), telling(wider))
    assert len(points) == 20
    assert statistics.median(abs(number(point["rate"]) - 0.5) for point in points) < 0.2


def test_grid_is_given_several_objectives(tmp_path: Path) -> None:
    space = parsed(width=[1, 2, 3])
    oracle = JournaledOracle(GridConfig("grid"), space, BOTH, 0, tmp_path / "oracle.jsonl")
    while (proposal := oracle.ask()) is not None:
        oracle.tell(proposal.trial_id, Told(0.5, measured={"num_parameters": 1}))
    assert len(oracle.scores) == 3


def test_searches_that_know_several_objectives() -> None:
    able = {name for name, entry in SEARCHES.items() if entry.knows_several}
    assert able >= {"random", "grid", "tpe", "qmc", "nsga2"}
    assert not able & {"bayesian", "hyperband", "cmaes"}
