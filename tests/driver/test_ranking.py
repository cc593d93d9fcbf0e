"""Which trial of a search is the best, and what a search with constraints does and says."""

import dataclasses
import json
from pathlib import Path

import mlflow
import pytest

from support.loops import SCORES, StartRun
from support.trials import MakeResult
from tuner.constraints import NO_CONSTRAINTS, Constraints
from tuner.driver import conclusion
from tuner.driver.ranking import MAX_UNTRAINED, Ranking
from tuner.errors import SearchFailed
from tuner.outcomes import Outcome, RunTrial, TrialFailure
from tuner.trial import Objective, OnEpoch, TrialRequest

ACCURACY = Objective("val_accuracy", "max")
SMALL = {"num_parameters": {"max": 300}}
LIMITS = Constraints.parse(SMALL)


def metrics(score: float, size: int) -> dict[str, float]:
    return {"val_accuracy": score, "num_parameters": size}


def untrained(trial_id: str, size: int) -> TrialFailure:
    said = LIMITS.broken({"num_parameters": size})
    return TrialFailure(trial_id, said, "", "constraint", {"num_parameters": size})


def test_best_is_the_first_of_those_that_meet_the_constraints() -> None:
    ranking = Ranking(ACCURACY, LIMITS)
    for i, (score, size) in enumerate([(0.9, 400), (0.7, 300), (0.8, 200), (0.8, 100)]):
        ranking.note(f"000{i}", {"width": i}, metrics(score, size))
    assert [trial.trial_id for trial in ranking.ranked()] == ["0002", "0003", "0001"]
    assert ranking.best == ranking.ranked()[0]
    assert (ranking.num_better(0.75), "0000" in ranking, "0009" in ranking) == (2, True, False)
    assert ranking.none_met() is None


def test_ties_are_broken_by_the_other_objectives() -> None:
    several = Objective("val_accuracy", "max", (Objective("num_parameters", "min"),))
    ranking = Ranking(several, NO_CONSTRAINTS)
    for i, (score, size) in enumerate([(0.8, 400), (0.8, 300), (0.8, 300), (0.7, 1)]):
        ranking.note(f"000{i}", {}, metrics(score, size))
    assert [trial.trial_id for trial in ranking.ranked()] == ["0001", "0002", "0000", "0003"]
    assert ranking.best == ranking.ranked()[0]


def test_nearest_trial_is_named_if_none_meets_the_constraints() -> None:
    ranking = Ranking(ACCURACY, LIMITS)
    assert ranking.none_met() is None
    ranking.note("0000", {}, metrics(0.9, 330))
    ranking.note_untrained(untrained("0001", 900))
    said = str(ranking.none_met())
    assert "No trial meets the constraints" in said
    assert "The nearest: trial 0000, num_parameters 330 is above" in said
    assert "extend=true" in said


def test_many_untrained_trials_end_a_search_in_which_none_meets_the_constraints() -> None:
    ranking, other = Ranking(ACCURACY, LIMITS), Ranking(ACCURACY, LIMITS)
    other.note("9999", {}, metrics(0.5, 1))
    for i in range(MAX_UNTRAINED - 1):
        ranking.note_untrained(untrained(str(i), 1000 - i))
        other.note_untrained(untrained(str(i), 1000 - i))
    other.note_untrained(untrained("0050", 400))
    with pytest.raises(SearchFailed, match=r"50 models broke.*The nearest: trial 0050, num_p"):
        ranking.note_untrained(untrained("0050", 400))


@pytest.fixture
def by_width(make_result: MakeResult) -> RunTrial:
    """Train models of 100 parameters a unit; those above 300 are refused before training."""

    def run(request: TrialRequest, on_epoch: OnEpoch) -> Outcome:
        width = int(request.values["width"])
        if width > 3:
            return untrained(request.trial_id, 100 * width)
        epochs = ({"val_accuracy": 0.1}, {"val_accuracy": SCORES[width]})
        result = make_result(request.trial_id)
        return dataclasses.replace(result, epochs=epochs, num_parameters=100 * width)

    return run


def test_untrained_trials_are_recorded_and_end_no_search(
    start_run: StartRun, by_width: RunTrial, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    run = start_run(by_width, constraints={"num_parameters": {"max": 300}})
    run.loop.run()
    assert run.oracle.scores == {"0000": 0.5, "0001": 0.75, "0002": 0.25}
    assert (run.oracle.num_told, run.loop.num_ended) == (5, 5)
    recorded = client.search_runs(["1"], "tags.`tuner.failure` = 'constraint'")
    assert {r.data.tags["tuner.trial"]: r.data.metrics["num_parameters"] for r in recorded} == {
        "0003": 400,
        "0004": 500,
    }
    assert {r.info.status for r in recorded} == {"FAILED"}
    assert client.list_artifacts(recorded[0].info.run_id) == []
    assert "above search.constraints.num_parameters.max=300" in str(
        recorded[0].data.tags["tuner.error"]
    )
    journal = (tmp_path / "experiments" / "first" / "oracle.jsonl").read_text()
    assert '{"tell": "0003", "score": null, "measured": {"num_parameters": 400}}' in journal
    # Everything has ended, so another process has nothing to do, and knows the best.
    again = start_run(by_width, constraints={"num_parameters": {"max": 300}})
    again.loop.run()
    best = again.loop.best()
    assert best is not None
    assert (best.trial_id, best.score, again.loop.num_ended) == ("0001", 0.75, 5)


def test_search_is_resumed_with_what_meets_its_constraints(
    start_run: StartRun, by_width: RunTrial, client: mlflow.MlflowClient
) -> None:
    """Of those that were trained, the best is too large; it is not shown as the best so far."""
    limits = {"num_parameters": {"max": 150}}
    first = start_run(by_width, constraints=limits, max_trials=2)
    first.loop.run()
    second = start_run(by_width, constraints=limits, log_models="best")
    second.loop.run()
    second.loop.finish()
    run = client.get_run(second.parts.tracker.run_id)
    assert (run.data.tags["tuner.best_trial"], run.data.metrics["best_val_accuracy"]) == (
        "0000",
        0.5,
    )
    assert [trial.trial_id for trial in second.loop.ranking.ranked()] == ["0000"]


def test_search_without_a_trial_that_meets_its_constraints_has_no_best(
    start_run: StartRun, by_width: RunTrial
) -> None:
    run = start_run(by_width, constraints={"val_accuracy": {"min": 0.9}}, max_trials=3)
    run.loop.run()
    assert run.loop.best() is None
    with pytest.raises(SearchFailed, match=r"trial 0001, val_accuracy 0\.7500 is below"):
        conclusion.best_of(run.loop)


def test_challenger_is_the_best_within_the_gates_limits(
    start_run: StartRun, by_width: RunTrial
) -> None:
    run = start_run(by_width)
    run.loop.run()
    found = {
        size: run.loop.best(Constraints.of_gate(size, None)) for size in (50, 100, 200, 300)
    }
    ids = {size: best and best.trial_id for size, best in found.items()}
    assert ids == {50: None, 100: "0000", 200: "0001", 300: "0001"}
    assert run.loop.best(NO_CONSTRAINTS) == run.loop.best()


def test_other_objectives_are_told_and_rank_nothing(
    start_run: StartRun, by_width: RunTrial, tmp_path: Path
) -> None:
    several = Objective("val_accuracy", "max", (Objective("num_parameters", "min"),))
    run = start_run(by_width, objective=several, max_trials=3)
    run.loop.run()
    best = run.loop.best()
    assert best is not None
    assert best.trial_id == "0001"
    journal = (tmp_path / "experiments" / "first" / "oracle.jsonl").read_text()
    told = [json.loads(line) for line in journal.splitlines() if '"tell": "0001"' in line]
    assert [event["score"] for event in told] == [0.75]
    assert [event["measured"] for event in told] == [{"num_parameters": 200}]
    assert start_run(by_width, objective=several).oracle.scores == run.oracle.scores


def test_trials_that_break_a_constraint_are_no_gain(
    start_run: StartRun, by_width: RunTrial
) -> None:
    """The scores are 0.5, 0.75 and 0.25: with one of 200 parameters refused, none is a gain."""
    limits = {"num_parameters": {"max": 150}}
    run = start_run(by_width, constraints=limits, patience=2)
    run.loop.run()
    assert list(run.oracle.scores) == ["0000", "0001", "0002"]
    assert run.oracle.num_told == 3
