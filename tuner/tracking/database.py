"""Checks that a database is one in which this version of MLflow can keep its records."""

import functools
import importlib
import shlex
import stat
from pathlib import Path
from typing import Any

import mlflow
import sqlalchemy
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from mlflow.store.db import utils

from tuner import passwords
from tuner.config import printed_commands
from tuner.errors import ConfigError

_SQLITE = b"SQLite format 3\0"


def check_file(path: Path, uri: str, called: str) -> None:
    """Refuse a file that is not an SQLite database of this version of MLflow; write nothing.

    MLflow would take minutes to report that, or create its tables in any database.

    Args:
        path: The file; it exists.
        uri: Its address.
        called: Its name in messages.

    Raises:
        ConfigError: If it is not such a database.
    """
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
        begins = b""
        if is_file:
            with path.open("rb") as file:
                begins = file.read(len(_SQLITE))
    except OSError as error:
        raise ConfigError(f"{called} cannot be read: {error.strerror}.") from error
    if not is_file:
        what = "a folder" if path.is_dir() else "not a regular file"
    elif not begins:
        what = "an empty file"
    elif begins != _SQLITE:
        what = "a file of another kind"
    else:
        check(uri, called)
        return
    raise ConfigError(
        f"{called} must be an SQLite database of MLflow, but is {what}. Restore the database, "
        f"move this away to start a new one, or give another `tracking.uri`."
    )


def check(uri: str, called: str) -> None:
    """Refuse a database whose tables are not those of this version of MLflow.

    Args:
        uri: Address of an existing database. One attempt is made to connect, since MLflow
            would make ten, for more than a minute.
        called: Its name in messages.

    Raises:
        ConfigError: If its tables are another program's, or another version's.
        sqlalchemy.exc.OperationalError: If it refuses the connection.
    """
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    is_file = engine.dialect.name == "sqlite"
    try:
        tables = set(sqlalchemy.inspect(engine).get_table_names())
        found = _schema(engine) if "alembic_version" in tables else None
    except sqlalchemy.exc.DatabaseError as error:
        if not is_file:
            raise
        raise ConfigError(
            f"{called} cannot be read: {error.orig}. Restore the file, or give another "
            f"`tracking.uri`."
        ) from error
    finally:
        engine.dispose()
    if not tables and not is_file:
        # A new database on a server: MLflow makes its tables.
        return
    if found is None or "experiments" not in tables:
        raise ConfigError(
            f"{called} is a database, but not MLflow's; its tables: "
            f"{', '.join(sorted(tables)[:5]) or 'none'}. Give another `tracking.uri`."
        )
    expected = _expected_schema()
    if found == expected:
        return
    if _is_known(found):
        raise ConfigError(
            f"{called} was made by an older MLflow: its schema is {found}, and MLflow "
            f"{mlflow.__version__} needs {expected}. Keep a copy of it, then upgrade it:\n"
            f"  {printed_commands.program('mlflow')} db upgrade "
            f"{shlex.quote(passwords.hide(uri))}"
        )
    raise ConfigError(
        f"{called} was made by a newer MLflow than {mlflow.__version__}, which does not know "
        f"its schema {found}: upgrade MLflow (pip install --upgrade mlflow), or give "
        f"another `tracking.uri`."
    )


def empty_tables() -> bytes:
    """Return an SQLite database with MLflow's tables, and nothing in them.

    They are made in memory, since MLflow makes them by its sixty upgrades, each of which would
    wait for the disk. It takes a second of a core.
    """
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    try:
        # Importing it declares the tables.
        importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
        utils._initialize_tables(engine)  # type: ignore[no-untyped-call]
        connection: Any = engine.raw_connection().driver_connection
        return bytes(connection.serialize())
    finally:
        engine.dispose()


@functools.cache
def _expected_schema() -> str:
    """Return the schema of this version of MLflow; finding it takes 0.2 s."""
    return str(utils._get_latest_schema_revision())  # type: ignore[no-untyped-call]


def _schema(engine: sqlalchemy.Engine) -> str | None:
    with engine.connect() as connection:
        return connection.execute(
            sqlalchemy.text("SELECT version_num FROM alembic_version")
        ).scalar()


def _is_known(revision: str) -> bool:
    """Say whether a schema is one of those that this version of MLflow can upgrade."""
    config = utils._get_alembic_config(db_url="")  # type: ignore[no-untyped-call]
    script = ScriptDirectory.from_config(config)
    try:
        return script.get_revision(revision) is not None
    except CommandError:
        return False
