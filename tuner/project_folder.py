"""The folder that a study is searched in, as MLflow's records name it."""

import socket
from pathlib import Path


def shown_here() -> str:
    """Return `<host>:<folder>` of the current folder, which tells studies of one name apart."""
    here, home = Path.cwd(), Path.home()
    shown = f"~/{here.relative_to(home)}" if here.is_relative_to(home) else str(here)
    return f"{socket.gethostname()}:{shown}"
