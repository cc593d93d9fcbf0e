"""What a function of ours must leave as it was in the process that calls it."""

import logging
import os
import signal
import sys
import threading
import warnings

import mlflow

LOGGERS = ("", "tuner", "mlflow", "alembic", "matplotlib", "tensorflow", "keras", "absl")


def surroundings() -> dict[str, object]:
    """Return the state of this process that a search would change."""
    loggers = {name: logging.getLogger(name or None) for name in LOGGERS}
    return {
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in range(1, signal.NSIG)],
        "loggers": {name: (one.level, one.handlers[:]) for name, one in loggers.items()},
        "tracking": mlflow.get_tracking_uri(),
        "folder": os.getcwd(),
        "path": sys.path[:],
        "arguments": sys.argv[:],
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "warnings": warnings.filters[:],
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
    }
