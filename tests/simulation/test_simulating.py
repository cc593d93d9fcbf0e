"""`simulate`: what a search asks for, what it costs, when it ends, and what it refuses."""

import math
from collections.abc import Mapping

import pytest

from tuner.errors import ConfigError, InfeasibleTrial, SearchFailed
from tuner.simulation import Simulated, simulate
from tuner.trial import Values, number

CHOICE = {"width": [1, 2, 3, 4, 5, 6]}
RANGE = {"rate": {"min": 1e-4, "max": 1.0, "log": True}, "kind": ["a", "b"]}
GRID = ["search=grid"]


def by_width(values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
    """Score 0.1 for each unit of width once trained; an epoch takes as many seconds."""
    width = number(values["width"])
    return {"val_accuracy": width / 10 - 0.01 / epoch, "seconds": width}


def by_rate(values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
    """Peak at a rate of 0.01; the longer, the better."""
    distance = abs(math.log10(number(values["rate"])) + 2)
    return {"val_accuracy": 0.9 - distance / 10 - 0.1 / epoch, "seconds": 1 + distance}


def times(run: Simulated) -> list[tuple[str, float, float]]:
    table = run.trials[["trial", "started", "ended"]]
    return list(table.itertuples(index=False, name=None))


def test_trials_run_one_after_another_on_one_worker() -> None:
    run = simulate(GRID, {"width": [1, 2, 3]}, by_width, max_epochs=2)
    assert times(run) == [("0000", 0, 2), ("0001", 2, 6), ("0002", 6, 12)]
    assert list(run.trials["values"]) == [{"width": width} for width in (1, 2, 3)]
    assert list(run.trials["epochs"]) == [2, 2, 2]
    assert list(run.trials["score"]) == pytest.approx([0.095, 0.195, 0.295])
    assert run.epochs_spent == 6
    assert run.seconds == 12
    assert run.best is not None
    assert (run.best.trial_id, run.best.values["width"]) == ("0002", 3)


def test_a_free_worker_takes_the_next_trial_at_once() -> None:
    run = simulate(GRID, {"width": [5, 1, 2, 3]}, by_width, max_epochs=1, workers=2)
    # The second worker has run three trials by the time the first has run one.
    assert times(run) == [("0000", 0, 5), ("0001", 0, 1), ("0002", 1, 3), ("0003", 3, 6)]


def test_of_two_trials_that_end_together_the_one_that_began_first_is_told_first() -> None:
    once = [
        simulate(
            ["search=tpe", "search.max_trials=20", "search.num_initial_points=4"],
            RANGE,
            lambda *of: {**by_rate(*of), "seconds": 1.0},
            max_epochs=3,
            workers=4,
        )
        for _ in range(2)
    ]
    assert once[0].trials.equals(once[1].trials)
    assert list(once[0].trials["started"][:9]) == [0, 0, 0, 0, 3, 3, 3, 3, 6]


@pytest.mark.parametrize(
    "search", ["random", "bayesian", "hyperband", "asha", "tpe", "cmaes", "qmc"]
)
def test_every_search_is_simulated_and_repeats_itself(search: str) -> None:
    most = [] if search == "hyperband" else ["search.max_trials=8"]
    runs = [
        simulate([f"search={search}", *most], RANGE, by_rate, max_epochs=9, workers=3, seed=s)
        for s in (1, 1, 2)
    ]
    assert runs[0].trials.equals(runs[1].trials)
    assert not runs[0].trials.equals(runs[2].trials)
    assert runs[0].trials["score"].max() == runs[0].best.score
    assert {tuple(values) for values in runs[0].trials["values"]} == {("rate", "kind")}


@pytest.mark.parametrize("search", ["hyperband", "asha"])
def test_a_trial_is_resumed_at_rungs_and_pays_for_new_epochs_only(search: str) -> None:
    asked: list[tuple[float, int]] = []

    def noted(values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
        asked.append((number(values["rate"]), epoch))
        return by_rate(values, epoch, repeat)

    run = simulate([f"search={search}"], RANGE, noted, max_epochs=9, workers=2)
    assert len(asked) == len(set(asked)) == run.epochs_spent
    assert run.trials["epochs"].sum() == run.epochs_spent
    assert set(run.trials["epochs"]) == {1, 3, 9}
    # Each rung that a trial has reached is an end or a pause of its own.
    reached = run.ends.groupby("trial")["epochs"].agg(list)
    assert all(epochs == [1, 3, 9][: len(epochs)] for epochs in reached if epochs[0] == 1)
    last = run.ends.groupby("trial").last()
    assert list(last["epochs"]) == list(run.trials["epochs"])
    assert list(last["seconds"]) == list(run.trials["ended"])


def test_asha_lets_no_worker_wait_for_a_round() -> None:
    told = ["search=asha", "search.sampler=random", "search.max_trials=30"]
    even = {"val_accuracy": 0.5, "seconds": 1.0}
    run = simulate(told, RANGE, lambda *_: even, max_epochs=9, workers=3)
    # Nobody was idle but at the very end, when nothing is left to start.
    assert run.epochs_spent / 3 <= run.seconds < run.epochs_spent / 3 + 9


def test_a_space_with_epochs_is_searched_over_them_and_shares_curves() -> None:
    run = simulate(GRID, {"epochs": [3, 1, 2], "width": [1]}, by_width)
    assert list(run.trials["epochs"]) == [3, 1, 2]
    assert run.epochs_spent == 3
    assert run.trials["values"][1] == {"epochs": 1, "width": 1}


def test_layers_and_conditions_are_as_in_a_study() -> None:
    space = {
        "layers": [1, 2],
        "units": 8,
        "optimizer": ["adam", "sgd"],
        "momentum": {"choices": [0.5, 0.9], "when": {"optimizer": ["sgd"]}},
    }
    run = simulate(GRID, space, lambda *_: {"val_accuracy": 0.5, "seconds": 1}, max_epochs=1)
    assert len(run.trials) == 6
    assert {tuple(values) for values in run.trials["values"]} == {
        ("layers", "units_1", "optimizer"),
        ("layers", "units_1", "optimizer", "momentum"),
        ("layers", "units_1", "units_2", "optimizer"),
        ("layers", "units_1", "units_2", "optimizer", "momentum"),
    }


@pytest.mark.parametrize(
    ("told", "ended"),
    [
        ("search.max_trials=2", ["0000", "0001"]),
        # One more was given to the worker ahead of time, as to a real one.
        ("search.target=0.15", ["0000", "0001", "0002"]),
        ("search.max_minutes=0.1", ["0000", "0001", "0002"]),
    ],
)
def test_a_search_ends_by_what_ends_a_study(told: str, ended: list[str]) -> None:
    run = simulate([*GRID, told], CHOICE, by_width, max_epochs=2)
    assert list(run.trials["trial"]) == ended


def test_time_that_is_up_cuts_the_trial_that_runs() -> None:
    run = simulate([*GRID, "search.max_minutes=0.1"], CHOICE, by_width, max_epochs=2)
    assert times(run)[-1] == ("0002", 6, 9)
    assert list(run.trials["epochs"]) == [2, 2, 1]


def test_a_search_without_gain_loses_patience() -> None:
    run = simulate([*GRID, "search.patience=2"], {"width": [6, 5, 4, 3, 2]}, by_width)
    # Two without a gain, and one more that was given to the worker ahead of time.
    assert list(run.trials["trial"]) == ["0000", "0001", "0002", "0003"]


def test_a_trial_ends_with_its_epoch_when_its_minutes_are_over() -> None:
    told = [*GRID, "search.max_trial_minutes=0.1"]
    run = simulate(told, {"width": [1, 4]}, by_width, max_epochs=9)
    # After more than six seconds: seven of one, or two of four.
    assert list(run.trials["epochs"]) == [7, 2]
    assert run.seconds == 7 + 8


def test_a_search_minimises() -> None:
    def loss(values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
        return {"val_loss": number(values["width"]), "seconds": 0.0}

    run = simulate([*GRID, "search.objective=val_loss"], CHOICE, loss)
    assert run.best is not None
    assert run.best.score == 1
    assert run.seconds == 0


def lucky(values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
    """Score as `by_width`, but in the search the width 4 seems better than any other."""
    metrics = dict(by_width(values, epoch, repeat))
    if (values["width"], repeat) == (4, 0):
        metrics["val_accuracy"] += 0.3
    return metrics


def test_finalists_have_repeats_of_their_own_and_name_the_winner() -> None:
    told = [*GRID, "search.finalists={trials: 3, seeds: 2}"]
    run = simulate(told, CHOICE, lucky, max_epochs=2)
    assert list(run.trials["trial"]) == ["0000", "0001", "0002", "0003", "0004", "0005"]
    found = run.finalists[["trial", "repeat", "epochs"]].itertuples(index=False, name=None)
    order = ["0003", "0005", "0004"]
    assert list(found) == [(trial, repeat, 2) for repeat in (1, 2) for trial in order]
    assert list(run.finalists["score"]) == pytest.approx([0.395, 0.595, 0.495] * 2)
    assert run.best is not None
    assert run.best.race is not None
    assert (run.best.trial_id, run.best.values["width"]) == ("0005", 6)
    assert run.best.race.mean("0005") == pytest.approx(0.595)
    assert run.epochs_spent == 2 * (6 + 6)
    assert (run.seconds, run.finalists["ended"].max()) == (2 * (21 + 30), 2 * (21 + 30))
    assert (len(run.ends), list(run.ends["trial"])[-1]) == (6, "0005")


@pytest.mark.parametrize(
    ("told", "num_validation", "num_trained"),
    [
        ("search.finalists=auto", None, 0),
        # Of sixty images, 0.49 is indistinguishable from 0.59, and 0.39 is not.
        ("search.finalists=auto", 60, 6),
        ("search.finalists={trials: 3, seeds: 1}", 60, 2),
        ("search.finalists={trials: 3, seeds: 1}", None, 3),
        ("search.finalists=null", 60, 0),
        # Time is up after the search, in the second round, and never.
        ("search.max_minutes=0.3", 60, 0),
        ("search.max_minutes=0.6", 60, 3),
        ("search.max_minutes=3", 60, 6),
    ],
)
def test_as_many_finalists_are_trained_as_in_a_study(
    told: str, num_validation: int | None, num_trained: int
) -> None:
    run = simulate([*GRID, told], CHOICE, by_width, max_epochs=1, num_validation=num_validation)
    assert len(run.finalists) == num_trained


@pytest.mark.parametrize("search", ["hyperband", "asha"])
def test_finalists_of_a_search_with_rungs_train_to_the_last(search: str) -> None:
    told = [f"search={search}", "search.finalists={trials: 2, seeds: 2}"]
    run = simulate(told, RANGE, by_rate, max_epochs=9, workers=2)
    assert list(run.finalists["epochs"]) == [9] * 4
    assert run.epochs_spent == run.trials["epochs"].sum() + 4 * 9


def test_starting_points_come_first() -> None:
    told = ["search=qmc", "search.max_trials=3", "search.first=[{width: 4}]"]
    run = simulate(told, CHOICE, by_width, max_epochs=1)
    assert run.trials["values"][0] == {"width": 4}


def test_a_failed_trial_has_no_score_and_the_search_continues() -> None:
    def failing(values: Values, epoch: int, repeat: int) -> Mapping[str, float]:
        if values["width"] == 2 and epoch == 2:
            raise InfeasibleTrial("too wide")
        score = math.nan if values["width"] == 3 else 0.5
        return {"val_accuracy": score, "seconds": 1.0}

    run = simulate(GRID, {"width": [1, 2, 3, 4]}, failing, max_epochs=3)
    assert [math.isnan(score) for score in run.trials["score"]] == [False, True, True, False]
    assert times(run) == [("0000", 0, 3), ("0001", 3, 4), ("0002", 4, 5), ("0003", 5, 8)]


def test_a_search_whose_first_trials_all_fail_ends() -> None:
    with pytest.raises(SearchFailed, match="first 3 trials failed"):
        simulate(GRID, CHOICE, lambda *_: {"val_accuracy": math.inf, "seconds": 1.0})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"overrides": ["data=mnist"]}, "takes overrides of the search.*'data=mnist'"),
        ({"overrides": ["search=nobody"]}, "nobody"),
        ({"overrides": ["search.max_trails=3"]}, "max_trails"),
        ({"overrides": ["search=random", "search.max_trials=null"]}, "search.max_trials"),
        ({"overrides": [*GRID, "search.first=best:other"]}, "names a study"),
        ({"space": {"width": []}}, "width"),
        ({"space": {"width": {"min": 3, "max": 1}}}, "space.width"),
        ({"workers": 0}, "`workers` must be above 0"),
        ({"max_epochs": 0}, "`max_epochs` must be above 0"),
        ({"seed": -1}, "`seed` must"),
        ({"evaluate": lambda *_: {"val_accuracy": 1.0}}, "must return `seconds`"),
        ({"evaluate": lambda *_: {"seconds": 1.0}}, "must return `val_accuracy`"),
        ({"evaluate": lambda *_: {"val_accuracy": 1.0, "seconds": -1.0}}, "at least 0"),
        ({"evaluate": lambda *_: {"val_accuracy": 1.0, "seconds": math.inf}}, "finite"),
    ],
)
def test_bad_input_is_refused_in_one_message(change: Mapping[str, object], said: str) -> None:
    given = {"overrides": GRID, "space": CHOICE, "evaluate": by_width, **change}
    with pytest.raises(ConfigError, match=said):
        simulate(**given)


def test_trials_are_repeated_and_scored_by_the_mean() -> None:
    asked: list[tuple[float, int]] = []

    def noisy(values: Values, epoch: int, repeat: int) -> dict[str, float]:
        asked.append((number(values["x"]), repeat))
        return {"val_accuracy": number(values["x"]) + 0.01 * repeat, "seconds": 1.0}

    overrides = ["search=grid", "search.repeats=3", "search.finalists={trials: 2, seeds: 2}"]
    found = simulate(overrides, {"x": [0.1, 0.5]}, noisy, max_epochs=1)
    # Nothing is known of how much trainings differ, so every trial has all of its repeats.
    assert asked[:6] == [(0.1, 0), (0.1, 1), (0.1, 2), (0.5, 0), (0.5, 1), (0.5, 2)]
    assert found.trials.score.tolist() == pytest.approx([0.11, 0.51])
    assert found.epochs_spent == len(asked)
    # Finalists have seeds of their own.
    assert {repeat for _, repeat in asked[6:]} == {3, 4}
    assert found.best is not None
    assert found.best.values["x"] == 0.5
