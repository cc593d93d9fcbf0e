"""The summary of a finished study, repeated, on a real store and its registry."""

from collections.abc import Callable

import mlflow
import pytest

from support.trials import MakeResult
from tuner.tracking import history, standing, tracking_store
from tuner.tracking.data_record import DataRecord
from tuner.tracking.logged_models import logged_model_id
from tuner.tracking.runs import Tracker

LINES = [
    "Best of 1 trials: 0000",
    "Registered as m version 1, now champion.",
    "  There was no champion to beat.",
]


@pytest.fixture
def tracker(client: mlflow.MlflowClient, make_result: MakeResult) -> Tracker:
    """A finished study whose best model is champion."""
    made = Tracker(client, "digits", "first", "id-1")
    made.open_study({}, DataRecord("digits", "d1", "{}", "{}"), [])
    made.open_trial("0000", {"epochs": 2}, {})
    made.finish_trial(make_result("0000"))
    made.log_study({}, {"tuner.best_trial": "0000"})
    made.close_study("FINISHED")
    client.create_registered_model("m")
    register(client, made.run_of("0000"))
    client.set_registered_model_alias("m", "champion", "1")
    return made


def register(client: mlflow.MlflowClient, run_id: str) -> None:
    model_id = logged_model_id(client, run_id)
    with tracking_store.as_default(client):
        client.create_model_version("m", f"models:/{model_id}", run_id, model_id=model_id)


def said(client: mlflow.MlflowClient) -> str:
    return "\n".join(standing.summary(client.tracking_uri, "id-1", "champion", LINES))


def test_summary_repeats_what_is_still_so(
    client: mlflow.MlflowClient, tracker: Tracker
) -> None:
    assert said(client).splitlines() == ["Its summary:", *LINES]


def delete_study(client: mlflow.MlflowClient, tracker: Tracker) -> None:
    client.delete_run(tracker.run_id)


def delete_trial(client: mlflow.MlflowClient, tracker: Tracker) -> None:
    client.delete_run(tracker.run_of("0000"))


def take_alias(client: mlflow.MlflowClient, tracker: Tracker) -> None:
    client.delete_registered_model_alias("m", "champion")
    client.set_registered_model_alias("m", "previous", "1")


def delete_version(client: mlflow.MlflowClient, tracker: Tracker) -> None:
    client.delete_model_version("m", "1")


def delete_model(client: mlflow.MlflowClient, tracker: Tracker) -> None:
    client.delete_registered_model("m")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (delete_study, "The study's run was deleted in MLflow; to bring it back: mlflow runs"),
        (delete_trial, "its best trial (0000) was deleted in MLflow; to bring it back: mlflow"),
        (
            take_alias,
            "model is m version 1, previous.\n  No version of m is champion.",
        ),
        (delete_version, "That version is no longer in the registry."),
        (delete_model, "That version is no longer in the registry."),
    ],
)
def test_summary_says_what_is_different_now(
    change: Callable[[mlflow.MlflowClient, Tracker], None],
    expected: str,
    client: mlflow.MlflowClient,
    tracker: Tracker,
) -> None:
    change(client, tracker)
    assert expected in said(client)
    assert "There was no champion to beat" not in said(client)


def test_summary_without_its_store_claims_nothing(client: mlflow.MlflowClient) -> None:
    lines = standing.summary("sqlite:///gone.db", "id-1", "champion", LINES)
    assert "There is no tracking store" in "\n".join(lines)
    assert "champion" not in "\n".join(lines)
    assert "no longer has a record of this study" in said(client)


def test_standing_is_as_it_is_now(client: mlflow.MlflowClient, tracker: Tracker) -> None:
    facts = history.read_study(client.get_run(tracker.run_id))
    runs = history.judged_runs(client, facts, "0000")
    assert str(standing.find(client, runs)) == "m version 1, champion"
    take_alias(client, tracker)
    assert str(standing.find(client, runs)) == "m version 1, previous"
    client.delete_registered_model_alias("m", "previous")
    assert str(standing.find(client, runs)) == "m version 1, without an alias"
    delete_version(client, tracker)
    assert standing.find(client, runs) is None
