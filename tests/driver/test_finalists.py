"""Finalists: which trials are trained again, with which seeds, and what becomes of them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run as MlflowRun
from rich.console import Console

from support.clocks import SetClock
from support.loops import OBJECTIVE, Run, StartRun
from support.trials import MakeResult
from tuner import names
from tuner.config.finalists import Finalists
from tuner.config.searches import AshaConfig, HyperbandConfig, SearchConfig
from tuner.constraints import NO_CONSTRAINTS
from tuner.driver import finalists
from tuner.driver.finalists import FinalistSource
from tuner.driver.parts import Best
from tuner.driver.ranking import Ranked, Ranking
from tuner.driver.steering import LOOK_SECONDS
from tuner.evaluation.racing import Race
from tuner.outcomes import Outcome, RunTrial, Told, TrialFailure, TrialPause
from tuner.runtime.screen import ConsoleScreen
from tuner.tracking import history
from tuner.trial import Objective, ReportEpoch, TrialRequest, finalist_seed, trial_seed

Scores = Callable[[str, int], float | None]
"""The score of a trial under the seed of this number; None if it fails."""

NEW = {finalist_seed(0, number): number for number in (1, 2, 3)}
"""The numbers of the new seeds of a study with seed 0."""

IN_SEARCH = {1: 0.5, 2: 0.75, 3: 0.25, 4: 0.75, 5: 0.625}
AGAIN = {2: (0.7, 0.6, 0.65), 4: (0.7, 0.72, 0.71), 5: (0.6, 0.7, 0.6)}
"""What each `width` scores in the search, and with the new seeds."""

NUM_VALIDATION = 40
"""So few that 0.625 lies in the interval of 0.75, and 0.5 does not."""


def ranked(*scores: float, objective: Objective = OBJECTIVE) -> list[Ranked]:
    ranking = Ranking(objective, NO_CONSTRAINTS)
    for i, score in enumerate(scores):
        ranking.note(f"{i:04d}", {"epochs": 1}, {objective.name: score})
    return ranking.ranked()


@pytest.mark.parametrize(
    ("trials", "wanted", "num_validation", "expected"),
    [
        (ranked(0.9, 0.91, 0.5), Finalists(), 1000, ["0001", "0000"]),
        # The best three of four, the earlier one first in a tie.
        (ranked(0.9, 0.91, 0.9, 0.89), Finalists(), 1000, ["0001", "0000", "0002"]),
        (ranked(0.9, 0.91, 0.9, 0.89), Finalists(trials=2), 1000, ["0001", "0000"]),
        # One training tells them apart: none is trained again, even if that was asked for.
        (ranked(0.9, 0.5), Finalists(), 1000, []),
        (ranked(0.9, 0.5), Finalists(is_asked=True), 1000, []),
        (ranked(0.9), Finalists(is_asked=True), 1000, []),
        ([], Finalists(is_asked=True), 1000, []),
        # No interval is known: only where a person has asked.
        (ranked(0.9, 0.5), Finalists(), None, []),
        (ranked(0.9, 0.5), Finalists(is_asked=True), None, ["0000", "0001"]),
    ],
)
def test_choose_takes_the_best_that_are_indistinguishable(
    trials: list[Ranked],
    wanted: Finalists,
    num_validation: int | None,
    expected: list[str],
) -> None:
    chosen = finalists.choose(trials, OBJECTIVE, wanted, num_validation)
    assert [trial.trial_id for trial in chosen] == expected


@pytest.mark.parametrize(("wanted", "num"), [(Finalists(), 0), (Finalists(is_asked=True), 2)])
def test_choose_of_a_loss_is_asked_for(wanted: Finalists, num: int) -> None:
    loss = Objective("val_loss", "min")
    chosen = finalists.choose(ranked(0.9, 0.5, objective=loss), loss, wanted, 1000)
    assert len(chosen) == num


def race_of(score: Scores, num_finalists: int, num_seeds: int) -> tuple[list[str], Race | None]:
    """Run a race, the last finalist of a round always ending first; return what was trained."""
    values = {trial_id: {"epochs": 1} for trial_id in "abcd"[:num_finalists]}
    source = FinalistSource(values, OBJECTIVE, range(num_seeds))
    trained: list[str] = []
    while True:
        batch = []
        while (proposal := source.ask()) is not None:
            batch.append(proposal)
        if not batch:
            return trained, source.race
        for proposal in reversed(batch):
            trained.append(proposal.trial_id)
            trial_id, _, number = proposal.trial_id.partition("-seed")
            assert proposal.seed == int(number) - 1
            source.tell(proposal.trial_id, Told(score(trial_id, int(number))))


@pytest.mark.parametrize(
    ("score", "num_finalists", "num_seeds", "num_trained", "scores"),
    [
        # Nobody is clearly worse: all seeds are used up.
        (lambda t, n: {"a": 0.8, "b": 0.81}[t] + n / 100, 2, 3, 6,
         {"a": 3, "b": 3}),
        # Both others are, after the second seed.
        (lambda t, n: {"a": 0.5, "b": 0.9, "c": 0.6}[t] + n / 1000, 3, 5, 6,
         {"a": 2, "b": 2, "c": 2}),
        # One of them is; the others use up the seeds.
        (lambda t, n: {"a": 0.5, "b": 0.9, "c": 0.901}[t] + n / 1000, 3, 3, 8,
         {"a": 2, "b": 3, "c": 3}),
        # One seed tells nobody apart.
        (lambda t, n: {"a": 0.5, "b": 0.9}[t], 2, 1, 2, {"a": 1, "b": 1}),
        # One that fails leaves, whatever its other scores.
        (lambda t, n: None if (t, n) == ("b", 2) else {"a": 0.8, "b": 0.9, "c": 0.8}[t] + n / 9,
         3, 3, 8, {"a": 3, "b": 1, "c": 3}),
        (lambda t, n: None if t == "a" else 0.5, 2, 3, 2, {"a": 0, "b": 1}),
        # If all fail, the whole rounds before count.
        (lambda t, n: None if n == 3 else {"a": 0.8, "b": 0.81}[t] + n / 100, 2, 3, 6,
         {"a": 2, "b": 2}),
        (lambda t, n: None, 2, 3, 2, None),
    ],
)  # fmt: skip
def test_race_trains_as_many_as_it_takes(
    score: Scores,
    num_finalists: int,
    num_seeds: int,
    num_trained: int,
    scores: Mapping[str, int] | None,
) -> None:
    trained, race = race_of(score, num_finalists, num_seeds)
    assert len(trained) == len(set(trained)) == num_trained
    found = None if race is None else {trial: len(s) for trial, s in race.scores.items()}
    assert found == scores


class Study:
    """A study whose trials and finalists are plain functions."""

    def __init__(self, start_run: StartRun, make_result: MakeResult) -> None:
        self.trained: list[tuple[int, int]] = []
        self._start_run, self._make_result = start_run, make_result

    def run(self, wrapped: RunTrial | None = None, **options: Any) -> tuple[Run, Best | None]:
        """Search, and train the finalists, as a process of its own would."""
        options = {"finalists": "auto"} | options
        run = self._start_run(wrapped or self.train, **options)
        run.loop.run()
        screen = ConsoleScreen(Console())
        display = functools.partial(finalists.progress, run.config, run.parts, screen)
        best = finalists.train(run.config, run.parts, run.loop, display, NUM_VALIDATION)
        return run, best

    def train(self, request: TrialRequest, report: ReportEpoch) -> Outcome:
        """Train a trial (number 0) or a finalist for two epochs."""
        width, number = int(str(request.values["width"])), NEW.get(request.seed, 0)
        self.trained.append((width, number))
        score = AGAIN[width][number - 1] if number else IN_SEARCH[width]
        epochs = ({"val_accuracy": 0.1}, {"val_accuracy": score})
        why = None
        for epoch, metrics in enumerate(epochs, 1):
            why = report(request.trial_id, epoch, metrics)
            if why is not None:
                break
        result = self._make_result(request.trial_id)
        stopped = why if epoch < len(epochs) else None
        return dataclasses.replace(result, epochs=epochs[:epoch], stopped=stopped)

    @property
    def again(self) -> list[tuple[int, int]]:
        """The width and the number of the seed of each finalist that was trained."""
        return [(width, number) for width, number in self.trained if number]


@pytest.fixture
def study(start_run: StartRun, make_result: MakeResult) -> Study:
    return Study(start_run, make_result)


ALL = [(width, number) for number in (1, 2, 3) for width in (2, 4, 5)]


def finalist_runs(client: mlflow.MlflowClient) -> dict[str, MlflowRun]:
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(ids, f"tags.`{names.KIND}` = '{names.KIND_FINALIST}'")
    return {run.data.tags[names.TRIAL]: run for run in found}


def test_finalists_name_the_winner_by_new_seeds(
    study: Study, client: mlflow.MlflowClient
) -> None:
    run, best = study.run()
    assert study.again == ALL
    assert best is not None
    assert best.race is not None
    # The search ranks width 2 first, whose trial is 0001; width 4 is trial 0003.
    assert list(best.race.scores) == ["0001", "0003", "0004"]
    assert (best.trial_id, best.name, best.score) == ("0003", "0003-seed3", 0.71)
    assert (best.searched, best.values["width"], best.seed) == (0.75, 4, finalist_seed(0, 3))
    recorded = finalist_runs(client)
    assert len(recorded) == len(ALL)
    assert recorded["0003-seed3"].info.run_id == best.run_id
    tags = recorded["0001-seed2"].data.tags
    assert (tags[names.FINALIST_OF], tags[names.SEED]) == ("0001", str(finalist_seed(0, 2)))
    assert recorded["0001-seed2"].data.metrics["val_accuracy"] == 0.6
    # They are no trials: neither to the search nor to those who read its records.
    assert run.loop.num_ended == len(run.parts.tracker.finished_trials()) == 5
    facts = history.read_study(client.get_run(run.parts.tracker.run_id))
    assert len(history.trials(client, facts.experiment_id, facts.study_id)) == 5
    assert (facts.race, facts.best_model) == (best.race, "0003-seed3")


def test_finalists_have_seeds_and_curves_of_their_own(study: Study) -> None:
    curves: dict[str, set[int]] = {}

    def note(request: TrialRequest, report: ReportEpoch) -> Outcome:
        curves.setdefault(str(request.curve_dir), set()).add(request.seed)
        return study.train(request, report)

    run, _ = study.run(note)
    assert len(curves) == 5 + len(ALL)
    assert set().union(*curves.values()) >= set(NEW)
    assert trial_seed(0, {"epochs": 2, "batch_size": 32, "width": 2}) not in NEW
    # What the search's curves are called does not depend on there being finalists.
    values = {"epochs": 2, "batch_size": 32, "width": 2}
    assert str(run.parts.curves.begin("0001", values)) in curves


@pytest.mark.parametrize("num_before", [0, 1, 3, 8])
def test_killed_finalists_resume_where_they_were(
    num_before: int, study: Study, client: mlflow.MlflowClient
) -> None:
    def killed(request: TrialRequest, report: ReportEpoch) -> Outcome:
        if request.seed in NEW and len(study.again) == num_before:
            report(request.trial_id, 1, {"val_accuracy": 0.1})
            raise KeyboardInterrupt
        return study.train(request, report)

    with pytest.raises(KeyboardInterrupt):
        study.run(killed)
    statuses = [run.info.status for run in finalist_runs(client).values()]
    assert sorted(statuses) == ["FINISHED"] * num_before + ["KILLED"]
    _, best = study.run()
    assert study.again == ALL
    assert best is not None
    assert (best.name, len(finalist_runs(client))) == ("0003-seed3", len(ALL))
    # Once more, nothing is trained, and the result is the same.
    _, again = study.run()
    assert (again, study.again) == (best, ALL)


def test_extended_study_chooses_anew_and_reuses_what_it_has(study: Study) -> None:
    _, few = study.run(max_trials=2)
    # Width 1 is distinguishable: there is no finalist yet.
    assert (few, study.again) == (None, [])
    _, more = study.run(max_trials=4, finalists={"seeds": 2})
    assert more is not None
    assert study.again == [(2, 1), (4, 1), (2, 2), (4, 2)]
    study.run()
    assert sorted(study.again) == sorted(ALL)


@pytest.mark.parametrize("given", [None, {"trials": 2, "seeds": 1}])
def test_as_many_are_trained_as_are_wanted(given: Any, study: Study) -> None:
    _, best = study.run(finalists=given)
    assert study.again == ([] if given is None else [(2, 1), (4, 1)])
    assert (best is None) == (given is None)


@pytest.mark.parametrize(
    "search",
    [
        AshaConfig("asha", max_trials=5, sampler="random", max_epochs=4, reduction_factor=2),
        HyperbandConfig("hyperband", max_epochs=4, reduction_factor=2),
    ],
    ids=["asha", "hyperband"],
)
def test_finalists_of_a_search_with_rungs_train_to_the_last(
    search: SearchConfig, study: Study, make_result: MakeResult
) -> None:
    again: list[tuple[int, bool]] = []

    def train(request: TrialRequest, report: ReportEpoch) -> Outcome:
        best = IN_SEARCH[int(str(request.values["width"]))]
        numbers = range(1, request.epochs + 1)
        epochs = tuple({"val_accuracy": best * (1 - 0.5**number)} for number in numbers)
        for number, metrics in enumerate(epochs, 1):
            report(request.trial_id, number, metrics)
        if request.seed in NEW:
            again.append((request.epochs, request.pauses))
        if request.pauses:
            return TrialPause(request.trial_id, epochs, 10, 1.0, 2.0)
        return dataclasses.replace(make_result(request.trial_id), epochs=epochs)

    _, best = study.run(train, search=dataclasses.replace(search, finalists="auto"))
    assert best is not None
    assert set(again) == {(4, False)}


@pytest.mark.parametrize("kind", ["infeasible", "error", "fatal"])
@pytest.mark.parametrize(
    ("failing", "winner", "num_trained"),
    [
        ({(4, 2)}, "0001", 7),
        ({(2, 1), (4, 1)}, "0004", 1),
        ({(w, 1) for w in (2, 4, 5)}, None, 0),
    ],
)
def test_failing_finalist_leaves_and_the_study_goes_on(
    failing: set[tuple[int, int]], winner: str | None, num_trained: int, kind: Any, study: Study
) -> None:
    def fail(request: TrialRequest, report: ReportEpoch) -> Outcome:
        if (request.values["width"], NEW.get(request.seed)) in failing:
            return TrialFailure(request.trial_id, "ValueError: no", "Traceback", kind)
        return study.train(request, report)

    _, best = study.run(fail)
    assert (None if best is None else best.trial_id) == winner
    assert len(study.again) == num_trained


@pytest.mark.parametrize(
    ("asked", "at", "num_ended", "winner"),
    [
        # `true` lets the finalist under way train to its end, `now` ends it after its epoch.
        ("true", (4, 1), 2, None),
        ("now", (4, 1), 2, None),
        # A whole round counts, and what came after it does not.
        ("true", (4, 2), 5, "0001"),
        ("now", (4, 2), 5, "0001"),
    ],
)
def test_study_can_be_stopped_while_finalists_train(
    asked: str,
    at: tuple[int, int],
    num_ended: int,
    winner: str | None,
    study: Study,
    client: mlflow.MlflowClient,
) -> None:
    clock = SetClock()
    run_ids: list[str] = []

    def stop(request: TrialRequest, report: ReportEpoch) -> Outcome:
        clock.time += LOOK_SECONDS
        if (request.values["width"], NEW.get(request.seed)) == at:
            client.set_tag(run_ids[0], names.STOP, asked)
        return study.train(request, report)

    first, _ = study.run(max_trials=1)
    run_ids.append(first.parts.tracker.run_id)
    run, best = study.run(stop, clock=clock)
    assert run.parts.folder.state.was_stopped
    assert len(finalist_runs(client)) == num_ended
    assert (None if best is None else best.trial_id) == winner
    _, resumed = study.run()
    assert resumed is not None
    assert (resumed.name, len(finalist_runs(client))) == ("0003-seed3", len(ALL))
    ended = [run.data.metrics["val_accuracy"] for run in finalist_runs(client).values()]
    assert sorted(ended) == sorted(score for scores in AGAIN.values() for score in scores)


@pytest.mark.parametrize(
    ("minutes_each", "num_trained"),
    # Five trials, then finalists until ten minutes are over.
    [(2.0, 0), (1.5, 2), (1.0, 5)],
)
def test_finalists_share_the_time_of_the_study(
    minutes_each: float, num_trained: int, study: Study
) -> None:
    clock = SetClock()

    def take(request: TrialRequest, report: ReportEpoch) -> Outcome:
        outcome = study.train(request, report)
        clock.time += 60 * minutes_each
        return outcome

    study.run(take, max_minutes=10.0, clock=clock)
    assert len(study.again) == num_trained
    _, best = study.run()
    assert best is not None
    assert study.again[num_trained:] == ALL[num_trained:]
