"""Versions, the champion's alias, and the gate between them, on a real SQLite store."""

import json
import os
from pathlib import Path

import mlflow
import pytest
from conftest import MakeRun
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag

from tuner.registry import Challenger, decide, promote
from tuner.schema import GateConfig, RegistryConfig

CONFIG = RegistryConfig("digits-classifier", "champion", GateConfig())


def challenger(run_id: str = "run", accuracy: float = 0.9, digest: str = "d1") -> Challenger:
    values = {"epochs": 2, "units_1": 8}
    return Challenger(run_id, "first", "0003", values, digest, ("val_accuracy", 0.8), accuracy)


def champion(version: str, accuracy: float, digest: str = "d1") -> ModelVersion:
    tags = {"tuner.test_accuracy": repr(accuracy), "tuner.data_digest": digest}
    return ModelVersion(
        "digits-classifier", version, 0, tags=[ModelVersionTag(k, v) for k, v in tags.items()]
    )


@pytest.mark.parametrize(
    ("holder", "promoted", "reason"),
    [
        (None, True, "There was no champion."),
        (champion("1", 0.89), True, "0.9000 against 0.8900 of version 1"),
        (champion("1", 0.90), False, "It does not beat the champion"),
        (champion("1", 0.91), False, "0.9000 against 0.9100 of version 1"),
        (champion("1", 0.10, "d2"), False, "was tested on other data"),
        (champion("2", 0.99), True, "It is the champion already."),
    ],
    ids=["no_champion", "better", "tie", "worse", "other_data", "itself"],
)
def test_decide_follows_the_gate(
    holder: ModelVersion | None, promoted: bool, reason: str
) -> None:
    decision = decide(CONFIG, challenger(), "2", holder)
    assert decision.promoted is promoted
    assert reason in decision.reason


def test_decide_asks_for_the_configured_improvement() -> None:
    config = RegistryConfig("m", "champion", GateConfig(min_improvement=0.02))
    assert not decide(config, challenger(accuracy=0.91), "2", champion("1", 0.90)).promoted
    assert decide(config, challenger(accuracy=0.93), "2", champion("1", 0.90)).promoted


def test_decide_keeps_a_champion_that_somebody_else_made() -> None:
    holder = ModelVersion("digits-classifier", "1", 0)
    assert not decide(CONFIG, challenger(), "2", holder).promoted


def test_promote_tags_the_version_and_sets_the_alias(
    client: mlflow.MlflowClient, make_run: MakeRun
) -> None:
    run_id, model_id = make_run()
    decision = promote(client, CONFIG, challenger(run_id))
    assert (decision.promoted, decision.challenger, decision.champion) == (True, "1", None)
    version = client.get_model_version_by_alias("digits-classifier", "champion")
    assert (version.version, version.run_id) == (1, run_id)
    assert version.source == f"models:/{model_id}"
    assert version.tags == {
        "tuner.study": "first",
        "tuner.trial": "0003",
        "tuner.values": json.dumps({"epochs": 2, "units_1": 8}),
        "tuner.data_digest": "d1",
        "tuner.val_accuracy": "0.8",
        "tuner.test_accuracy": "0.9",
    }


def test_promote_again_makes_no_second_version(
    client: mlflow.MlflowClient, make_run: MakeRun
) -> None:
    run_id, _ = make_run()
    promote(client, CONFIG, challenger(run_id))
    decision = promote(client, CONFIG, challenger(run_id))
    assert (decision.promoted, decision.challenger) == (True, "1")
    assert len(client.search_model_versions("name = 'digits-classifier'")) == 1


def test_promote_moves_the_alias_only_to_a_better_model(
    client: mlflow.MlflowClient, make_run: MakeRun
) -> None:
    accuracies = [0.90, 0.89, 0.95]
    decisions = [promote(client, CONFIG, challenger(make_run()[0], a)) for a in accuracies]
    assert [decision.promoted for decision in decisions] == [True, False, True]
    assert client.get_model_version_by_alias("digits-classifier", "champion").version == 3


def test_promote_after_the_champion_was_deleted(
    client: mlflow.MlflowClient, make_run: MakeRun
) -> None:
    promote(client, CONFIG, challenger(make_run()[0], 0.99))
    client.delete_model_version("digits-classifier", "1")
    decision = promote(client, CONFIG, challenger(make_run()[0], 0.5))
    assert (decision.promoted, decision.champion) == (True, None)


def test_promoted_model_serves_raw_images(
    client: mlflow.MlflowClient, make_run: MakeRun, tmp_path: Path
) -> None:
    run_id, _ = make_run()
    promote(client, CONFIG, challenger(run_id))
    downloaded = mlflow.artifacts.download_artifacts(
        "models:/digits-classifier@champion",
        dst_path=str(tmp_path / "copy"),
        tracking_uri=client.tracking_uri,
    )
    assert (Path(downloaded) / "MLmodel").exists()


def test_promote_in_a_store_that_is_not_the_default_one(
    client: mlflow.MlflowClient,
    make_run: MakeRun,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id, _ = make_run()
    mlflow.set_tracking_uri(None)  # as where only `tracking.uri` says which store is meant
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{empty_store}")
    assert promote(client, CONFIG, challenger(run_id)).promoted
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{empty_store}"
