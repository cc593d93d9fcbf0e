"""From trials to the registry, with real studies, a real store and real processes."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from support.commands import command
from support.studies import FinishedStudy
from tuner.config.compose import with_settings
from tuner.config.schema import StudyConfig
from tuner.errors import StudyError
from tuner.registry import promotion
from tuner.registry.promotion import Challenger, Promotion
from tuner.registry.versions import Registry
from tuner.runtime import forkserver
from tuner.study import records
from tuner.tracking import history
from tuner.tracking.data_record import DataRecord
from tuner.tracking.tracking_store import connect

pytestmark = pytest.mark.slow

NAME = "digits-classifier"
COMMON = ("search=grid", "space.layers=1", "space.learning_rate=0.01", "executor=serial")


@contextlib.contextmanager
def files_gone(client: mlflow.MlflowClient, name: str, version: str) -> Iterator[None]:
    """Take the files of a registered model's version away, and put them back."""
    folder = Path(client.get_model_version_download_uri(name, version).removeprefix("file://"))
    away = folder.rename(folder.with_name(f"{folder.name}-away"))
    yield
    away.rename(folder)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    """Three studies of one trial each, a bad one, a better one and a good one, unregistered."""
    # Models are judged in children of a process that has TensorFlow.
    forkserver.begin_imports(["tuner.worker.preload"])
    folder = tmp_path_factory.mktemp("studies")
    for study, epochs, units in (("bad", 1, 4), ("better", 3, 16), ("good", 12, 64)):
        space = (f"space.epochs={epochs}", f"space.units={units}")
        done = command(
            folder, "search", f"study={study}", "registry.name=null", *COMMON, *space
        )
        assert done.returncode == 0, done.stderr
    return FinishedStudy(folder, done)


@pytest.fixture
def client(
    studies: FinishedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[mlflow.MlflowClient]:
    """A client of a copy of their store, which commands use as the default."""
    shutil.copy(studies.folder / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield connect(uri)
    mlflow.set_tracking_uri(before)


def challenger_of(client: mlflow.MlflowClient, study: str) -> tuple[StudyConfig, Challenger]:
    record = records.find_study(client, study)
    run = records.best_trial(client, record)
    config = with_settings(record.config, {"registry": {"name": NAME}})
    return config, Challenger(
        run.info.run_id,
        study,
        run.data.tags["tuner.trial"],
        history.read_trial(run).values,
        DataRecord.of(run).digest,
        {"val_accuracy": run.data.metrics["val_accuracy"]},
    )


def promote(client: mlflow.MlflowClient, study: str) -> Promotion:
    return promotion.promote(client, *challenger_of(client, study))


def aliases(client: mlflow.MlflowClient) -> dict[str, str]:
    model = client.get_registered_model(NAME)
    return {alias: str(version) for alias, version in model.aliases.items()}


def decision_of(client: mlflow.MlflowClient, run_id: str, folder: Path) -> dict[str, object]:
    path = client.download_artifacts(run_id, "promotion/decision.json", str(folder))
    content: dict[str, object] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def test_promotions_one_after_another(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    first = promote(client, "bad")
    assert (first.promoted, first.version) == (True, "1")
    assert first.reason == "There was no champion to beat."
    assert aliases(client) == {"champion": "1"}
    second = promote(client, "good")
    assert (second.promoted, second.version) == (True, "2")
    assert aliases(client) == {"champion": "2", "previous": "1"}
    third = promote(client, "better")
    assert (third.promoted, third.version) == (False, "3")
    assert "is not better than" in third.reason
    assert aliases(client) == {"champion": "2", "previous": "1", "challenger": "3"}
    again = promote(client, "good")
    assert (again.promoted, again.version) == (True, "2")
    assert again.reason == "It already is the champion."
    # A limit holds for the champion, too: it stays, and the message says that it breaks it.
    gate = {"max_parameters": 500, "min_accuracy": 0.1}
    config, champion = challenger_of(client, "good")
    limited = with_settings(config, {"registry": {"gate": gate}})
    again = promotion.promote(client, limited, champion)
    assert (again.promoted, again.version) == (True, "2")
    assert "It already is the champion, and stays, but breaks a limit" in again.reason
    assert "registry.gate.max_parameters=500" in again.reason
    kept = with_settings(config, {"registry": {"gate": {"max_parameters": 10**6}}})
    assert promotion.promote(client, kept, champion).reason == "It already is the champion."
    # Its latency is measured here, since its study had no limit; a recorded one counts.
    quick = with_settings(config, {"registry": {"gate": {"max_latency_ms": 1e6}}})
    assert promotion.promote(client, quick, champion).reason == "It already is the champion."
    client.log_metric(champion.run_id, "latency_ms", 2e6)
    again = promotion.promote(client, quick, champion)
    assert "for one image, 2000000.00 ms, is above" in again.reason
    assert aliases(client) == {"champion": "2", "previous": "1", "challenger": "3"}

    version = client.get_model_version(NAME, "2")
    _, challenger = challenger_of(client, "good")
    assert version.run_id == challenger.run_id
    tags = version.tags
    assert tags["tuner.study"] == "good"
    assert json.loads(tags["tuner.values"])["units_1"] == 64
    (moved,) = (value for key, value in tags.items() if key.startswith("tuner.moved."))
    assert moved.startswith("champion instead of version 1: study good, trial 0000: It gets")
    description = version.description or ""
    accuracy = float(tags["tuner.test_accuracy"])
    assert f"| Test accuracy | {accuracy:.2%} (" in description
    assert f'tuner.load("models:/{NAME}/2")' in description

    decision = decision_of(client, challenger.run_id, tmp_path)
    agreement = decision["agreement"]
    assert isinstance(agreement, dict)
    assert sum(agreement.values()) == 360
    assert decision["reason"] == second.reason
    assert float(tags["tuner.p_value"]) == pytest.approx(decision["p_value"], rel=1e-4)
    recorded = client.get_run(challenger.run_id).data.metrics["test_accuracy"]
    measured = decision["challenger"]
    assert isinstance(measured, dict)
    assert measured["accuracy"] == pytest.approx(recorded, abs=1e-6)
    pictures = {f.path for f in client.list_artifacts(challenger.run_id, "promotion")}
    assert pictures == {
        "promotion/decision.json",
        "promotion/confusion_difference.png",
        "promotion/changed_predictions.png",
    }
    picture = client.download_artifacts(
        challenger.run_id, "promotion/changed_predictions.png", str(tmp_path)
    )
    with Image.open(picture) as image:
        assert np.asarray(image.convert("L")).std() > 10


def test_gate_is_overruled_with_a_reason(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    promote(client, "good")
    config, challenger = challenger_of(client, "better")
    why = "Half the size | see <a href='x'>#7</a>."
    forced = promotion.promote(client, config, challenger, why)
    assert (forced.promoted, forced.version) == (True, "2")
    assert forced.reason.startswith("The gate refuses it: It gets ")
    assert forced.reason.endswith(f"It is overruled (force=true): {why}")
    assert aliases(client) == {"champion": "2", "previous": "1"}
    version = client.get_model_version(NAME, "2")
    assert (version.tags["tuner.promoted"], version.tags["tuner.forced"]) == ("true", why)
    assert "is not better than" in version.tags["tuner.reason"]
    (moved,) = (text for tag, text in version.tags.items() if tag.startswith("tuner.moved."))
    assert moved.endswith(f"It is overruled (force=true): {why}")
    card = (
        "| Promoted against the gate | Half the size \\| see &lt;a href='x'&gt;#7&lt;/a&gt;. |"
    )
    assert card in (version.description or "")
    decision = decision_of(client, challenger.run_id, tmp_path)
    assert (decision["promoted"], decision["forced"]) == (True, why)
    assert decision["reason"] == version.tags["tuner.reason"]

    # Judged again without force, it is a challenger like any other.
    client.set_registered_model_alias(NAME, "champion", "1")
    again = promotion.promote(client, config, challenger)
    assert not again.promoted
    assert "tuner.forced" not in client.get_model_version(NAME, "2").tags
    assert decision_of(client, challenger.run_id, tmp_path)["forced"] is None
    # Nor where force was not needed.
    assert promotion.promote(client, *challenger_of(client, "good"), why).promoted
    assert "tuner.forced" not in client.get_model_version(NAME, "1").tags


def test_champion_of_other_images_stays(client: mlflow.MlflowClient) -> None:
    promote(client, "bad")
    client.set_model_version_tag(NAME, "1", "tuner.test_digest", "other")
    decision = promote(client, "good")
    assert not decision.promoted
    assert "version 1, was tested on other images" in decision.reason
    assert aliases(client) == {"champion": "1", "challenger": "2"}


def test_champion_whose_files_are_gone_stays(client: mlflow.MlflowClient) -> None:
    promote(client, "bad")
    with files_gone(client, NAME, "1"):
        decision = promote(client, "good")
    assert not decision.promoted
    assert "version 1 is gone" in decision.reason
    assert aliases(client)["champion"] == "1"
    with pytest.raises(StudyError, match="no champion before version 1"):
        Registry(client, NAME).roll_back()


def test_altered_champion_stays(client: mlflow.MlflowClient) -> None:
    promote(client, "bad")
    client.set_model_version_tag(NAME, "1", "tuner.sha256", "0" * 64)
    decision = promote(client, "good")
    assert not decision.promoted
    assert f"{NAME} version 1 has been altered" in decision.reason


def test_changed_data_are_refused(client: mlflow.MlflowClient) -> None:
    config, challenger = challenger_of(client, "good")
    other = dataclasses.replace(challenger, data_digest="1" * 32)
    with pytest.raises(Exception, match="The data have changed"):
        promotion.promote(client, config, other)
    assert aliases(client) == {"challenger": "1"}


def test_champion_that_moves_meanwhile_is_judged_again(
    client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    promote(client, "bad")
    promote(client, "good")
    client.set_registered_model_alias(NAME, "champion", "1")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "tuner.promote", "study=better", "trial=0000",
            f"registry.name={NAME}",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    # It is the challenger before it is judged, for which TensorFlow is imported first.
    while aliases(client).get("challenger") != "3" and process.poll() is None:
        time.sleep(0.02)
    client.set_registered_model_alias(NAME, "champion", "2")
    said, errors = process.communicate(timeout=120)
    # A refusal has a status of its own.
    assert (process.returncode, errors) == (3, "")
    assert f"{NAME} version 3, not champion." in said
    assert "the champion, version 2," in said
    assert aliases(client)["champion"] == "2"


DIES = """
import os, sys
from tuner.registry.versions import Registry
from tuner.tracking.tracking_store import connect

client, left = connect(None), int(sys.argv[1])
write = client.set_registered_model_alias

def set_registered_model_alias(name, alias, version):
    global left
    if left == 0:
        os._exit(9)
    left -= 1
    write(name, alias, version)

client.set_registered_model_alias = set_registered_model_alias
registry = Registry(client, "digits-classifier")
with registry.moving():
    registry.promote(client.get_model_version("digits-classifier", "2"), "test")
"""


@pytest.mark.parametrize("num_writes", [0, 1])
def test_killed_promotion_leaves_the_champion_and_is_completed(
    client: mlflow.MlflowClient, num_writes: int
) -> None:
    promote(client, "bad")
    version = Registry(client, NAME).register(challenger_of(client, "good")[1].run_id)
    assert str(version.version) == "2"
    died = subprocess.run([sys.executable, "-c", DIES, str(num_writes)], check=False)
    assert died.returncode == 9
    assert aliases(client)["champion"] == "1"
    assert promote(client, "good").promoted
    assert aliases(client) == {"champion": "2", "previous": "1"}


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_users_of_one_machine_do_not_lock_each_other_out(client: mlflow.MlflowClient) -> None:
    registry = Registry(client, NAME)
    with registry.moving():
        pass
    os.seteuid(65534)
    try:
        with registry.moving():
            pass
    finally:
        os.seteuid(0)


def test_promote_and_roll_back_as_commands(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    promote(client, "bad")
    run_id = challenger_of(client, "good")[1].run_id
    done = command(
        tmp_path, "promote", f"run={run_id}", f"registry.name={NAME}", "registry.refit=true"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"Registered as {NAME} version 2, now champion." in done.stdout
    version = client.get_model_version(NAME, "2")
    assert version.tags["tuner.trial"] == "0000-refit"
    refit = client.get_run(str(version.run_id))
    assert refit.data.tags["tuner.kind"] == "refit"
    assert refit.info.status == "FINISHED"
    trial = client.get_run(run_id)
    assert refit.data.params == trial.data.params
    assert not [name for name in refit.data.metrics if name.startswith("val_")]
    # More images make other losses.
    assert refit.data.metrics["loss"] != trial.data.metrics["loss"]

    done = command(tmp_path, "promote", "rollback=true")
    assert done.returncode == 0, done.stderr
    assert f"Version 1 of {NAME} is champion again, instead of version 2." in done.stdout
    assert aliases(client) == {"champion": "1"}
    done = command(tmp_path, "promote", "rollback=true")
    assert done.returncode == 2
    assert "no champion before version 1" in done.stderr
    assert aliases(client) == {"champion": "1"}

    # A refit is not trained a second time.
    again = ("promote", f"run={version.run_id}", "registry.name=other", "registry.refit=true")
    done = command(tmp_path, *again)
    assert done.returncode == 0, done.stderr
    assert "Registered as other version 1, now champion." in done.stdout
    assert client.get_model_version("other", "1").run_id == version.run_id


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "exactly one of study=<name>"),
        (["study=good", "rollback=true"], "exactly one of study=<name>"),
        (["study=god"], "There is no study 'god' in this tracking store. Did you mean good?"),
        (["run=abc"], "`run=abc` must be a run that is recorded in"),
        (["study=good"], "`registry.name` must be a name"),
        (["study=good", "registry.gate.confidence=2"], "`registry.gate.confidence` must be"),
        (["study=good", "registry.name=m", "registry.alias=v1"], "`registry.alias`"),
        (["rollback=true", "registry.name=m", "registry.alias=latest"], "`registry.alias`"),
        (["rollback=true"], "Registered: no models"),
        (["rollback=true", "registry.name=cats"], "cats has no champion"),
    ],
    ids=str,
)
def test_promote_mistake_gets_one_message(
    client: mlflow.MlflowClient, tmp_path: Path, overrides: list[str], message: str
) -> None:
    done = command(tmp_path, "promote", *overrides)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert client.search_registered_models() == []


def test_promote_imports_nothing_that_the_store_names(
    client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "trap.py").write_text("open('sprung', 'w')\n")
    run = records.find_study(client, "good").run
    written = Path(client.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path)))
    whole = written.read_text()
    asked = ("promote", "study=good", "registry.name=mine")
    for before, after, message in (
        ("tuner.datasets.digits.load", "trap.load", "give data._target_=trap.load"),
        ("name: digits", "name: ${oc.env:SECRET}", "an interpolation"),
    ):
        assert before in whole
        written.write_text(whole.replace(before, after))
        client.log_artifact(run.info.run_id, str(written))
        done = command(tmp_path, *asked, SECRET="s3cret")
        assert done.returncode == 2, done.stdout
        assert message in done.stderr
        assert "s3cret" not in done.stderr
        assert not (tmp_path / "sprung").exists()
    written.write_text(whole)
    client.log_artifact(run.info.run_id, str(written))
    assert client.search_registered_models() == []


def test_unfinished_trial_is_refused(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    run_id = challenger_of(client, "good")[1].run_id
    client.set_terminated(run_id, "KILLED")
    done = command(tmp_path, "promote", f"run={run_id}", f"registry.name={NAME}")
    assert "must be a finished trial, but is killed" in done.stderr
    done = command(tmp_path, "promote", "study=good", f"registry.name={NAME}")
    assert "Study good has no finished trial yet" in done.stderr
    assert os.listdir(tmp_path) == ["mlflow.db"]
