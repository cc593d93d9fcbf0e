"""Copies a model's files from the location that the store names.

The store may name a kind of address that MLflow does not know, one that needs a package which
is not installed, or a server that does not answer.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow.exceptions import MlflowException

from tuner import passwords
from tuner.tracking import tracking_store
from tuner.tracking.checksums import DESCRIPTION_FILE
from tuner.tracking.logged_models import artifacts

PATIENCE_SECONDS = 5.0
"""How long a server may take to accept a connection."""

_PORTS = {"sftp": 22, "hdfs": 8020, "viewfs": 8020}
"""Default ports of servers whose clients would wait for minutes, by scheme of the address."""


class Unreadable(Exception):
    """A file cannot be copied; the text says why, in a few words."""


def fetch(client: mlflow.MlflowClient, location: str, file: str, folder: Path) -> Path:
    """Copy one of a model's files into a folder, and return the path of the copy.

    The description is small and comes first, so it gets only a few seconds. After that the
    server is known to answer, and MLflow's own patience suits the rest.

    Args:
        client: Client of the store that names the location.
        location: Address of the model's folder.
        file: Path of the file in that folder.
        folder: Existing folder for the copy.

    Raises:
        Unreadable: If it cannot be copied.
    """
    try:
        # MLflow would ask the default store to resolve its own kinds of addresses.
        with tracking_store.as_default(client):
            if file != DESCRIPTION_FILE:
                return _copy(client, location, file, folder)
            _reach(location)
            with tracking_store.probing(), _impatient_sockets():
                return _copy(client, location, file, folder)
    # Any exception: each kind of address has its own client with its own errors.
    except Exception as error:
        raise Unreadable(_why(location, error)) from error


def _copy(client: mlflow.MlflowClient, location: str, file: str, folder: Path) -> Path:
    copy = Path(artifacts(client, location).download_artifacts(file, dst_path=str(folder)))
    if not copy.is_file():
        raise FileNotFoundError(f"{file} is not a file there")
    return copy


@contextlib.contextmanager
def _impatient_sockets() -> Iterator[None]:
    """Limit how long any socket waits, whoever makes it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reach(location: str) -> None:
    """Connect once to a server for which its own client would wait forever."""
    address = urlsplit(location)
    if address.scheme == "s3":
        address = urlsplit(os.environ.get("MLFLOW_S3_ENDPOINT_URL", ""))
        port = address.port or (443 if address.scheme == "https" else 80)
    elif address.scheme in _PORTS:
        port = address.port or _PORTS[address.scheme]
    else:
        return
    if address.hostname:
        socket.create_connection((address.hostname, port), PATIENCE_SECONDS).close()


def _why(location: str, error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"that needs the package {error.name}, which is not installed"
    if isinstance(error, ValueError) or not location:
        return "MLflow cannot read files from such an address"
    if isinstance(error, MlflowException) and "artifact repository" in str(error):
        return "MLflow cannot read files from addresses of this kind"
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    # With several files, MLflow's last line says why the last one failed.
    which = -1 if str(error).startswith("The following failures") else 0
    said = lines[which].strip() if lines else type(error).__name__
    return passwords.hide(said[:300]).rstrip(".")
