"""The Ray cluster that trials run on: an existing one, or one made of this machine."""

import contextlib
import importlib.util
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import tuner
from tuner.errors import ConfigError, UnavailableError
from tuner.runtime import forkserver, surroundings, tensorflow_setup
from tuner.runtime.user_code import find_function

if TYPE_CHECKING:
    from tuner.config.executors import RayConfig

_CONNECT_SECONDS = 5

# The output of workers and nodes stays in Ray's own logs on the nodes; the executor reports
# what it means for the study. All of these variables are read when Ray is imported.
_QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": "."}
# Otherwise Ray waits two minutes for a head that does not answer, and one minute for this
# machine to appear among the nodes.
_PATIENCE = {
    "RAY_gcs_server_port_wait_time_s": "1",
    "RAY_py_gcs_connect_timeout_s": "5",
    "RAY_gcs_server_request_timeout_seconds": "10",
}
# A cluster of only this machine listens only on 127.0.0.1, as it does on systems besides Linux.
_LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
_WORKERS = {
    # A trial takes only the GPU memory that it needs, so that two trials can share a GPU.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    # A trial that asks for no GPU sees none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # No start-up notes.
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""Environment variables of every worker."""


def connect(config: "RayConfig", *functions: str) -> None:
    """Connect this process to a cluster, or start one for it; `disconnect` undoes either.

    Args:
        config: The group `executor`.
        functions: Dotted names of the functions that workers call; see `Prepare`.

    Raises:
        ConfigError: If Ray is not installed, or no node can ever hold a trial.
        UnavailableError: If there is no such cluster, it does not answer, this machine is not
            one of its nodes, or it runs other versions of Python or Ray.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "`executor=ray` needs Ray, which is not installed: pip install '.[ray]' in the "
            "project's root, or pip install ray."
        )
    is_local = config.address is None
    for name, value in (_QUIET | _PATIENCE | (_LOCAL | _WORKERS if is_local else {})).items():
        os.environ.setdefault(name, value)
    with _own_signals():
        if is_local:
            # Ray itself passes on the current folder alone.
            path = os.pathsep.join(folder for folder in sys.path if folder)
            with surroundings.variables({"PYTHONPATH": path}):
                _init(config, address="local", include_dashboard=False)
        else:
            _check_answers(config)
            # In a child process, because a model's module imports TensorFlow.
            modules = forkserver.call(own_modules, *functions)
            _init(
                config,
                address=config.address,
                runtime_env={"py_modules": modules, "env_vars": _WORKERS},
            )
    if room(config) == 0 and (is_local or config.workers is None):
        disconnect()
        where = "on this machine" if is_local else "on one node of the cluster"
        more = "" if is_local else ", or set `executor.workers` to wait for nodes that join"
        raise ConfigError(
            f"A trial must fit {where}, but with executor.cpus={config.cpus:g} and "
            f"executor.gpus={config.gpus:g} it does not: ask for less{more}."
        )


def disconnect() -> None:
    """Leave the cluster; stop it if `connect` has started it."""
    import ray

    ray.shutdown()


def head_answers() -> bool:
    """Say whether the cluster's head takes connections.

    If it does not, calls to Ray wait for it, and end the process after a minute.
    """
    import ray

    try:
        _reach(ray.get_runtime_context().gcs_address)
    except OSError:
        return False
    return True


def room(config: "RayConfig") -> int:
    """Count the trials that fit on the live nodes, whatever else runs there."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(trials_on(resources, config.cpus, config.gpus) for resources in alive)


def trials_on(resources: dict[str, float], cpus: float, gpus: float) -> int:
    """Count the trials that fit on one node.

    Args:
        resources: The node's resources, as Ray names them: `{"CPU": 8.0, "GPU": 1.0, …}`.
        cpus: Number of CPUs per trial.
        gpus: Number of GPUs per trial; not both numbers are 0.
    """
    # Rounded as Ray does, or 0.3 CPUs would hold two trials of 0.1.
    return min(
        math.floor(round(resources.get(name, 0) / each, 4))
        for name, each in (("CPU", cpus), ("GPU", gpus))
        if each > 0
    )


def own_modules(*functions: str) -> list[str]:
    """Return the paths of Glassy, of the functions, and of modules in the current folder.

    They are sent to every node, so that it runs exactly the code that is here; everything else
    must be installed there.

    Args:
        functions: Dotted names; their modules are imported, to see what these import.
    """
    tensorflow_setup.set_up()
    keys = ("model._target_", *["training.callbacks"] * len(functions))
    for key, function in zip(keys, functions, strict=False):
        find_function(key, function)
    roots = {function.partition(".")[0] for function in functions}
    here = Path.cwd()
    paths = {Path(next(iter(tuner.__path__)))}
    for name, module in list(sys.modules.items()):
        if "." in name or name == "__main__":
            continue
        places = list(getattr(module, "__path__", ())) or [getattr(module, "__file__", None)]
        path = Path(places[0] or "")
        # One that a study was given is not in this folder; see `tuner.driver.given`.
        is_wanted = path.is_relative_to(here) or name in roots
        # Nodes have a Python environment of their own, so one in this folder is not sent.
        if is_wanted and not path.is_relative_to(sys.prefix):
            paths.add(path)
    return sorted(map(str, paths))


def _init(config: "RayConfig", **arguments: object) -> None:
    import ray

    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unavailable(config, " ".join(str(error).split()).rstrip(".")) from error


def _check_answers(config: "RayConfig") -> None:
    """Check in seconds what takes Ray minutes."""
    address = str(config.address)
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if ":" not in address:
        return
    try:
        _reach(address)
    except (OSError, OverflowError, ValueError) as error:
        raise _unavailable(config, f"{address} does not answer ({error})") from error


def _reach(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()


def _unavailable(config: "RayConfig", why: str) -> UnavailableError:
    if config.address is None:
        return UnavailableError(f"`executor=ray` cannot start Ray on this machine: {why}.")
    return UnavailableError(
        f"`executor.address={config.address}` must be a Ray cluster that this machine is a "
        f"node of, but: {why}. Start or join it with `ray start`, or leave out "
        f"`executor.address` to use only this machine (docs/cluster.md)."
    )


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Take SIGTERM back from Ray, whose handler would end the search without a record."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as error:
        # SIGTERM came while Ray's handler was in place.
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGTERM, before)
