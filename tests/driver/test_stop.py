"""Studies and trials that are asked to end: what is recorded, told, and resumed later."""

import dataclasses
import json
from pathlib import Path

import mlflow
import pytest

from support.clocks import SetClock
from support.commands import command, runs, start, wait_for
from support.loops import Run, StartRun
from support.trials import MakeResult
from tuner import names
from tuner.driver.steering import LOOK_SECONDS
from tuner.outcomes import Outcome, RunTrial
from tuner.trial import ReportEpoch, TrialRequest

EPOCHS = tuple({"loss": 1.0 / i, "val_accuracy": i / 10} for i in (1, 2, 3))


def training(
    make_result: MakeResult,
    clock: SetClock,
    client: mlflow.MlflowClient,
    requests: dict[str, tuple[str, str]],
) -> RunTrial:
    """Return a trial of three epochs, during whose first somebody sets tags.

    Args:
        make_result: Makes a result.
        clock: Told that an epoch takes as long as it takes the driver to look for requests.
        client: Of the store.
        requests: For a trial, `tuner.stop` and whose run gets it: `study` or `trial`.
    """

    def run(request: TrialRequest, report: ReportEpoch) -> Outcome:
        why = None
        epochs = []
        for number, metrics in enumerate(EPOCHS, 1):
            epochs.append(metrics)
            if number == 1 and request.trial_id in requests:
                text, kind = requests[request.trial_id]
                set_stop(client, kind, text, request.trial_id)
            clock.time += LOOK_SECONDS
            why = report(request.trial_id, number, metrics)
            if why is not None:
                break
        stopped = why if len(epochs) < len(EPOCHS) else None
        result = make_result(request.trial_id)
        return dataclasses.replace(result, epochs=tuple(epochs), stopped=stopped)

    return run


def set_stop(client: mlflow.MlflowClient, kind: str, text: str, trial_id: str) -> None:
    experiments = [e.experiment_id for e in client.search_experiments()]
    query = f"tags.`{names.KIND}` = '{kind}'"
    if kind == names.KIND_TRIAL:
        query += f" and tags.`{names.TRIAL}` = '{trial_id}'"
    [found] = client.search_runs(experiments, query)
    client.set_tag(found.info.run_id, names.STOP, text)


def recorded(client: mlflow.MlflowClient) -> dict[str, tuple[str, str, int]]:
    """Return status, reason and number of epochs of every trial's run."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = {}
    for run in client.search_runs(experiments, f"tags.`{names.KIND}` = 'trial'"):
        points = client.get_metric_history(run.info.run_id, "val_accuracy")
        found[run.data.tags[names.TRIAL]] = (
            run.info.status,
            run.data.tags[names.STOPPED],
            len(points),
        )
    return found


def told(run: Run) -> set[str]:
    journal = run.parts.folder.journal.read_text().splitlines()
    return {event["tell"] for event in map(json.loads, journal) if "tell" in event}


@pytest.mark.parametrize(
    ("requests", "expected", "untold"),
    [
        ({"0001": ("true", "trial")}, {"0001": ("FINISHED", "user", 1)}, set()),
        ({"0001": (" TRUE ", "trial")}, {"0001": ("FINISHED", "user", 1)}, set()),
        # Neither is a request.
        ({"0001": ("no", "trial"), "0002": ("later", "study")}, {}, set()),
        ({"0001": ("true", "study")}, {"0001": ("FINISHED", "", 3)}, set()),
        ({"0001": ("now", "study")}, {"0001": ("FINISHED", "user", 1)}, {"0001"}),
        (
            {"0000": ("true", "trial"), "0001": ("now", "study")},
            {"0000": ("FINISHED", "user", 1), "0001": ("FINISHED", "user", 1)},
            {"0001"},
        ),
    ],
)
def test_a_tag_ends_a_trial_or_the_study(
    requests: dict[str, tuple[str, str]],
    expected: dict[str, tuple[str, str, int]],
    untold: set[str],
    start_run: StartRun,
    make_result: MakeResult,
    client: mlflow.MlflowClient,
) -> None:
    clock = SetClock()
    run = start_run(training(make_result, clock, client, requests), clock=clock)
    run.loop.run()
    is_ending = any(kind == "study" and t in ("true", "now") for t, kind in requests.values())
    trials = ["0000", "0001"] if is_ending else [f"000{i}" for i in range(5)]
    whole = {trial_id: ("FINISHED", "", 3) for trial_id in trials}
    assert recorded(client) == whole | expected
    assert told(run) == set(trials) - untold
    assert run.loop.was_stopped == is_ending
    assert run.loop.num_ended == len(trials)
    assert run.loop.best() is not None
    # Resumed, the study is what it would have been, but for the trials stopped by themselves.
    again = start_run(training(make_result, clock, client, {}), clock=clock)
    again.loop.run()
    alone = {i: f for i, f in expected.items() if requests.get(i, ("", ""))[1] == "trial"}
    assert recorded(client) == {f"000{i}": ("FINISHED", "", 3) for i in range(5)} | alone
    assert told(again) == {f"000{i}" for i in range(5)}


def test_time_that_is_up_ends_a_trial_after_its_epoch_and_more_time_resumes_it(
    start_run: StartRun, make_result: MakeResult, client: mlflow.MlflowClient
) -> None:
    clock = SetClock()
    whole = training(make_result, clock, client, {})

    def timed(request: TrialRequest, report: ReportEpoch) -> Outcome:
        assert request.deadline is not None
        epochs = []
        for number, metrics in enumerate(EPOCHS, 1):
            epochs.append(metrics)
            clock.time += 60
            report(request.trial_id, number, metrics)
            if clock.now() > request.deadline:
                break
        stopped = "time" if len(epochs) < len(EPOCHS) else None
        result = make_result(request.trial_id)
        return dataclasses.replace(result, epochs=tuple(epochs), stopped=stopped)

    first = start_run(timed, max_minutes=3.5, clock=clock)
    first.loop.run()
    assert recorded(client) == {"0000": ("FINISHED", "", 3), "0001": ("FINISHED", "time", 1)}
    assert told(first) == {"0000"}
    # A process that is killed before the study is concluded leaves the rest to the next one.
    later = start_run(timed, max_minutes=3.5, clock=clock)
    later.loop.run()
    assert later.loop.num_ended == 2
    longer = start_run(whole, max_minutes=600, clock=clock)
    longer.loop.run()
    assert recorded(client) == {f"000{i}": ("FINISHED", "", 3) for i in range(5)}


def test_models_of_a_trial_that_is_resumed_are_replaced(
    start_run: StartRun, make_result: MakeResult, client: mlflow.MlflowClient
) -> None:
    clock = SetClock()
    cut = start_run(
        training(make_result, clock, client, {"0000": ("now", "study")}), clock=clock
    )
    cut.loop.run()
    experiments = [e.experiment_id for e in client.search_experiments()]
    [before] = client.search_logged_models(experiments)
    whole = start_run(training(make_result, clock, client, {}), clock=clock, max_trials=1)
    whole.loop.run()
    [after] = client.search_logged_models(experiments)
    assert before.model_id != after.model_id
    [run] = client.search_runs(experiments, f"tags.`{names.KIND}` = 'trial'")
    points = client.get_metric_history(run.info.run_id, "test_accuracy")
    assert [point.step for point in points] == [1, 3]


def test_progress_stands_in_tags_of_the_study(
    start_run: StartRun,
    make_result: MakeResult,
    client: mlflow.MlflowClient,
) -> None:
    clock = SetClock()
    seen: list[dict[str, str]] = []
    train = training(make_result, clock, client, {})

    def watched(request: TrialRequest, report: ReportEpoch) -> Outcome:
        clock.time += 10
        outcome = train(request, report)
        seen.append(client.get_run(run.parts.tracker.run_id).data.tags)
        return outcome

    run = start_run(watched, clock=clock)
    run.loop.run()
    assert seen[0][names.PROGRESS] == "0 of 5 trials; 0000 epoch 1/2"
    assert names.BEST_SO_FAR not in seen[0]
    assert seen[1][names.PROGRESS].startswith("1 of 5 trials; 0001 ")
    assert seen[1][names.BEST_SO_FAR] == "val_accuracy 0.3000 (trial 0000)"
    assert seen[1][names.TIME_LEFT].startswith("about ")
    last = client.get_run(run.parts.tracker.run_id).data.tags
    assert last[names.PROGRESS] == "5 of 5 trials"
    assert last[names.TIME_LEFT] == "none"


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor",
    ["processes", *(pytest.param(name, marks=pytest.mark.long) for name in ("serial", "ray"))],
)
def test_stop_command_ends_a_trial_and_then_the_study(executor: str, tmp_path: Path) -> None:
    given = [
        "study=first", "data=digits", f"executor={executor}", "search.max_trials=4",
        "space.epochs=[20000]", "space.units=[16,24]",
    ]  # fmt: skip
    process = start(tmp_path, *given)
    log = tmp_path / "experiments" / "first" / "tune.log"
    wait_for(log, "trial 0000 epoch 3/")
    ended = command(tmp_path, "stop", "study=first", "trial=0")
    assert ended.returncode == 0, ended.stderr
    assert "Trial 0000 of study first was asked to end after the epoch" in ended.stdout
    wait_for(log, "stopped by hand after epoch")
    wait_for(log, "trial 0001 epoch 2/")
    stopped = command(tmp_path, "stop", "study=first", "now=true")
    assert stopped.returncode == 0, stopped.stderr
    said, failed = process.communicate(timeout=120)
    assert process.returncode == 0, failed
    assert "Best of " in said
    assert "now champion" in said
    for run in runs(tmp_path, "trial"):
        assert (run.info.status, run.data.tags[names.STOPPED]) == ("FINISHED", "user")
    again = command(tmp_path, "stop", "study=first")
    assert again.returncode == 2
    assert "is finished: there is nothing to stop" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["study=other"], "There is no study 'other'"),
        (["study=first", "trial=x"], "must be a trial's number such as 0007"),
        (["study=first", "trial=0007-seed"], "or a finalist's name such as 0007-seed1"),
        (["study=first", "trial=1", "now=true"], "give either trial= or now=true"),
        (["trial=1"], "`study` is missing"),
    ],
)
def test_stop_refuses(given: list[str], expected: str, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("digits")
    run = client.create_run(
        experiment,
        tags={names.KIND: "study", names.STUDY: "first", names.STUDY_ID: "id-1"},
    )
    client.set_terminated(run.info.run_id)
    done = command(tmp_path, "stop", *given)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
