"""What oracles are told of trials that break a constraint, and what they learn from it."""

import json
import statistics
from pathlib import Path

import pytest

from support.asking import run
from tuner.config.searches import (
    BayesianConfig,
    GridConfig,
    RandomConfig,
    SearchConfig,
    TpeConfig,
)
from tuner.config.space import Space
from tuner.oracles.journal import JournaledOracle
from tuner.oracles.oracle import Ended
from tuner.outcomes import Told
from tuner.trial import Objective, Values, number

ACCURACY = Objective("val_accuracy", "max")
SMALL = {"num_parameters": {"max": 1000}}
SPACE = {"width": {"min": 1, "max": 400}, "rate": {"min": 0.0, "max": 1.0}}


def parsed(**dimensions: object) -> Space:
    return Space.parse({"epochs": 1, "batch_size": 8, **(dimensions or SPACE)}, "my.build")


def open_oracle(
    search: SearchConfig, folder: Path, space: Space | None = None
) -> JournaledOracle:
    return JournaledOracle(search, space or parsed(), ACCURACY, 0, folder / "oracle.jsonl")


def tell(oracle: JournaledOracle, trial_id: str, values: Values) -> None:
    """Tell of a model with 100 parameters a unit, untrained if these are too many."""
    width = number(values["width"])
    size = {"num_parameters": 100 * width}
    oracle.tell(trial_id, Told(width / 400 if width <= 10 else None, measured=size))


def test_tpe_learns_where_models_are_too_large(tmp_path: Path) -> None:
    """One width in forty is within the limit; trials that were not trained show the way."""
    search = TpeConfig("tpe", max_trials=60, constraints=SMALL)
    points = run(open_oracle(search, tmp_path), tell)
    first, last = ([number(p["width"]) for p in part] for part in (points[:10], points[40:]))
    assert statistics.median(first) > 150
    assert statistics.median(last) < 75
    assert sum(width <= 10 for width in last) >= 3


@pytest.mark.parametrize(
    "search",
    [
        TpeConfig("tpe", max_trials=20, constraints=SMALL),
        BayesianConfig("bayesian", max_trials=8, constraints=SMALL),
        RandomConfig("random", max_trials=20, constraints=SMALL),
    ],
    ids=lambda search: search.oracle,
)
def test_resumed_search_proposes_the_same(search: SearchConfig, tmp_path: Path) -> None:
    (at_once := tmp_path / "at-once").mkdir()
    points = run(open_oracle(search, at_once), tell)
    again = []
    while (proposal := (oracle := open_oracle(search, tmp_path)).ask()) is not None:
        again.append(proposal.values)
        tell(oracle, proposal.trial_id, proposal.values)
    assert again == points


def test_trial_that_breaks_a_constraint_is_not_tried_again(tmp_path: Path) -> None:
    search = GridConfig("grid", constraints=SMALL)
    space = parsed(width=[5, 20, 30])
    assert len(run(open_oracle(search, tmp_path, space), tell)) == 3
    # With another limit, the trials that were not trained are asked for: two of them now may.
    (tmp_path / "later").mkdir()
    wider = GridConfig("grid", constraints={"num_parameters": {"max": 2500}})
    oracle = JournaledOracle(
        wider, space, ACCURACY, 0, tmp_path / "later" / "x.jsonl", [tmp_path / "oracle.jsonl"]
    )
    asked = oracle.ask()
    assert asked is not None
    assert (asked.trial_id, asked.values["width"]) == ("0003", 20)
    oracle.tell("0003", Told(0.5, measured={"num_parameters": 2000}))
    assert oracle.ask() is None


def test_journal_keeps_what_constraints_look_at(tmp_path: Path) -> None:
    oracle = open_oracle(RandomConfig("random", max_trials=1, constraints=SMALL), tmp_path)
    assert oracle.ask() is not None
    oracle.tell("0000", Told(0.5, measured={"num_parameters": 3000.0}))
    lines = (tmp_path / "oracle.jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == {
        "tell": "0000",
        "score": 0.5,
        "measured": {"num_parameters": 3000.0},
    }
    assert oracle.scores == {"0000": 0.5}


@pytest.mark.parametrize(
    ("violations", "is_feasible", "is_infeasible"),
    [
        ({}, True, False),
        ({"a": 0.0, "b": -1.0}, True, False),
        ({"a": 0.1, "b": -1.0}, False, True),
        ({"a": 0.1, "b": None}, False, True),
        ({"a": 0.0, "b": None}, False, False),
    ],
)
def test_trial_is_feasible_only_if_all_is_known(
    violations: dict[str, float | None], is_feasible: bool, is_infeasible: bool
) -> None:
    ended = Ended(0.5, violations)
    assert (ended.is_feasible, ended.is_infeasible) == (is_feasible, is_infeasible)
    assert ended.score == (0.5 if is_feasible else None)
