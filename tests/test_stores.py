"""A search that records in a real PostgreSQL or on MLflow's own server."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from support.commands import command, start, wait_for
from support.configs import composed
from support.servers import free_port, mlflow_serves
from tuner import delete
from tuner.errors import StudyError, UnavailableError
from tuner.tracking.tracking_store import connect

pytestmark = pytest.mark.slow

DELETE = "commands/delete"
PASSWORD = "correct@horse/battery"

GRID = (
    "executor=serial",
    "study=long",
    "search=grid",
    "space.epochs=[3,300]",
    "space.units=8",
    "space.layers=1",
)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The address of an empty database on a server of our own, which asks for a password."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'psycopg[binary]'")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join([*map(str, reversed(folders)), os.environ["PATH"]])
    initdb, pg_ctl = (shutil.which(name, path=path) for name in ("initdb", "pg_ctl"))
    if initdb is None or pg_ctl is None:
        pytest.skip("needs PostgreSQL's initdb and pg_ctl (apt-get install postgresql)")
    # PostgreSQL refuses to run as root.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    port = free_port()
    # Not below pytest's own folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if as_user:
            for owned in (folder, secret):
                shutil.chown(owned, "postgres")
        data, log = folder / "data", folder / "log"

        def run(*arguments: str) -> None:
            done = subprocess.run(
                [*as_user, *arguments], cwd=folder, capture_output=True, text=True, check=False
            )
            said = log.read_text() if log.exists() else ""
            assert done.returncode == 0, done.stdout + done.stderr + said

        run(
            *(initdb, "-D", str(data), "--username=glassy", "--no-sync"),
            *("--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-locale"),
        )
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories=''"
        server = (pg_ctl, "-D", str(data), "-l", str(log), "-w")
        run(*server, "-o", f"{options} -c fsync=off", "start")
        try:
            yield (
                f"postgresql+psycopg://glassy:{quote(PASSWORD, safe='')}"
                f"@127.0.0.1:{port}/postgres"
            )
        finally:
            run(*server, "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server, which keeps records and files to itself."""
    with mlflow_serves(
        tmp_path_factory.mktemp("server"),
        *("server", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"),
        *("--artifacts-destination", "mlruns"),
        ready="/health",
    ) as address:
        # It asks for no password, but gets one.
        user = f"me%40corp:{quote(PASSWORD, safe='')}"
        yield address.replace("://", f"://{user}@")


@pytest.mark.parametrize(
    ("store", "left"),
    [
        ("postgresql", {"experiments", "mlruns"}),
        pytest.param("server", {"experiments"}, marks=pytest.mark.long),
    ],
)
def test_search_is_recorded_and_goes_on_after_a_kill(
    store: str, left: set[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = request.getfixturevalue(store)
    overrides = (*GRID, f"tracking.uri={uri}")
    with start(tmp_path, *overrides) as process:
        wait_for(tmp_path / "experiments/long/tune.log", "trial 0001 epoch 2/300")
        process.send_signal(signal.SIGKILL)
        printed = process.communicate(timeout=60)
    done = command(tmp_path, "search", *overrides)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Resuming after 1 finished trial." in done.stdout
    assert "Registered as digits-classifier version 1, now champion." in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == left

    client = connect(uri)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["tags.`tuner.trial`"])
    trials = [run for run in runs if run.data.tags["tuner.kind"] == "trial"]
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert [run.data.params["epochs"] for run in trials] == ["3", "300"]
    for name in ("loss", "val_accuracy"):
        history = client.get_metric_history(trials[1].info.run_id, name)
        assert [metric.step for metric in history] == list(range(1, 301))
    version = client.get_model_version_by_alias("digits-classifier", "champion")
    assert version.run_id in [run.info.run_id for run in trials]
    kept = client.list_artifacts(str(version.run_id))
    assert "confusion_matrix.png" in [file.path for file in kept]

    # No message and no file has the password.
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    said = "".join([*printed, done.stdout, done.stderr, *(str(run.data) for run in runs)])
    assert not [text for text in [said.encode(), *written] if b"battery" in text]


def test_champion_of_a_database_is_used_by_its_address(
    postgresql: str, tmp_path: Path, digits: object
) -> None:
    from PIL import Image

    Image.fromarray(digits.test.images[0]).save(tmp_path / "drawn.png")  # type: ignore[attr-defined]
    predict = ("predict", "images=drawn.png", f"tracking.uri={postgresql}")
    done = command(tmp_path, *predict, "model=models:/digits-classifier@champion")
    assert (done.returncode, done.stderr) == (0, "")
    assert "drawn.png" in done.stdout

    # The message about its address has no password.
    done = command(tmp_path, *predict, "model=nobodys")
    assert done.returncode == 2
    assert "postgresql+psycopg://glassy:***@127.0.0.1" in done.stderr
    assert "has no registered model nobodys" in done.stderr
    assert "battery" not in done.stdout + done.stderr


# It deletes the study that the long test above has recorded there.
@pytest.mark.long
def test_study_on_a_server_is_deleted_with_its_files(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connect(server)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    request = composed("study=long", "yes=true", f"tracking.uri={server}", name=DELETE)
    with pytest.raises(StudyError, match=r"version 1 .* is champion") as caught:
        delete.main(request)
    assert "battery" not in str(caught.value)
    client.delete_registered_model_alias("digits-classifier", "champion")
    delete.main(request)
    assert "until `mlflow gc` is run on its server" in capsys.readouterr().out
    assert client.search_runs([experiment.experiment_id]) == []
    assert [client.list_artifacts(run.info.run_id) for run in runs] == [[]] * len(runs)
    assert client.search_logged_models([experiment.experiment_id]) == []


def test_wrong_password_gets_one_message_and_is_not_shown(
    postgresql: str, tmp_path: Path
) -> None:
    uri = postgresql.replace("correct", "wrong")
    done = command(tmp_path, "search", f"tracking.uri={uri}")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: `tracking.uri=postgresql+psycopg://glassy:***@127.0.0.1:")
    assert 'password authentication failed for user "glassy"' in line
    assert "battery" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_connect_gives_up_on_a_database_that_is_not_there(postgresql: str) -> None:
    with pytest.raises(UnavailableError, match='database "nowhere" does not exist'):
        connect(postgresql.replace("/postgres", "/nowhere"))
    with pytest.raises(UnavailableError, match="Connection refused"):
        connect(f"postgresql+psycopg://127.0.0.1:{free_port()}/x")
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(UnavailableError, match="timeout expired"):
            connect(f"postgresql+psycopg://127.0.0.1:{port}/x")
