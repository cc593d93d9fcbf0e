"""Asking and telling the oracles, and resuming from their journal."""

import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tuner.config.searches import (
    AshaConfig,
    BayesianConfig,
    CmaEsConfig,
    GridConfig,
    HyperbandConfig,
    QmcConfig,
    RandomConfig,
    SearchConfig,
    TpeConfig,
)
from tuner.config.space import Space
from tuner.errors import StudyError
from tuner.oracles.journal import JournaledOracle
from tuner.outcomes import Told
from tuner.trial import Objective, Proposal, Pruned, Values

OBJECTIVE = Objective("val_accuracy", "max")

# 2 * (2 + 2 * 2) = 12 points without the rate.
SPACE: Mapping[str, Any] = {
    "epochs": 3,
    "batch_size": [16, 32],
    "layers": [1, 2],
    "units": [8, 16],
    "rate": {"min": 1e-4, "max": 1e-2, "log": True},
    "kind": "a",
}
LISTED = {**SPACE, "rate": 1e-3}

CONDITIONS: Mapping[str, Any] = {
    "warm": {"choices": ["a", "b"], "when": {"momentum": 0.9}},
    "momentum": {"min": 0.5, "max": 0.9, "step": 0.2, "when": {"optimizer": ["sgd"]}},
    "optimizer": ["adam", "rmsprop", "sgd"],
}

RANDOM = RandomConfig("random", max_trials=5)
GRID = GridConfig("grid")
# Ends before its model guides it, which takes seconds a proposal in a space of this size.
BAYESIAN = BayesianConfig("bayesian", max_trials=4, num_initial_points=4)
# The model guides the last two or three trials.
GUIDED = BayesianConfig("bayesian", max_trials=5, num_initial_points=2)
ONE_DIMENSION = {"epochs": 1, "batch_size": list(range(1, 41))}
# Bracket 1 tries 3 for 1 epoch and trains the best up to 3; bracket 0 tries 2 for 3.
HYPERBAND = HyperbandConfig("hyperband", max_epochs=3, reduction_factor=3)
# The model proposes the last five trials.
TPE = TpeConfig("tpe", max_trials=8, num_initial_points=3)
CMAES = CmaEsConfig("cmaes", max_trials=8)
QMC = QmcConfig("qmc", max_trials=8)
# The model proposes the last two trials, from the results after one epoch.
ASHA = AshaConfig("asha", max_trials=12, min_epochs=1, max_epochs=4, reduction_factor=2)

MakeOracle = Callable[..., JournaledOracle]


@pytest.fixture
def make_oracle(tmp_path: Path) -> MakeOracle:
    """Make an oracle whose journal is in the test's folder."""

    def make(
        search: SearchConfig,
        space: Mapping[str, Any] = SPACE,
        seed: int = 0,
        journal: str = "oracle.jsonl",
        objective: Objective = OBJECTIVE,
    ) -> JournaledOracle:
        parsed = Space.parse(space, "my_package.my_function")
        if search.sets_epochs:
            parsed = parsed.without("epochs")
        return JournaledOracle(search, parsed, objective, seed, tmp_path / journal)

    return make


def score(proposal: Proposal) -> float:
    """Score values as a trial would: the same values always get the same score at a rung."""
    text = json.dumps(dict(proposal.values), sort_keys=True) + str(proposal.rung or "")
    return hashlib.sha256(text.encode()).digest()[0] / 256


def drive(
    oracle: JournaledOracle, num_workers: int = 1, fail: int | None = None
) -> list[Proposal]:
    """Run a search to its end with trials that end in the order they began.

    Args:
        oracle: What proposes them.
        num_workers: Trials in flight at a time.
        fail: Every trial whose number is a multiple of this fails.
    """
    proposals: list[Proposal] = []
    in_flight: list[Proposal] = []
    while True:
        while len(in_flight) < num_workers and (proposal := oracle.ask()) is not None:
            proposals.append(proposal)
            in_flight.append(proposal)
            assert len(proposals) <= 200, "the search does not end"
        if not in_flight:
            return proposals
        ended = in_flight.pop(0)
        failed = fail is not None and int(ended.trial_id) % fail == 0
        oracle.tell(ended.trial_id, Told(None if failed else score(ended)))


def prune_or_tell(oracle: JournaledOracle, proposal: Proposal) -> None:
    """Let a trial of four epochs complete, or be pruned after its second."""
    curve = [score(proposal) / n for n in (4, 3, 2, 1)]
    if int(proposal.trial_id) % 2:
        oracle.prune(proposal.trial_id, Pruned(2, "worse than the others"))
        curve = curve[:2]
    oracle.tell(proposal.trial_id, Told(curve[-1], curve=curve))


def points(proposals: list[Proposal]) -> list[Values]:
    return [dict(proposal.values) for proposal in proposals]


PRUNED = pytest.mark.parametrize(
    "search", [RANDOM, GRID, GUIDED, TPE, CMAES, QMC], ids=lambda search: search.oracle
)


@PRUNED
def test_resumed_oracle_was_told_which_trials_were_pruned(
    search: SearchConfig, make_oracle: MakeOracle, tmp_path: Path
) -> None:
    space = LISTED if search is GRID else SPACE
    whole, begun = make_oracle(search, space, journal="whole.jsonl"), make_oracle(search, space)
    while (proposal := whole.ask()) is not None:
        prune_or_tell(whole, proposal)
    for _ in range(4):
        proposal = begun.ask()
        assert proposal is not None
        prune_or_tell(begun, proposal)
    resumed = make_oracle(search, space)
    assert resumed.pruned == {
        trial_id: Pruned(2, "worse than the others") for trial_id in ("0001", "0003")
    }
    assert (resumed.curves, resumed.scores) == (begun.curves, begun.scores)
    while (proposal := resumed.ask()) is not None:
        prune_or_tell(resumed, proposal)
    assert (tmp_path / "oracle.jsonl").read_text() == (tmp_path / "whole.jsonl").read_text()


def test_decision_on_a_trial_that_runs_is_known_when_it_is_resumed(
    make_oracle: MakeOracle,
) -> None:
    oracle = make_oracle(RANDOM)
    proposal = oracle.ask()
    assert proposal is not None
    oracle.prune(proposal.trial_id, Pruned(1, "worse"))
    resumed = make_oracle(RANDOM)
    assert resumed.pruned == {"0000": Pruned(1, "worse")}
    assert resumed.scores == {}
    assert resumed.ask() == proposal


ALL = pytest.mark.parametrize(
    "search",
    [RANDOM, GRID, BAYESIAN, HYPERBAND, TPE, CMAES, QMC, ASHA],
    ids=lambda search: search.oracle,
)


@ALL
def test_ask_returns_complete_values(search: SearchConfig, make_oracle: MakeOracle) -> None:
    oracle = make_oracle(search, LISTED if search is GRID else SPACE)
    proposal = oracle.ask()
    assert proposal is not None
    values = proposal.values
    widths = {f"units_{i}" for i in range(1, int(values["layers"]) + 1)}
    assert values.keys() == {"epochs", "batch_size", "layers", "rate", "kind", *widths}
    assert values["batch_size"] in (16, 32)
    assert all(values[name] in (8, 16) for name in widths)
    assert 1e-4 <= float(values["rate"]) <= 1e-2
    assert values["kind"] == "a"
    assert {type(value) for value in values.values()} == {int, float, str}
    assert oracle.values == {proposal.trial_id: values}


@ALL
def test_ask_names_every_trial_anew(search: SearchConfig, make_oracle: MakeOracle) -> None:
    proposals = drive(make_oracle(search, LISTED))
    names = list(dict.fromkeys(proposal.trial_id for proposal in proposals))
    assert names == [f"{i:04d}" for i in range(len(names))]
    assert len(names) >= 4


@ALL
@pytest.mark.parametrize("num_workers", [1, 3])
def test_ask_returns_none_at_the_end(
    search: SearchConfig, num_workers: int, make_oracle: MakeOracle
) -> None:
    oracle = make_oracle(search, LISTED)
    proposals = drive(oracle, num_workers)
    num_trials = len({proposal.trial_id for proposal in proposals})
    assert num_trials == oracle.num_trials == oracle.num_asked == oracle.num_told
    assert oracle.ask() is None
    assert oracle.num_asked == num_trials


@pytest.mark.parametrize("seed", [0, 1])
@ALL
def test_ask_is_deterministic(search: SearchConfig, seed: int, make_oracle: MakeOracle) -> None:
    first = drive(make_oracle(search, LISTED, seed, "first.jsonl"))
    assert drive(make_oracle(search, LISTED, seed, "second.jsonl")) == first


@pytest.mark.parametrize(
    "search", [RANDOM, BAYESIAN, HYPERBAND, TPE, CMAES, QMC], ids=lambda s: s.oracle
)
def test_ask_depends_on_seed(search: SearchConfig, make_oracle: MakeOracle) -> None:
    first = make_oracle(search, seed=0, journal="first.jsonl").ask()
    second = make_oracle(search, seed=1, journal="second.jsonl").ask()
    assert first is not None
    assert second is not None
    assert first.values != second.values


@ALL
def test_ask_counts_max_trials(search: SearchConfig, make_oracle: MakeOracle) -> None:
    limited = type(search)(**{**vars(search), "max_trials": 2})
    oracle = make_oracle(limited, LISTED)
    assert oracle.num_trials == 2
    assert {proposal.trial_id for proposal in drive(oracle)} == {"0000", "0001"}


@ALL
def test_ask_returns_only_what_applies(search: SearchConfig, make_oracle: MakeOracle) -> None:
    search = dataclasses.replace(search, max_trials=6 if search is BAYESIAN else 12)
    rate = {"rate": {"min": 0.01, "max": 0.1, "step": 0.01, "log": True}}
    given = {**LISTED, **CONDITIONS, **rate}
    space = Space.parse(given, "my.build")
    oracle = make_oracle(search, given)
    for proposal in (first := drive(oracle)):
        assert space.holds({**proposal.values, "epochs": 3})
    assert {"momentum" in proposal.values for proposal in first} == {True, False}
    assert make_oracle(search, given).values == {p.trial_id: p.values for p in first}


def test_ask_keeps_type_of_booleans(make_oracle: MakeOracle) -> None:
    oracle = make_oracle(GRID, {"epochs": 1, "batch_size": 8, "flip": [True, False]})
    assert [type(values["flip"]) for values in points(drive(oracle))] == [bool, bool]


def test_ask_random_ends_with_small_space(make_oracle: MakeOracle) -> None:
    space = {"epochs": [1, 2, 3], "batch_size": 8}
    proposals = drive(make_oracle(RandomConfig("random", max_trials=100), space))
    assert sorted(int(values["epochs"]) for values in points(proposals)) == [1, 2, 3]


@pytest.mark.parametrize(
    "search",
    [
        RandomConfig("random", max_trials=9),
        GRID,
        BayesianConfig("bayesian", max_trials=9, num_initial_points=4),
    ],
    ids=lambda search: search.oracle,
)
def test_ask_proposes_fixed_space_once(search: SearchConfig, make_oracle: MakeOracle) -> None:
    oracle = make_oracle(search, {"epochs": 2, "batch_size": 8})
    assert oracle.num_trials == 1
    assert points(drive(oracle)) == [{"epochs": 2, "batch_size": 8}]


# The Bayesian oracle.


def test_bayesian_is_guided_after_initial_points(make_oracle: MakeOracle) -> None:
    guided = points(drive(make_oracle(GUIDED, ONE_DIMENSION, journal="guided.jsonl")))
    random = RandomConfig("random", max_trials=5)
    drawn = points(drive(make_oracle(random, ONE_DIMENSION, journal="random.jsonl")))
    assert guided[:2] == drawn[:2]
    assert guided[2:] != drawn[2:]
    assert all(values["batch_size"] in range(1, 41) for values in guided)


def test_bayesian_is_deterministic(make_oracle: MakeOracle) -> None:
    first = drive(make_oracle(GUIDED, ONE_DIMENSION, journal="first.jsonl"))
    assert drive(make_oracle(GUIDED, ONE_DIMENSION, journal="second.jsonl")) == first


def test_bayesian_goes_on_after_failures(make_oracle: MakeOracle) -> None:
    oracle = make_oracle(GUIDED, ONE_DIMENSION)
    # Trials 0 and 3 fail, so that the model guides from the fourth on.
    assert len(drive(oracle, fail=3)) == 5
    assert list(oracle.scores) == ["0001", "0002", "0004"]


def test_bayesian_bears_equal_scores(make_oracle: MakeOracle) -> None:
    oracle = make_oracle(GUIDED, ONE_DIMENSION)
    while (proposal := oracle.ask()) is not None:
        oracle.tell(proposal.trial_id, Told(0.5))
    assert oracle.num_told == 5


# The grid.


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"kind": ["a", "b"], "size": [1, 2, 3]}, 6),
        ({"layers": [1, 2], "units": [8, 16]}, 6),
        ({"layers": {"min": 1, "max": 3}, "units": [8, 16]}, 14),
        ({"layers": {"min": 1, "max": 3}, "units": [8, 16], "units_2": [1, 2, 3]}, 20),
        ({"layers": [1, 2], "units": [8, 16], "units_1": 4}, 3),
        ({"layers": [2, 3], "units": [8, 16], "kind": ["a", "b"]}, 24),
        ({"units": [8, 16], "layers": [2, 1]}, 6),
        ({"size": {"min": 1, "max": 10, "step": 4}}, 3),
        ({"size": {"min": 0.0, "max": 1.0, "step": 0.25}}, 5),
        ({"size": {"min": 0.0, "max": 0.3, "step": 0.1}}, 4),
        ({"size": {"min": 8, "max": 64, "step": 8, "log": True}}, 8),
        ({"size": {"min": 0.1, "max": 1.0, "step": 0.3, "log": True}}, 4),
        # The last of three values has another of three, one of which has another of two.
        (CONDITIONS, 2 + 2 + 2),
        ({**CONDITIONS, "layers": [1, 2], "units": [8, 16]}, 6 * 6),
    ],
)
def test_grid_tries_every_point_once(
    space: Mapping[str, Any], expected: int, make_oracle: MakeOracle
) -> None:
    whole = {"epochs": 1, "batch_size": 8, **space}
    oracle = make_oracle(GRID, whole)
    tried = points(drive(oracle))
    assert len(tried) == expected
    assert len({tuple(values.items()) for values in tried}) == expected
    assert oracle.num_trials == expected
    assert Space.parse(whole, "my_package.my_function").size() == expected


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize(
    "given",
    [
        {"min": 0.0, "max": 1.0},
        {"min": 1e-4, "max": 1e-2, "log": True},
        {"min": 1, "max": 1000, "log": True},
    ],
    ids=["linear", "log", "log of integers"],
)
def test_grid_of_unlisted_range_ends_as_announced(
    given: Mapping[str, Any], num_workers: int, make_oracle: MakeOracle
) -> None:
    oracle = make_oracle(
        GRID, {"epochs": 1, "batch_size": 8, "kind": ["a", "b"], "size": given}
    )
    tried = points(drive(oracle, num_workers))
    assert len(tried) == oracle.num_trials
    sizes = {float(values["size"]) for values in tried}
    assert len(tried) == 2 * len(sizes)
    # Keras Tuner takes 10 points, and its default as well.
    assert 9 <= len(sizes) <= 11
    assert given["min"] <= min(sizes) <= max(sizes) <= given["max"]


def test_grid_goes_through_space_in_order(make_oracle: MakeOracle) -> None:
    space = {"epochs": 1, "batch_size": 8, "kind": ["a", "b"], "size": [1, 2]}
    tried = [(v["kind"], v["size"]) for v in points(drive(make_oracle(GRID, space)))]
    assert tried == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


# The number of trials.


@pytest.mark.parametrize(
    ("search", "space", "expected"),
    [
        (RandomConfig("random", max_trials=5), SPACE, 5),
        (RandomConfig("random", max_trials=50), LISTED, 12),
        (RandomConfig("random", max_trials=5), LISTED, 5),
        (BayesianConfig("bayesian", max_trials=50), LISTED, 12),
        (GridConfig("grid", max_trials=7), LISTED, 7),
        (GridConfig("grid", max_trials=70), LISTED, 12),
        # 12, 6 and 4 trials in its three brackets.
        (HyperbandConfig("hyperband", max_epochs=10), SPACE, 22),
        (HyperbandConfig("hyperband", max_epochs=10, iterations=2), SPACE, 44),
        (HyperbandConfig("hyperband", max_epochs=10, max_trials=9), SPACE, 9),
        (HyperbandConfig("hyperband", max_epochs=1), SPACE, 1),
        (HYPERBAND, SPACE, 5),
        (ASHA, SPACE, 12),
    ],
)
def test_num_trials(
    search: SearchConfig, space: Mapping[str, Any], expected: int, make_oracle: MakeOracle
) -> None:
    assert make_oracle(search, space).num_trials == expected


def test_num_trials_of_hyperband_knows_small_space(make_oracle: MakeOracle) -> None:
    """A space of 2 points cannot fill a first round of 12 trials."""
    search = HyperbandConfig("hyperband", max_epochs=10, reduction_factor=3)
    oracle = make_oracle(search, {"epochs": 1, "batch_size": [8, 16]})
    announced = oracle.num_trials
    assert announced is None or announced == len(drive(oracle))


@pytest.mark.parametrize(
    "search",
    [
        RandomConfig("random", max_trials=8),
        BayesianConfig("bayesian", max_trials=8, num_initial_points=3),
    ],
    ids=lambda search: search.oracle,
)
def test_num_trials_of_small_space_is_upper_bound(
    search: SearchConfig, make_oracle: MakeOracle
) -> None:
    oracle = make_oracle(search, {"epochs": 1, "batch_size": [8, 16, 32, 64]})
    assert oracle.num_trials == 4
    assert len(drive(oracle)) <= 4


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (RANDOM, None),
        (GRID, None),
        (BAYESIAN, None),
        (HYPERBAND, [(2, 3), (3, 1), (1, 3)]),
        (
            HyperbandConfig("hyperband", max_epochs=10, reduction_factor=3),
            [(4, 10), (6, 4), (2, 10), (12, 2), (4, 4), (2, 10)],
        ),
        (
            HyperbandConfig("hyperband", max_epochs=3, reduction_factor=3, iterations=2),
            [(2, 3), (3, 1), (1, 3)] * 2,
        ),
        (ASHA, [(4, 1), (2, 2), (1, 4)]),
    ],
)
def test_rounds(
    search: SearchConfig, expected: list[tuple[int, int]] | None, make_oracle: MakeOracle
) -> None:
    assert make_oracle(search).rounds == expected


# Hyperband.


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_hyperband_keeps_its_schedule(num_workers: int, make_oracle: MakeOracle) -> None:
    search = HyperbandConfig("hyperband", max_epochs=10, reduction_factor=3)
    proposals = drive(make_oracle(search), num_workers)
    rungs = Counter((p.tags["tuner.bracket"], p.tags["tuner.rung"], p.rung) for p in proposals)
    assert rungs == {
        ("2", "2", 2): 12,
        ("2", "4", 4): 4,
        ("2", "10", None): 2,
        ("1", "4", 4): 6,
        ("1", "10", None): 2,
        ("0", "10", None): 4,
    }
    assert {proposal.values["epochs"] for proposal in proposals} == {10}


@pytest.mark.parametrize("num_workers", [1, 3])
def test_hyperband_resumes_trials_of_the_round_before(
    num_workers: int, make_oracle: MakeOracle
) -> None:
    search = HyperbandConfig("hyperband", max_epochs=10, reduction_factor=3)
    proposals = drive(make_oracle(search), num_workers)
    past: dict[str, Proposal] = {}
    num_resumed = 0
    for proposal in proposals:
        if (before := past.get(proposal.trial_id)) is not None:
            num_resumed += 1
            assert proposal.values == before.values
            assert int(proposal.tags["tuner.rung"]) > int(before.tags["tuner.rung"])
            assert proposal.tags["tuner.bracket"] == before.tags["tuner.bracket"]
        past[proposal.trial_id] = proposal
    assert num_resumed == 4 + 2 + 2


@pytest.mark.parametrize(
    ("direction", "scores", "best"),
    [
        ("max", [0.2, 0.9, 0.5], "0001"),
        ("min", [0.2, 0.9, 0.5], "0000"),
        ("max", [0.2, None, 0.5], None),
    ],
)
def test_hyperband_goes_on_with_best(
    direction: Any, scores: list[float | None], best: str | None, make_oracle: MakeOracle
) -> None:
    oracle = make_oracle(HYPERBAND, objective=Objective("val_loss", direction))
    for given in scores:
        proposal = oracle.ask()
        assert proposal is not None
        assert (proposal.rung, dict(proposal.tags)) == (
            1,
            {"tuner.bracket": "1", "tuner.rung": "1"},
        )
        oracle.tell(proposal.trial_id, Told(given))
    following = oracle.ask()
    assert following is not None
    assert following.trial_id == (best or "0003")
    assert (following.values["epochs"], following.rung) == (3, None)


def test_hyperband_ends_when_trials_fail(make_oracle: MakeOracle) -> None:
    oracle = make_oracle(HYPERBAND)
    # One of three failed: too few to choose from, so nothing is promoted.
    assert len(drive(oracle, fail=3)) == 5
    assert oracle.ask() is None


@ALL
def test_ask_gives_every_worker_a_trial(search: SearchConfig, make_oracle: MakeOracle) -> None:
    oracle = make_oracle(search, LISTED)
    asked = [oracle.ask() for _ in range(4)]
    assert [p.trial_id if p else None for p in asked] == ["0000", "0001", "0002", "0003"]


def test_ask_waits_for_trial_in_flight(make_oracle: MakeOracle) -> None:
    """None is also returned while the last round has no trial to resume yet."""
    search = HyperbandConfig("hyperband", max_epochs=2, reduction_factor=2)
    oracle = make_oracle(search, LISTED)
    proposals = [proposal for _ in range(10) if (proposal := oracle.ask()) is not None]
    # Both brackets' first rounds, 2 trials each: nothing else is known before one ends.
    assert [proposal.trial_id for proposal in proposals] == ["0000", "0001", "0002", "0003"]
    for proposal in proposals:
        oracle.tell(proposal.trial_id, Told(score(proposal)))
    following = oracle.ask()
    assert following is not None
    assert (following.trial_id in oracle.values, following.rung) == (True, None)
    assert following.trial_id in {p.trial_id for p in proposals if p.rung == 1}


# Telling.


def test_tell_keeps_scores_and_counts_failures(make_oracle: MakeOracle) -> None:
    oracle = make_oracle(RANDOM)
    asked = [oracle.ask() for _ in range(3)]
    assert [proposal.trial_id for proposal in asked if proposal] == ["0000", "0001", "0002"]
    assert (oracle.num_asked, oracle.num_told) == (3, 0)
    oracle.tell("0002", Told(0.25))
    oracle.tell("0000", Told(None))
    assert (oracle.num_asked, oracle.num_told) == (3, 2)
    assert list(oracle.scores.items()) == [("0002", 0.25)]
    oracle.tell("0001", Told(0.5))
    assert list(oracle.scores.items()) == [("0002", 0.25), ("0001", 0.5)]


@ALL
def test_tell_failure_lets_search_go_on(search: SearchConfig, make_oracle: MakeOracle) -> None:
    oracle = make_oracle(search, LISTED)
    proposals = drive(oracle, fail=1)
    assert len(proposals) >= 4
    assert (oracle.num_told, dict(oracle.scores)) == (len(proposals), {})


@ALL
def test_tell_failure_does_not_ask_again(search: SearchConfig, make_oracle: MakeOracle) -> None:
    proposals = drive(make_oracle(search, LISTED), fail=2)
    fresh = {p.trial_id: p.values for p in proposals}
    assert len({tuple(values.items()) for values in fresh.values()}) == len(fresh) >= 4


# The journal.


def lines_of(journal: Path) -> list[bytes]:
    return journal.read_bytes().splitlines(keepends=True)


def told_in(lines: Sequence[bytes]) -> tuple[set[str], set[tuple[str, int | None]]]:
    """Return the trials that do not run, and every trial with each rung that was told of."""
    rungs: dict[str, int | None] = {}
    ended, told = set(), set()
    for event in map(json.loads, lines):
        if (trial_id := event.get("tell")) is not None:
            ended.add(trial_id)
            told.add((trial_id, rungs[trial_id]))
        elif (trial_id := event.get("ask", event.get("resume"))) is not None:
            ended.discard(trial_id)
            rungs[trial_id] = event.get("rung")
    return ended, told


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize(
    ("search", "space"),
    [
        (RANDOM, SPACE),
        (GridConfig("grid", max_trials=7), LISTED),
        (GUIDED, ONE_DIMENSION),
        (HYPERBAND, SPACE),
        (TPE, SPACE),
        (CmaEsConfig("cmaes", max_trials=13), {**LISTED, "rate": [1e-3, 1e-2]}),
        (QmcConfig("qmc", max_trials=12), LISTED),
        (ASHA, LISTED),
        (dataclasses.replace(ASHA, sampler="random"), SPACE),
        (dataclasses.replace(ASHA, sampler="qmc"), SPACE),
    ],
    ids=[
        *("random", "grid", "bayesian", "hyperband", "tpe", "cmaes", "qmc"),
        *("asha", "asha, random", "asha, qmc"),
    ],
)
def test_resume_at_every_point_proposes_the_same(
    search: SearchConfig,
    space: Mapping[str, Any],
    num_workers: int,
    make_oracle: MakeOracle,
    tmp_path: Path,
) -> None:
    undisturbed = drive(make_oracle(search, space), num_workers)
    lines = lines_of(tmp_path / "oracle.jsonl")
    for kept in range(len(lines) + 1):
        name = f"resumed_{kept}.jsonl"
        (tmp_path / name).write_bytes(b"".join(lines[:kept]))
        ended, told = told_in(lines[:kept])
        resumed = make_oracle(search, space, journal=name)
        assert resumed.num_told == len(ended)
        expected = [p for p in undisturbed if (p.trial_id, p.rung) not in told]
        assert drive(resumed, num_workers) == expected, f"after {kept} lines"
        assert resumed.scores == {p.trial_id: score(p) for p in undisturbed}


@pytest.mark.parametrize(
    ("search", "num_points"),
    [
        (RandomConfig("random", max_trials=100), 60),
        (HyperbandConfig("hyperband", max_epochs=9, reduction_factor=3), 9),
    ],
    ids=["random", "hyperband"],
)
def test_resume_after_oracle_had_nothing_to_ask(
    search: SearchConfig, num_points: int, make_oracle: MakeOracle, tmp_path: Path
) -> None:
    """An answer of None, too, changes what Keras Tuner says next."""
    space = {"epochs": 1, "batch_size": list(range(1, num_points + 1))}
    undisturbed = drive(make_oracle(search, space), num_workers=4)
    resumed = make_oracle(search, space)
    assert resumed.num_told == len({p.trial_id for p in undisturbed})
    assert resumed.values == {p.trial_id: p.values for p in undisturbed}


@ALL
def test_resume_proposes_open_trials_again(
    search: SearchConfig, make_oracle: MakeOracle
) -> None:
    oracle = make_oracle(search, LISTED)
    first, second = oracle.ask(), oracle.ask()
    assert second is not None
    oracle.tell(second.trial_id, Told(0.5))
    third = oracle.ask()
    resumed = make_oracle(search, LISTED)
    assert (resumed.num_asked, resumed.num_told) == (1, 1)
    assert [resumed.ask(), resumed.ask()] == [first, third]
    assert resumed.num_asked == 3


@ALL
def test_resume_finished_search_has_nothing_to_ask(
    search: SearchConfig, make_oracle: MakeOracle
) -> None:
    proposals = drive(make_oracle(search, LISTED))
    resumed = make_oracle(search, LISTED)
    assert resumed.ask() is None
    assert resumed.num_told == len({proposal.trial_id for proposal in proposals})


@ALL
def test_resume_keeps_failures(search: SearchConfig, make_oracle: MakeOracle) -> None:
    before = make_oracle(search, LISTED)
    proposals = drive(before, fail=2)
    resumed = make_oracle(search, LISTED)
    assert resumed.num_told == len({proposal.trial_id for proposal in proposals})
    assert list(resumed.scores.items()) == list(before.scores.items())
    last = {p.trial_id: i for i, p in enumerate(proposals) if int(p.trial_id) % 2}
    assert list(resumed.scores) == sorted(last, key=last.__getitem__)


@pytest.mark.parametrize("torn", [b'{"ask": "00', b'{"tell": "0001", "score": 0.5}'])
def test_resume_drops_torn_line(
    torn: bytes,
    make_oracle: MakeOracle,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = tmp_path / "oracle.jsonl"
    oracle = make_oracle(RANDOM)
    first, second = oracle.ask(), oracle.ask()
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    with caplog.at_level(logging.WARNING, "tuner.oracles.journal"):
        resumed = make_oracle(RANDOM)
    assert "cut off" in caplog.text
    assert journal.read_bytes() == whole
    assert resumed.num_told == 0
    assert [resumed.ask(), resumed.ask()] == [first, second]


def test_resume_from_nothing_but_torn_line_begins_afresh(
    make_oracle: MakeOracle, tmp_path: Path
) -> None:
    first = make_oracle(RANDOM, journal="whole.jsonl").ask()
    (tmp_path / "oracle.jsonl").write_bytes(b'{"ask": "0000", "prop')
    assert make_oracle(RANDOM).ask() == first
    assert lines_of(tmp_path / "oracle.jsonl") == lines_of(tmp_path / "whole.jsonl")


def test_resume_from_empty_journal_begins_afresh(
    make_oracle: MakeOracle, tmp_path: Path
) -> None:
    (tmp_path / "oracle.jsonl").touch()
    oracle = make_oracle(RANDOM)
    assert oracle.num_asked == 0
    assert oracle.ask() is not None


@pytest.mark.parametrize(
    ("search", "other", "space", "seed"),
    [
        (RANDOM, RANDOM, LISTED, 1),
        (RANDOM, RANDOM, {**LISTED, "batch_size": [64, 128]}, 0),
        (GRID, GRID, {**LISTED, "units": [16, 8]}, 0),
        (GRID, HYPERBAND, LISTED, 0),
        (HYPERBAND, HYPERBAND, LISTED, 1),
        (HYPERBAND, HyperbandConfig("hyperband", max_epochs=9, reduction_factor=3), LISTED, 0),
        (BAYESIAN, BAYESIAN, {**LISTED, "more": [1, 2]}, 0),
        (TPE, TPE, {**LISTED, "more": [1, 2]}, 0),
        (CMAES, CMAES, {**LISTED, "batch_size": [64, 128]}, 0),
        (QMC, QMC, {n: v for n, v in LISTED.items() if n != "units"}, 0),
        (ASHA, ASHA, {**LISTED, "more": [1, 2]}, 0),
        (ASHA, dataclasses.replace(ASHA, max_epochs=8), LISTED, 0),
    ],
    ids=[
        "random, seed",
        "random, space",
        "grid, space",
        "grid, oracle",
        "hyperband, seed",
        "hyperband, epochs",
        "bayesian, space",
        "tpe, more",
        "cmaes, space",
        "qmc, less",
        "asha, more",
        "asha, epochs",
    ],
)
def test_resume_refuses_journal_that_does_not_fit(
    search: SearchConfig,
    other: SearchConfig,
    space: Mapping[str, Any],
    seed: int,
    make_oracle: MakeOracle,
    tmp_path: Path,
) -> None:
    drive(make_oracle(search, LISTED))
    before = (tmp_path / "oracle.jsonl").read_bytes()
    with pytest.raises(
        StudyError, match=r"oracle\.jsonl does not fit .* overwrite=true"
    ) as caught:
        make_oracle(other, space, seed)
    assert "trial 0000" in str(caught.value)
    assert (tmp_path / "oracle.jsonl").read_bytes() == before


def test_resume_refuses_journal_longer_than_search(
    make_oracle: MakeOracle, tmp_path: Path
) -> None:
    shorter = {"epochs": 1, "batch_size": 8, "kind": ["a", "b"]}
    drive(make_oracle(GRID, {**shorter, "kind": ["a", "b", "c"]}))
    with pytest.raises(StudyError, match="trial 0002 would get other values"):
        make_oracle(GRID, shorter)


MIXED: Mapping[str, Any] = {
    "epochs": 1,
    "batch_size": 32,
    "pool": [None, 2, "max", True, "None", "(1, 3)"],
    "rate": [0.1, 0.2],
    "none": None,
}


@ALL
def test_values_of_every_type_are_proposed_and_replayed(
    search: SearchConfig, make_oracle: MakeOracle
) -> None:
    oracle = make_oracle(search, MIXED)
    first = [proposal for _ in range(4) if (proposal := oracle.ask()) is not None]
    allowed = [(type(option), option) for option in MIXED["pool"]]
    for proposal in first:
        pool = proposal.values["pool"]
        assert (type(pool), pool) in allowed
        assert proposal.values["none"] is None
    again = make_oracle(search, MIXED)
    assert [again.ask() for _ in first] == first
