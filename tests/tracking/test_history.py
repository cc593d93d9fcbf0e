"""The one reader returns what was recorded, on a real SQLite store."""

import math
import socket
from pathlib import Path
from typing import Any

import mlflow
import pytest

from support.trials import MakeResult
from tuner.errors import StudyError
from tuner.tracking import history, json_tags, trial_epochs
from tuner.tracking.data_record import DataRecord
from tuner.tracking.runs import Tracker

DATA = DataRecord("digits", "d1", "{}", "{}")

VALUES = {
    "epochs": 2,
    "nothing": None,
    "said_none": "None",
    "said_null": "null",
    "yes": True,
    "said_yes": "True",
    "said_true": "true",
    "one": 1,
    "said_one": "1",
    "one_float": 1.0,
    "tiny": 1e-300,
    "said_exponent": "1e3",
    "tuple": "(1, 3)",
    "list": "[1, 3]",
    "mapping": "{'a': 1}",
    "empty": "",
    "blank": " ",
    "unicode": "größe 数据 \U0001f600",
    "quotes": 'it\'s "x" \\ \n',
    "long": "x" * 20_000,
    "large": 10**30,
}


def open_tracker(client: mlflow.MlflowClient, settings: dict[str, Any]) -> Tracker:
    tracker = Tracker(client, "digits", "first", "id-1")
    tracker.open_study(settings, DATA, [])
    return tracker


def typed(values: dict[str, Any]) -> dict[str, tuple[type, Any]]:
    return {name: (type(value), value) for name, value in values.items()}


def test_values_and_settings_come_back_as_they_were(client: mlflow.MlflowClient) -> None:
    settings = {f"space.{name}": [value, None] for name, value in VALUES.items()}
    settings |= {"space.units": list(range(20_000)), "search.max_trials": None, "seed": 0}
    tracker = open_tracker(client, settings)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    [trial] = history.trials(client, "1", "id-1")
    assert typed(dict(trial.values)) == typed(VALUES)
    facts = history.read_study(client.get_run(tracker.run_id))
    assert facts.settings == settings
    assert len(client.get_run(run_id).data.params) == len(VALUES)
    # Another process resumes with exactly these values, and with fewer settings.
    again = open_tracker(client, {"seed": 0})
    assert again.finished("0000", VALUES) is None
    assert history.read_study(client.get_run(again.run_id)).settings == {"seed": 0}


@pytest.mark.parametrize("length", [0, 4998, 4999, 5000, 9998, 15_000])
def test_json_in_tags_is_read_whole(length: int) -> None:
    tags = json_tags.as_tags("tuner.values", "x" * length)
    assert all(len(part) <= json_tags.MAX_TAG for part in tags.values())
    assert json_tags.from_tags(tags, "tuner.values") == "x" * length
    left_over = {**json_tags.as_tags("tuner.values", "y" * 30_000), **tags}
    assert json_tags.from_tags(left_over, "tuner.values") == "x" * length
    assert json_tags.from_tags({}, "tuner.values") is None


def test_tag_that_was_altered_is_named() -> None:
    with pytest.raises(StudyError, match=r"tag tuner\.values .* altered: .__import__"):
        json_tags.from_tags({"tuner.values": "__import__('os')"}, "tuner.values")


def test_study_tells_owner_and_folder(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    facts = history.read_study(client.get_run(open_tracker(client, {}).run_id))
    assert facts.owner == "ann"
    assert facts.folder == f"{socket.gethostname()}:{Path.cwd()}"


def test_presence_tells_deleted_from_gone(
    client: mlflow.MlflowClient, make_result: MakeResult
) -> None:
    tracker = open_tracker(client, {})
    for trial_id in ("0000", "0001", "0002"):
        tracker.open_trial(trial_id, {"epochs": 2}, {})
        if trial_id != "0002":
            tracker.finish_trial(make_result(trial_id))
    client.delete_run(tracker.run_of("0001"))
    found = tracker.presence(["0000", "0001", "0002", "0003"])
    assert (found.present, found.deleted, found.gone) == (
        {"0000"},
        {"0001"},
        # One is unfinished, as after a power cut; one does not exist.
        {"0002", "0003"},
    )


def test_curve_and_files_are_read(client: mlflow.MlflowClient, make_result: MakeResult) -> None:
    tracker = open_tracker(client, {})
    run_id = tracker.open_trial("0000", {"epochs": 2}, {}).run_id
    tracker.finish_trial(result := make_result("0000"))
    trial = history.read_trial(client.get_run(run_id))
    assert trial_epochs.curve(client, trial, "loss") == [e["loss"] for e in result.epochs]
    assert trial_epochs.by_epoch(client, run_id, trial.values, "loss") == {
        epoch: metrics["loss"] for epoch, metrics in enumerate(result.epochs, 1)
    }
    assert history.read_file(client, run_id, "evaluation.json") is not None
    assert history.read_file(client, run_id, "promotion/decision.json") is None
    assert math.isfinite(history.trials(client, "1", "id-1")[0].ended)
