"""Searches that choose among the trials of a recorded study."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from support.commands import command
from support.studies import FinishedStudy
from tuner.config.schema import CurvesConfig, DataConfig, StudyConfig, TrackingConfig
from tuner.config.searches import HyperbandConfig, RandomConfig, SearchConfig
from tuner.config.space import Space
from tuner.errors import StudyError
from tuner.oracles.oracle import Oracle
from tuner.simulation.replay import IN_ORDER, RecordedTrial, Replay
from tuner.simulation.table import NearestOracle, ShuffledOracle, distance
from tuner.trial import Objective, Proposal, Values, whole

OBJECTIVE = Objective("val_accuracy", "max")
SPACE = {"epochs": 2, "batch_size": 32, "width": {"min": 1, "max": 100}}


def config(search: SearchConfig | None = None, **space: Any) -> StudyConfig:
    return StudyConfig(
        data=DataConfig("my.load", "digits"),
        space={**SPACE, **space},
        model={"_target_": "my.build"},
        search=search or RandomConfig("random", max_trials=9),
        curves=CurvesConfig(),
        tracking=TrackingConfig(),
    )


def recorded(width: int, score: float, epochs: int = 2, **more: Any) -> RecordedTrial:
    values = {"epochs": epochs, "batch_size": 32, "width": width}
    return RecordedTrial(values, score, [{"val_accuracy": score}] * epochs, 1.0, **more)


def study(scores: Sequence[float], num_validation: int | None = None) -> Replay:
    trials = [recorded(10 * i, score) for i, score in enumerate(scores, 1)]
    return Replay(trials, config(), num_validation)


def test_a_study_in_its_own_order_needs_what_it_needed() -> None:
    row = study([0.1, 0.2, 0.9, 0.3, 0.8]).in_order()
    assert (row.search, row.epochs, row.trials) == (IN_ORDER, [6], [3])


def test_good_enough_is_within_the_standard_error_of_the_best() -> None:
    # sqrt(0.9 * 0.1 / 9) = 0.1
    replay = study([0.1, 0.81, 0.9, 0.3], num_validation=9)
    assert replay.enough == pytest.approx(0.8)
    assert replay.in_order().trials == [2]


def test_random_order_finds_the_best_of_n_after_half_of_them_on_average() -> None:
    row = study([0.1, 0.2, 0.9, 0.3, 0.8]).row("random", range(100))
    assert set(row.trials) == {1, 2, 3, 4, 5}
    assert sum(row.trials) / 100 == pytest.approx(3, abs=0.5)
    assert [2 * number for number in row.trials] == list(row.epochs)


def test_a_search_that_learns_finds_the_best_of_a_slope_sooner_than_a_random_one() -> None:
    trials = [recorded(width, width / 100) for width in range(1, 41)]
    replay = Replay(trials, config(width={"min": 1, "max": 40}), None)
    assert replay.row("tpe", range(5)).median_trials < 0.75 * 20.5
    assert math.isfinite(max(replay.row("tpe", [0], workers=4).epochs))


def test_epochs_of_a_shared_curve_count_once() -> None:
    points = ((5, 0.1, 1), (5, 0.2, 3), (7, 0.9, 1), (9, 0.3, 3))
    trials = [recorded(*given) for given in points]
    replay = Replay(trials, config(epochs=[1, 3]), None)
    assert replay.num_epochs == 3 + 1 + 3
    assert replay.in_order().epochs == [3 + 1]
    assert max(replay.row("tpe", range(3)).epochs) <= 7


def test_a_trial_that_stopped_early_costs_the_epochs_that_it_had() -> None:
    early = RecordedTrial(
        {"epochs": 2, "batch_size": 32, "width": 50}, 0.9, [{"val_accuracy": 0.9}], 1.0, "early"
    )
    trials = [early, *(recorded(width, 0.1) for width in (1, 2, 3))]
    replay = Replay(trials, config(), None)
    assert replay.num_epochs == 7
    assert replay.in_order().epochs == [1]
    assert set(replay.row("random", range(20)).epochs) == {1, 3, 5, 7}


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([recorded(i, 0.1) for i in (1, 2, 3)], "at least 4 .*, but this one has 3"),
        ([recorded(i, 0.1, stopped="user") for i in range(1, 9)], "this one has 0"),
        ([recorded(i, 0.1) for i in range(200, 210)], "this one has 0"),
        ([], "this one has 0"),
    ],
)
def test_a_study_with_too_few_trials_is_refused(trials: list[RecordedTrial], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        Replay(trials, config(), None)


def test_a_study_of_rounds_is_refused() -> None:
    with pytest.raises(StudyError, match="search=hyperband cannot be simulated"):
        Replay([recorded(1, 0.1)] * 9, config(HyperbandConfig("hyperband")), None)


class Fixed(Oracle):
    """Proposes given points, and keeps what it is told."""

    def __init__(self, points: Sequence[Values]) -> None:
        space = Space.parse(SPACE, "my.build")
        super().__init__(RandomConfig("random"), space, OBJECTIVE, 0)
        self.points = list(points)
        self.observed: dict[str, float | None] = {}
        self.adopted: list[tuple[int, float]] = []

    def propose(self, trial_id: str) -> Proposal | None:
        return Proposal(trial_id, self.points.pop(0), {}) if self.points else None

    def observe(self, trial_id: str, score: float | None) -> None:
        self.observed[trial_id] = score

    def adopt(self, values: Values, score: float) -> None:
        self.adopted.append((whole(values["width"]), score))


def point(width: int) -> Values:
    return {"epochs": 2, "batch_size": 32, "width": width}


def test_the_nearest_point_that_is_left_is_tried_and_the_oracle_told_the_truth() -> None:
    inner = Fixed([point(40), point(39), point(90), point(1)])
    oracle = NearestOracle(inner, [point(40), point(60), point(91)])
    tried = [oracle.propose(str(i)) for i in range(4)]
    assert [None if p is None else p.values["width"] for p in tried] == [40, 60, 91, None]
    oracle.observe("0", 0.5)
    oracle.observe("1", 0.7)
    oracle.observe("2", None)
    # Only the first is what it had proposed; of a failure nothing is learned elsewhere.
    assert inner.observed == {"0": 0.5, "1": None, "2": None}
    assert inner.adopted == [(60, 0.7)]


def test_a_shuffled_table_is_tried_once_whole() -> None:
    oracle = ShuffledOracle(Fixed([]), [point(width) for width in range(1, 8)])
    tried = [oracle.propose(str(i)) for i in range(8)]
    assert {p.values["width"] for p in tried if p is not None} == set(range(1, 8))
    assert tried[-1] is None


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ({"kind": "a"}, {"kind": "b"}, 1.0),
        ({"kind": "a"}, {"kind": "a"}, 0.0),
        ({"rate": 0.001}, {"rate": 0.1}, 0.25),
        ({"width": 1}, {"width": 34}, 1 / 9),
        # Neighbours in a list of numbers.
        ({"batch_size": 16}, {"batch_size": 64}, 0.25),
        ({"momentum": 0.5}, {}, 1.0),
    ],
)
def test_distance_is_a_sum_of_squares(one: Values, other: Values, apart: float) -> None:
    given: Mapping[str, Any] = {
        "epochs": 1,
        "batch_size": [16, 64, 256],
        "kind": ["a", "b", "c"],
        "rate": {"min": 1e-4, "max": 1.0, "log": True},
        "width": {"min": 1, "max": 100},
        "momentum": {"min": 0.0, "max": 1.0},
    }
    space = Space.parse(given, "my.build")
    assert distance(space, one, other) == pytest.approx(apart)


@pytest.mark.long
def test_the_command_compares_searches_on_a_study(finished_study: FinishedStudy) -> None:
    done = command(finished_study.folder, "simulate", "study=first", "seeds=3")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert "Study first has 4 trials, 4 epochs in all." in done.stdout
    assert [line[0] for line in lines[-3:]] == ["as", "random", "tpe"]
    for line in lines[-3:]:
        epochs, share, trials = line[-3:]
        assert 1 <= float(epochs) <= 4
        assert share == f"{float(epochs) / 4:.0%}"
        assert 1 <= float(trials) <= 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("study=other", "There is no study 'other'"),
        (
            "searches=[cmaes]",
            "`searches` must be one of random, tpe, bayesian, but",
        ),
        ("searches=[]", "`searches` must name at least one"),
        ("seeds=0", "`seeds` must be at least 1"),
        ("workers=0", "`workers` must be at least 1"),
    ],
)
def test_the_command_says_what_is_wrong(
    given: str, said: str, finished_study: FinishedStudy
) -> None:
    arguments = [given] if given.startswith("study") else ["study=first", given]
    done = command(finished_study.folder, "simulate", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
