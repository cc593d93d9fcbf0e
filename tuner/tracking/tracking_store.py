"""The tracking store: its address, and whether it answers."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import psutil
import sqlalchemy

from tuner import passwords
from tuner.errors import ConfigError, UnavailableError, UserError
from tuner.runtime import files
from tuner.tracking import database, project_folder
from tuner.tracking.patient_client import PatientClient
from tuner.wording import first_line

DEFAULT_STORE = "mlflow.db"

PROBE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "PGCONNECT_TIMEOUT": "5",
}
"""The environment in which a store is asked whether it answers: no retry, and few seconds."""

_DATABASES = ("postgresql", "mysql", "mssql")
"""What MLflow keeps its records in, beside SQLite and its own server."""


def resolve_uri(uri: str | None) -> str:
    """Return the tracking URI in force, with a relative SQLite path made absolute.

    Args:
        uri: As configured; None for `MLFLOW_TRACKING_URI`, and without that for
            `sqlite:///mlflow.db` in the current folder, which is `mlflow ui`'s own default.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DEFAULT_STORE}"
    path = sqlite_path(uri)
    if path is None or path.is_absolute():
        return uri
    return sqlite_uri(path.resolve()) + (f"?{query}" if (query := urlsplit(uri).query) else "")


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an SQLite store, or None for a store of another kind."""
    if urlsplit(uri).scheme.partition("+")[0] != "sqlite":
        return None
    database = sqlalchemy.make_url(uri).database
    return None if database in (None, "", ":memory:") else Path(str(database))


def sqlite_uri(path: Path) -> str:
    """Return the address of a SQLite store's file."""
    # In an address, these two letters of a path mean something else.
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def connect(uri: str | None) -> mlflow.MlflowClient:
    """Return a client of a store that answers; a file is made where there is none.

    Raises:
        ConfigError: If the URI is of no kind that MLflow knows, names a folder that is not
            there, or a file that is no database of this version of MLflow.
        UnavailableError: If the server does not answer within 10 seconds or lets nobody in.
    """
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    # Which MLflow draws for every file that is read.
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    # It would print the address of every run that ends, with user and password.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    resolved = resolve_uri(uri)
    shown = passwords.hide(resolved)
    kind = urlsplit(resolved).scheme.partition("+")[0]
    with probing():
        try:
            path = sqlite_path(resolved)
            if path is not None:
                return _connect_to_file(resolved, path, uri)
            if kind in _DATABASES:
                database.check(resolved, f"`tracking.uri={shown}`")
            client = PatientClient(tracking_uri=resolved)
            client.search_experiments(max_results=1)
        except UserError:
            raise
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"`tracking.uri={shown}` needs {error.name}, which is not installed. For "
                f"PostgreSQL: pip install '.[postgresql]' in the project's root, or pip "
                f"install 'psycopg[binary]'."
            ) from error
        except Exception as error:
            first_line = _cause(error).replace(resolved, shown)
            if kind in ("http", "https"):
                raise UnavailableError(
                    f"`tracking.uri={shown}` must be an MLflow server that answers, but: "
                    f"{first_line}. Start it, or leave `tracking.uri` out to record in "
                    f"{DEFAULT_STORE} here."
                ) from error
            if kind in _DATABASES and isinstance(error, sqlalchemy.exc.OperationalError):
                raise UnavailableError(
                    f"`tracking.uri={shown}` must be a database that lets us in, but: "
                    f"{first_line}. Start it, mend the address, or leave `tracking.uri` out to "
                    f"record in {DEFAULT_STORE} here."
                ) from error
            raise ConfigError(
                f"`tracking.uri={shown}` cannot be used: {first_line}. Give sqlite:///<file>, "
                f"a database's or a server's address, or leave it out to record in "
                f"{DEFAULT_STORE} here."
            ) from error
    return client


def connect_to_existing(uri: str | None) -> mlflow.MlflowClient:
    """Return a client of a store that is there: what only looks something up makes none.

    Raises:
        ConfigError: If there is no such store; see also `connect`.
        UnavailableError: See `connect`.
    """
    check_is_there(uri)
    return connect(uri)


def bring_here(uri: str | None) -> str | None:
    """Let a database that was moved or copied name its files where they are now.

    Returns:
        What was done, in one line; None if nothing was to be done.

    Raises:
        ConfigError: If it is no database of this version of MLflow, or cannot be written to.
    """
    resolved = resolve_uri(uri)
    path = sqlite_path(resolved)
    if path is None or not path.exists():
        return None
    database.check_file(path, resolved, _called(uri, path))
    return project_folder.bring_here(path)


def _connect_to_file(resolved: str, path: Path, uri: str | None) -> mlflow.MlflowClient:
    """Return a client of an SQLite store, whose files lie beside it."""
    if not path.parent.is_dir():
        raise ConfigError(
            f"`tracking.uri={resolved}` must lie in a folder that exists: {path.parent}."
        )
    # MLflow would keep them in the current folder.
    with _environment({"_MLFLOW_SERVER_ARTIFACT_ROOT": project_folder.artifact_root(path)}):
        _make_whole(path)
        database.check_file(path, resolved, _called(uri, path))
        project_folder.follow(path)
        client = PatientClient(tracking_uri=resolved)
        client.search_experiments(max_results=1)
    return client


def _called(uri: str | None, path: Path) -> str:
    """Return how a message calls an SQLite store, so that it can be found."""
    if uri is not None:
        return f"`tracking.uri={uri}` ({path})"
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return f"MLFLOW_TRACKING_URI={os.environ['MLFLOW_TRACKING_URI']} ({path})"
    return f"{path} (the default, since `tracking.uri` was left out)"


def probing() -> contextlib.AbstractContextManager[None]:
    """Ask a server once and for 5 s at most, to see whether it answers.

    MLflow's own patience, 7 retries of 120 s, is right later, when a search is under way.
    """
    return _environment(PROBE)


def as_default(client: mlflow.MlflowClient) -> contextlib.AbstractContextManager[None]:
    """Let MLflow ask a client's store for what it looks up by itself.

    Its registry, where it lies in a database, asks the default store for a version's model,
    whatever store the client is of.
    """
    return _environment({"MLFLOW_TRACKING_URI": client.tracking_uri})


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def check_is_there(uri: str | None) -> None:
    """Refuse a store in a file or a folder that is not there, which `connect` would make.

    Raises:
        ConfigError: If there is none.
    """
    resolved = resolve_uri(uri)
    path = sqlite_path(resolved)
    if path is None and urlsplit(resolved).scheme in ("", "file"):
        path = project_folder.local_path(resolved)
    if path is not None and not path.exists():
        raise ConfigError(
            f"There is no tracking store {path}: start the command in the folder in which the "
            f"search was run, or give `tracking.uri`."
        )


def check_kept(client: mlflow.MlflowClient) -> None:
    """Find out that somebody has removed a store's file while it was written to.

    Raises:
        UnavailableError: If it is gone.
    """
    path = sqlite_path(client.tracking_uri)
    if path is not None and not path.exists():
        raise UnavailableError(
            f"The tracking store {path} was removed while the study ran, so it was stopped. "
            f"Put it back and give the same command again to resume; without it the same "
            f"command records the study anew."
        )


def _cause(error: BaseException) -> str:
    """Return the first line of what an error comes from."""
    while error.__context__ is not None:
        error = error.__context__
    return first_line(error)


def _make_whole(path: Path) -> None:
    """Make MLflow's tables in another file, and give it its name when they are all there.

    MLflow takes seconds for them, and could not go on with half of them after a kill.
    """
    for part in path.parent.glob(f".{path.name}.*.part*"):
        maker = part.name.split(".")[-2]
        if maker.isdecimal() and not psutil.pid_exists(int(maker)):
            part.unlink(missing_ok=True)
    if path.exists():
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        client = mlflow.MlflowClient(tracking_uri=sqlite_uri(part))
        client.search_experiments(max_results=1)
        files.sync([part])
        files.link(part, path)
    finally:
        for left in path.parent.glob(f"{part.name}*"):
            left.unlink()


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _sync_commits(connection: object, _: object) -> None:
    """Have SQLite put every commit on disk before it says that it is done.

    Its default, FULL, syncs the rollback journal and the database, and then removes the journal
    without syncing the folder. After a power cut the journal may be back, and SQLite would take
    the commit back: a trial could be RUNNING again that the oracle was told has ended.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = EXTRA")
