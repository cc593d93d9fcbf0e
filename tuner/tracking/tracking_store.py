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
from tuner.runtime import files, surroundings
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

IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""The environment in which a page reads a store, to say soon that it does not answer."""

_DATABASES = ("postgresql", "mysql", "mssql")
"""Databases that MLflow can use besides SQLite."""


def resolve_uri(uri: str | None) -> str:
    """Return the tracking URI in force, with a relative SQLite path made absolute.

    Args:
        uri: The configured address; None for `MLFLOW_TRACKING_URI` or, if that is not set,
            `sqlite:///mlflow.db` in the current folder, which is the default of `mlflow ui`.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DEFAULT_STORE}"
    path = sqlite_path(uri)
    if path is None or path.is_absolute():
        return uri
    return sqlite_uri(path.resolve()) + (f"?{query}" if (query := urlsplit(uri).query) else "")


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an SQLite store; None for a store of another kind."""
    if urlsplit(uri).scheme.partition("+")[0] != "sqlite":
        return None
    database = sqlalchemy.make_url(uri).database
    return None if database in (None, "", ":memory:") else Path(str(database))


def sqlite_uri(path: Path) -> str:
    """Return the address of a SQLite store's file."""
    # In an address, these two letters of a path mean something else.
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def make_tables(uri: str | None) -> bytes | None:
    """Make the tables of a missing SQLite store, and write nothing: `connect` will.

    Returns:
        They take a second, which may pass while there is something to wait for. None if there
        is a store, or it is not an SQLite file.
    """
    path = sqlite_path(resolve_uri(uri))
    if path is None or path.exists():
        return None
    with _quiet():
        return database.empty_tables()


def connect(uri: str | None, tables: bytes | None = None) -> mlflow.MlflowClient:
    """Return a client of a store that answers; a missing SQLite file is created.

    Args:
        uri: The store's address; None for the default.
        tables: What `make_tables` returned, if it was called before.

    Raises:
        ConfigError: If MLflow does not know this kind of URI, or the URI names a folder that
            does not exist, or a file that is not a database of this version of MLflow.
        UnavailableError: If the server does not answer within 10 seconds or refuses us.
    """
    resolved = resolve_uri(uri)
    shown = passwords.hide(resolved)
    kind = urlsplit(resolved).scheme.partition("+")[0]
    with _quiet(), probing():
        try:
            path = sqlite_path(resolved)
            if path is not None:
                return _connect_to_file(resolved, path, uri, tables)
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
            first_line = root_cause(error).replace(resolved, shown)
            if kind in ("http", "https"):
                raise UnavailableError(
                    f"`tracking.uri={shown}` must be an MLflow server that answers, but: "
                    f"{first_line}. Start it, or leave out `tracking.uri` to record in "
                    f"{DEFAULT_STORE} here."
                ) from error
            if kind in _DATABASES and isinstance(error, sqlalchemy.exc.OperationalError):
                raise UnavailableError(
                    f"`tracking.uri={shown}` must be a database that accepts the connection, "
                    f"but: {first_line}. Start it, correct the address, or leave out "
                    f"`tracking.uri` to record in {DEFAULT_STORE} here."
                ) from error
            raise ConfigError(
                f"`tracking.uri={shown}` cannot be used: {first_line}. Give sqlite:///<file>, "
                f"the address of a database or a server, or leave it out to record in "
                f"{DEFAULT_STORE} here."
            ) from error
    return client


def connect_to_existing(uri: str | None) -> mlflow.MlflowClient:
    """Return a client of an existing store: commands that only look something up make none.

    Raises:
        ConfigError: If there is no such store; see also `connect`.
        UnavailableError: See `connect`.
    """
    check_is_there(uri)
    return connect(uri)


def bring_here(uri: str | None) -> str | None:
    """Update the paths in a database that was moved or copied.

    Returns:
        A line that says what was done; None if there was nothing to do.

    Raises:
        ConfigError: If it is not a database of this version of MLflow, or is not writable.
    """
    resolved = resolve_uri(uri)
    path = sqlite_path(resolved)
    if path is None or not path.exists():
        return None
    database.check_file(path, resolved, _called(uri, path))
    return project_folder.bring_here(path)


def _connect_to_file(
    resolved: str, path: Path, uri: str | None, tables: bytes | None
) -> mlflow.MlflowClient:
    """Return a client of an SQLite store, whose files lie next to it."""
    if not path.parent.is_dir():
        raise ConfigError(
            f"`tracking.uri={resolved}` must lie in a folder that exists: {path.parent}."
        )
    # By default MLflow would keep the files in the current folder.
    with surroundings.variables(
        {"_MLFLOW_SERVER_ARTIFACT_ROOT": project_folder.artifact_root(path)}
    ):
        _make_whole(path, tables)
        database.check_file(path, resolved, _called(uri, path))
        project_folder.follow(path)
        client = PatientClient(tracking_uri=resolved)
        client.search_experiments(max_results=1)
    return client


def _called(uri: str | None, path: Path) -> str:
    """Return an SQLite store's name in messages, by which a user can find it."""
    if uri is not None:
        return f"`tracking.uri={uri}` ({path})"
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return f"MLFLOW_TRACKING_URI={os.environ['MLFLOW_TRACKING_URI']} ({path})"
    return f"{path} (the default, since `tracking.uri` was left out)"


def probing() -> contextlib.AbstractContextManager[None]:
    """Make MLflow ask a server only once, for at most 5 s, to see whether it answers.

    MLflow's own patience, 7 retries of 120 s, is right later, when a search is under way.
    """
    return surroundings.variables(PROBE)


def giving_up_early() -> contextlib.AbstractContextManager[None]:
    """Make MLflow retry a server only once, for who asks again and again anyway."""
    return surroundings.variables(IMPATIENT)


def as_default(client: mlflow.MlflowClient) -> contextlib.AbstractContextManager[None]:
    """Make a client's store the default for MLflow's own lookups.

    A registry in a database asks the default store for a version's model, whatever store the
    client uses.
    """
    return surroundings.variables(
        {"MLFLOW_TRACKING_URI": client.tracking_uri, **surroundings.WITHOUT_BARS}
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow from logging what an error also says: only while it is asked.

    A program that reads studies with `tuner.open_study` logs as it wants to.
    """
    loggers = [logging.getLogger(name) for name in surroundings.CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def check_is_there(uri: str | None) -> None:
    """Refuse a store in a missing file or folder, which `connect` would create.

    Raises:
        ConfigError: If it does not exist.
    """
    resolved = resolve_uri(uri)
    path = sqlite_path(resolved)
    if path is None and urlsplit(resolved).scheme in ("", "file"):
        path = project_folder.local_path(resolved)
    if path is not None and not path.exists():
        raise ConfigError(
            f"There is no tracking store {path}: run the command in the folder of the search, "
            f"or give `tracking.uri`."
        )


def check_kept(client: mlflow.MlflowClient) -> None:
    """Check that nobody has removed the store's file while it was in use.

    Raises:
        UnavailableError: If it is gone.
    """
    path = sqlite_path(client.tracking_uri)
    if path is not None and not path.exists():
        raise UnavailableError(
            f"The tracking store {path} was removed while the study ran, so the study was "
            f"stopped. Put it back and give the same command again to resume; without it, the "
            f"same command records the study in a new one."
        )


def root_cause(error: BaseException) -> str:
    """Return the first line of an error's root cause."""
    while error.__context__ is not None:
        error = error.__context__
    return first_line(error)


def _make_whole(path: Path, tables: bytes | None) -> None:
    """Write MLflow's tables to a temporary file, and rename it when they are complete.

    MLflow could not continue with half of them after a kill.
    """
    for part in path.parent.glob(f".{path.name}.*.part*"):
        maker = part.name.split(".")[-2]
        if maker.isdecimal() and not psutil.pid_exists(int(maker)):
            part.unlink(missing_ok=True)
    if path.exists():
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        files.write_scratch(part, tables or database.empty_tables())
        client = mlflow.MlflowClient(tracking_uri=sqlite_uri(part))
        client.search_experiments(max_results=1)
        files.sync([part])
        files.link(part, path)
    finally:
        for left in path.parent.glob(f"{part.name}*"):
            left.unlink()


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _sync_commits(connection: object, _: object) -> None:
    """Make SQLite sync every commit to disk before reporting it done.

    Its default, FULL, syncs the rollback journal and the database, and then removes the journal
    without syncing the folder. After a power cut the journal may reappear, and SQLite would
    roll the commit back: a trial that the oracle believes ended could be RUNNING again.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = EXTRA")
