"""The folder with a database and its artifacts, and how to cope when it has been moved.

MLflow writes absolute paths into its database. So each experiment keeps the database's folder
as a tag. If the database now lies in another folder, the whole was moved or copied. Paths below
the old folder then mean the new one, even if the old one still exists, since work in a copy
must not reach the original.

Commands that only look something up treat MLflow's rows as if they held the new paths, and
write nothing (`follow`). A search writes the new paths into the database (`bring_here`), so
that MLflow's own pages find the files too. Nothing is ever written to the old folder.
"""

import contextlib
import functools
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import sqlalchemy
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlLoggedModel, SqlRun
from mlflow.tracking._tracking_service import utils
from sqlalchemy.orm.attributes import set_committed_value

from tuner import names
from tuner.errors import ConfigError

_COLUMNS = {
    "experiments": (SqlExperiment, ("artifact_location",)),
    "runs": (SqlRun, ("artifact_uri",)),
    "logged_models": (SqlLoggedModel, ("artifact_location",)),
    "model_versions": (SqlModelVersion, ("source", "storage_location")),
}
"""The columns of MLflow's tables that hold paths of files."""

_moves: dict[str, "Move"] = {}
"""Moves in force, by the database's path."""


class Move:
    """The former folders of a database, and its present one.

    Args:
        old: The former folders.
        new: The present folder.
        with_files: Whether the artifacts were moved too. A database that was copied alone
            still refers to the old files, but new ones go to the new folder.
    """

    def __init__(self, old: list[Path], new: Path, with_files: bool) -> None:
        self._old = old
        self._new = new
        self._with_files = with_files

    def __str__(self) -> str:
        """Describe the move in one line."""
        old = " and ".join(map(str, self._old))
        return f"This folder was formerly {old}: its database now refers to {self._new}."

    def moved(self, table: str, location: str | None) -> str | None:
        """Return the present location of files.

        Args:
            table: The table that holds the location.
            location: The location in that table: a path or a URI.
        """
        is_local = location is not None and location.startswith(("/", "file:"))
        if location is None or not is_local or not (self._with_files or table == "experiments"):
            return location
        path = local_path(location)
        for old in self._old:
            # If the new folder lies in the old one, paths already in the new one stay.
            is_there = self._new.is_relative_to(old) and path.is_relative_to(self._new)
            if path.is_relative_to(old) and not is_there:
                here = self._new / path.relative_to(old)
                # Files that were not moved keep their location, as when only the database was.
                has_stayed = table != "experiments" and path.exists() and not here.exists()
                return location if has_stayed else as_location(here)
        return location


def shown_here() -> str:
    """Return the current `<host>:<folder>`, which distinguishes studies of one name."""
    here, home = Path.cwd(), Path.home()
    shown = f"~/{here.relative_to(home)}" if here.is_relative_to(home) else str(here)
    return f"{socket.gethostname()}:{shown}"


def artifact_root(database: Path) -> str:
    """Return where MLflow is to keep the files of a database: next to it."""
    return as_location(folder_of(database) / "mlruns")


def folder_of(database: Path) -> Path:
    """Return the folder that a database lies in, without symbolic links."""
    return database.resolve().parent


def as_location(path: Path) -> str:
    """Return a path as MLflow writes it: plain, or as a URI if it would be misread."""
    return path.as_uri() if set("%#?;") & set(str(path)) else str(path)


def local_path(location: str) -> Path:
    """Return the path of a `file:` URI or a plain path, both unquoted, as MLflow reads them."""
    return Path(unquote(urlsplit(location).path if location.startswith("file:") else location))


def find_move(database: Path) -> Move | None:
    """Check whether a database and its files have been moved or copied here; write nothing."""
    here = folder_of(database)
    with _connected(database, "ro") as connection:
        query = "SELECT DISTINCT value FROM experiment_tags WHERE key = ?"
        folders = [Path(value) for (value,) in connection.execute(query, (names.FOLDER,))]
        query = "SELECT artifact_location FROM experiments"
        locations = [location for (location,) in connection.execute(query)]
    old = [folder for folder in folders if folder != here and not _is_same(folder, here)]
    if not old:
        return None
    # Longest first: one of them may lie in another.
    move = Move(sorted(old, key=lambda folder: -len(folder.parts)), here, True)
    pairs = [(location, move.moved("experiments", location)) for location in locations]
    changed = [(before, after) for before, after in pairs if before != after]
    came_along = any(_exists(after) for _, after in changed)
    if changed and not came_along and any(_exists(before) for before, _ in changed):
        return Move(old, here, False)
    return move


def follow(database: Path) -> None:
    """Let MLflow read a database in this process as if its paths were up to date.

    Args:
        database: The path of the database, as SQLAlchemy has it.
    """
    key = str(database)
    move = find_move(database)
    if move is None:
        _moves.pop(key, None)
        return
    _listen()
    _moves[key] = move
    # MLflow caches the location of a run's files by run id, which a copy shares.
    utils._artifact_repos_cache.clear()


def bring_here(database: Path) -> str | None:
    """Write the new paths into a database that was moved or copied; describe that in one line.

    Raises:
        ConfigError: If the database cannot be written to.
    """
    move = find_move(database)
    if move is None:
        return None
    try:
        with _connected(database, "rw") as connection:
            connection.execute("BEGIN IMMEDIATE")
            for table, (_, columns) in _COLUMNS.items():
                for column in columns:
                    _rewrite(connection, move, table, column)
            query = "UPDATE experiment_tags SET value = ? WHERE key = ?"
            connection.execute(query, (str(folder_of(database)), names.FOLDER))
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise ConfigError(
            f"{database} was moved or copied here, but its paths cannot be updated: {error}. "
            f"Stop other programs that use it, and check its permissions."
        ) from error
    return str(move)


def _rewrite(connection: sqlite3.Connection, move: Move, table: str, column: str) -> None:
    found = connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall()
    changes = [(move.moved(table, before), before) for (before,) in found]
    connection.executemany(
        f"UPDATE {table} SET {column} = ? WHERE {column} = ?",
        [(after, before) for after, before in changes if after != before],
    )


@functools.cache
def _listen() -> None:
    """Change the rows that MLflow loads before MLflow sees them."""
    for table, (entity, columns) in _COLUMNS.items():
        change = functools.partial(_change, table, columns)
        for event in ("load", "refresh"):
            sqlalchemy.event.listen(entity, event, change)


def _change(table: str, columns: tuple[str, ...], row: Any, context: Any, *_: Any) -> None:
    move = _moves.get(str(context.session.get_bind().url.database))
    for column in columns if move is not None else ():
        # Do not load columns that a query has left out.
        if move is not None and column in row.__dict__:
            set_committed_value(row, column, move.moved(table, row.__dict__[column]))


@contextlib.contextmanager
def _connected(database: Path, mode: str) -> Iterator[sqlite3.Connection]:
    uri = f"file:{quote(str(database))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=60, isolation_level=None)
    with contextlib.closing(connection):
        yield connection


def _is_same(one: Path, other: Path) -> bool:
    """Say whether two paths lead to the same folder, by a link or another mount."""
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return False


def _exists(location: str | None) -> bool:
    return location is not None and local_path(location).is_dir()
