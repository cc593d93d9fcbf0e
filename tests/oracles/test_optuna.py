"""What Optuna's samplers are told and learn, and that nothing recorded is drawn again."""

import json
import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from support.asking import run
from tuner.config.searches import CmaEsConfig, QmcConfig, RandomConfig, SearchConfig, TpeConfig
from tuner.config.space import Space
from tuner.oracles.journal import JournaledOracle
from tuner.oracles.optuna import TpeOracle
from tuner.oracles.optuna_axes import Axis
from tuner.outcomes import Told
from tuner.trial import Objective, Pruned, Value, Values, number

OBJECTIVE = Objective("val_loss", "min")
TPE = TpeConfig("tpe", max_trials=60)
CMAES = CmaEsConfig("cmaes", max_trials=60)
QMC = QmcConfig("qmc", max_trials=60)
LEARNING = pytest.mark.parametrize("search", [TPE, CMAES], ids=lambda search: search.oracle)
ALL = pytest.mark.parametrize("search", [TPE, CMAES, QMC], ids=lambda search: search.oracle)

RATE = {"min": 1e-5, "max": 1e-1, "log": True}
RANGES = {"rate": RATE, "width": {"min": 8, "max": 512, "step": 8}}
NESTED = {
    **RANGES,
    "optimizer": ["adam", "sgd", "rmsprop"],
    "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": ["sgd", "rmsprop"]}},
    "nesterov": {"choices": [True, False], "when": {"optimizer": "sgd"}},
    "warm": {"choices": ["a", "b"], "when": {"nesterov": True}},
}
LAYERED = {**RANGES, "layers": {"min": 1, "max": 3}, "units": [8, 16, 32]}


def parsed(space: Mapping[str, Any]) -> Space:
    return Space.parse({"epochs": 1, "batch_size": 8, **space}, "my.build")


def make(
    search: SearchConfig, space: Mapping[str, Any], folder: Path, seed: int = 0
) -> JournaledOracle:
    journal = folder / f"{search.oracle}-{seed}.jsonl"
    return JournaledOracle(search, parsed(space), OBJECTIVE, seed, journal)


def distance(values: Values) -> float:
    """Return how far values are from a rate of 1e-3 and a width of 128, in powers of ten."""
    rate, width = number(values["rate"]), number(values["width"])
    return abs(math.log10(rate / 1e-3)) + abs(math.log10(width / 128))


def tell(oracle: JournaledOracle, trial_id: str, values: Values) -> None:
    oracle.tell(trial_id, Told(distance(values)))


# What Optuna is told of the space.


@pytest.mark.parametrize(
    ("given", "distribution", "params"),
    [
        ({"min": 0.0, "max": 1.0}, FloatDistribution(0.0, 1.0), {0.0: 0.0, 1.0: 1.0}),
        (RATE, FloatDistribution(1e-5, 1e-1, log=True), {1e-5: 1e-5}),
        ({"min": 1, "max": 9}, IntDistribution(1, 9), {1: 1, 9: 9}),
        ({"min": 1, "max": 10, "step": 4}, IntDistribution(1, 9, step=4), {1: 1, 9: 9}),
        ({"min": 1, "max": 100, "log": True}, IntDistribution(1, 100, log=True), {7: 7}),
        (
            {"min": 8, "max": 70, "step": 8, "log": True},
            IntDistribution(8, 64, log=True),
            {8: 8, 64: 64},
        ),
        (
            {"min": 0.1, "max": 0.9, "step": 0.3, "log": True},
            FloatDistribution(0.1, 0.7, log=True),
            {0.4: 0.4},
        ),
        # By their index, so that the last bits are the configuration's.
        ({"min": 0.0, "max": 0.3, "step": 0.1}, IntDistribution(0, 3), {0.0: 0, 0.3: 3}),
        ([64, 16, 32], IntDistribution(0, 2), {16: 0, 32: 1, 64: 2}),
        ([1, 0.5], IntDistribution(0, 1), {0.5: 0, 1.0: 1}),
        (["b", "a", "c"], CategoricalDistribution((0, 1, 2)), {"b": 0, "c": 2}),
        ([False, True], CategoricalDistribution((0, 1)), {False: 0, True: 1}),
        ([None, 1, "1", True], CategoricalDistribution((0, 1, 2, 3)), {None: 0, "1": 2}),
    ],
)
def test_axis_holds_every_value(
    given: Any, distribution: BaseDistribution, params: dict[Value, float]
) -> None:
    dimension: Any = parsed({"size": given}).dimensions["size"]
    axis = Axis.of(dimension)
    assert axis.distribution == distribution
    assert {value: axis.param(value) for value in params} == params
    for value in dimension.options or params:
        again = axis.value(axis.param(value))
        assert (type(again), again) == (type(value), value)


def test_axis_tells_true_from_one() -> None:
    dimension: Any = parsed({"size": [1, True, 1.5]}).dimensions["size"]
    axis = Axis.of(dimension)
    assert [axis.param(option) for option in dimension.options] == [0, 1, 2]


def test_axis_takes_the_nearest_step_of_a_logarithmic_range() -> None:
    dimension: Any = parsed({"size": {"min": 8, "max": 64, "step": 8, "log": True}}).dimensions[
        "size"
    ]
    axis = Axis.of(dimension)
    assert [axis.value(param) for param in (8, 11, 13, 27, 29, 64)] == [8, 8, 16, 24, 32, 64]


def test_axis_keeps_to_the_bounds() -> None:
    dimension: Any = parsed({"size": {"min": 0.1, "max": 0.3, "log": True}}).dimensions["size"]
    axis = Axis.of(dimension)
    assert axis.value(math.exp(math.log(0.3)) + 1e-16) == 0.3
    assert axis.value(0.1 - 1e-17) == 0.1


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (RANGES, [["rate", "width"]]),
        (LAYERED, [["layers", "rate", "units_1", "width"], ["units_2"], ["units_3"]]),
        ({**LAYERED, "layers": 2}, [["rate", "units_1", "units_2", "width"]]),
        ({"layers": [2, 3], "units": [8, 16]}, [["layers", "units_1", "units_2"], ["units_3"]]),
        (
            NESTED,
            [["optimizer", "rate", "width"], ["momentum"], ["nesterov"], ["warm"]],
        ),
        ({}, []),
    ],
)
def test_tpe_samples_together_what_trials_have_together(
    space: Mapping[str, Any], expected: list[list[str]]
) -> None:
    assert TpeOracle(TPE, parsed(space), OBJECTIVE, 0).groups == expected


# What they propose.


def test_tpe_is_that_of_optuna(tmp_path: Path) -> None:
    """The same seeds and scores lead Optuna's own sampler, as it comes, to the same points."""
    space = {**RANGES, "kind": ["a", "b", "c"]}
    search = TpeConfig("tpe", max_trials=25)
    points = run(make(search, space, tmp_path), tell, in_flight=2)
    oracle = TpeOracle(search, parsed(space), OBJECTIVE, 0)
    study = optuna.create_study()
    asked: list[optuna.Trial] = []
    for i, point in enumerate(points):
        study.sampler = optuna.samplers.TPESampler(seed=oracle.seed_of_draw(f"{i:04d}", 0))
        trial = study.ask({name: axis.distribution for name, axis in oracle.axes.items()})
        assert trial.params == oracle.params(point)
        asked.append(trial)
        if len(asked) == 2:
            study.tell(ended := asked.pop(0), distance(points[ended.number]))


@pytest.mark.parametrize(
    "space", [RANGES, LAYERED, NESTED], ids=["ranges", "layers", "conditions"]
)
@LEARNING
def test_search_comes_nearer_than_random_points(
    search: SearchConfig, space: Mapping[str, Any], tmp_path: Path
) -> None:
    learned = run(make(search, space, tmp_path), tell, in_flight=3)
    drawn = run(make(RandomConfig("random", max_trials=60), space, tmp_path), tell)
    found, random = (
        statistics.median(map(distance, points[40:])) for points in (learned, drawn)
    )
    assert found < random / 2


@pytest.mark.parametrize("direction", ["min", "max"])
@LEARNING
def test_search_knows_which_scores_are_better(
    search: SearchConfig, direction: Any, tmp_path: Path
) -> None:
    space = parsed({"rate": {"min": 0.0, "max": 1.0}})
    objective = Objective("val_x", direction)
    oracle = JournaledOracle(search, space, objective, 0, tmp_path / "oracle.jsonl")
    rates = []
    while (proposal := oracle.ask()) is not None:
        rates.append(number(proposal.values["rate"]))
        oracle.tell(proposal.trial_id, Told(rates[-1]))
    assert (statistics.median(rates[40:]) > 0.75) == (direction == "max")
    assert (statistics.median(rates[40:]) < 0.25) == (direction == "min")


def test_qmc_fills_the_space_more_evenly_than_random_points(tmp_path: Path) -> None:
    """Each of 16 parts of equal size has one of the first 16 points."""
    space = {"rate": {"min": 0.0, "max": 1.0}, "kind": ["a", "b", "c"]}
    points = run(make(QMC, space, tmp_path), tell_nothing)
    assert sorted(int(16 * number(point["rate"])) for point in points[:16]) == list(range(16))
    kinds = [point["kind"] for point in points]
    assert {kinds.count(kind) for kind in "abc"} <= {19, 20, 21}


def tell_nothing(oracle: JournaledOracle, trial_id: str, values: Values) -> None:
    oracle.tell(trial_id, Told(None))


@pytest.mark.parametrize("in_flight", [1, 4])
@ALL
def test_every_point_of_a_small_space_is_asked_once(
    search: SearchConfig, in_flight: int, tmp_path: Path
) -> None:
    # 3 * (2 + 2 * 2) = 18 points, of which those with two layers have another value of two.
    space = {
        "rate": [1e-4, 1e-3, 1e-2], "width": 8, "layers": [1, 2], "units": [8, None],
        "skip": {"choices": [True, False], "when": {"layers": 2}},
    }  # fmt: skip
    points = run(make(search, space, tmp_path), tell, in_flight)
    assert len(points) == parsed(space).size() == 6 + 24
    assert len({json.dumps(point) for point in points}) == 30
    assert all(parsed(space).holds(point) for point in points)


# Trials that were pruned.


def pruned_trials(oracle: JournaledOracle) -> list[optuna.trial.FrozenTrial]:
    states = (optuna.trial.TrialState.PRUNED,)
    inner: Any = oracle._oracle
    found: list[optuna.trial.FrozenTrial] = inner.study.get_trials(states=states)
    return found


@ALL
def test_pruned_trial_has_its_state_and_its_values_in_optuna(
    search: SearchConfig, tmp_path: Path
) -> None:
    oracle = make(search, RANGES, tmp_path)
    for curve in ([0.9, 0.7, 0.5], [0.8, 0.9]):
        proposal = oracle.ask()
        assert proposal is not None
        if len(curve) == 2:
            oracle.prune(proposal.trial_id, Pruned(2, "worse"))
        # As with early stopping, which restores the best epoch.
        oracle.tell(proposal.trial_id, Told(min(curve), curve=curve))
    for one in (oracle, make(search, RANGES, tmp_path)):
        [pruned] = pruned_trials(one)
        assert pruned.intermediate_values == {0: 0.8, 1: 0.9}
        # By Optuna's rule.
        assert pruned.value == 0.9


@ALL
def test_pruned_trial_of_an_earlier_search_is_known_as_such(
    search: SearchConfig, tmp_path: Path
) -> None:
    first = make(search, RANGES, tmp_path)
    proposal = first.ask()
    assert proposal is not None
    first.prune(proposal.trial_id, Pruned(2, "worse"))
    first.tell(proposal.trial_id, Told(0.9, curve=[0.8, 0.9]))
    earlier = tmp_path / f"{search.oracle}-0.jsonl"
    later = JournaledOracle(
        search, parsed(RANGES), OBJECTIVE, 0, tmp_path / "later.jsonl", [earlier]
    )
    [pruned] = pruned_trials(later)
    assert pruned.intermediate_values == {0: 0.8, 1: 0.9}
    assert later.curves == {"0000": [0.8, 0.9]}
    assert later.pruned == {"0000": Pruned(2, "worse")}
    # The same point is proposed first, and is not trained again.
    proposal = later.ask()
    assert proposal is not None
    assert proposal.values != later.values["0000"]


# What a journal holds.


@ALL
def test_recorded_points_are_not_drawn_again(search: SearchConfig, tmp_path: Path) -> None:
    """A point that this machine would not draw counts, since it was trained."""
    oracle = make(search, RANGES, tmp_path)
    for _ in range(3):
        proposal = oracle.ask()
        assert proposal is not None
        oracle.tell(proposal.trial_id, Told(distance(proposal.values)))
    journal = tmp_path / f"{search.oracle}-0.jsonl"
    lines = list(map(json.loads, journal.read_text().splitlines()))
    last = next(line for line in lines if line.get("ask") == "0002")
    last["values"]["rate"] = last["memo"]["proposed"]["rate"] = 2e-3
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    resumed = make(search, RANGES, tmp_path)
    assert resumed.values["0002"]["rate"] == 2e-3
    assert resumed.num_told == 3
    assert resumed.ask() is not None


@ALL
def test_budget_decides_nothing_but_the_end(search: SearchConfig, tmp_path: Path) -> None:
    at_once = run(make(search, RANGES, tmp_path), tell)
    short = type(search)(search.oracle, max_trials=12)
    assert run(make(short, RANGES, tmp_path, seed=0), tell) == []
    (tmp_path / f"{search.oracle}-0.jsonl").unlink()
    begun = run(make(short, RANGES, tmp_path), tell)
    assert begun == at_once[:12]
    assert begun + run(make(search, RANGES, tmp_path), tell) == at_once


def test_optuna_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for search in (TPE, CMAES, QMC):
        oracle = make(search, LAYERED, tmp_path)
        for _ in range(12):
            proposal = oracle.ask()
            assert proposal is not None
            oracle.tell(proposal.trial_id, Told(distance(proposal.values)))
    assert capfd.readouterr() == ("", "")
