"""The executors that `executor=…` chooses from: one entry each, in one table.

An entry is a dataclass. Its fields are the keys of `conf/executor/<name>.yaml`; its class
attributes and methods are all that the rest of Glassy needs to know about the executor. The
executor itself is imported only when it is chosen.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from tuner.config.bounds import check_at_least
from tuner.errors import ConfigError

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):\d{1,5}")


@dataclass
class ExecutorConfig:
    """What every executor takes (group `executor`), and the base of an entry.

    To add an executor:

    1. Write its class, derived from `tuner.executors.Executor`, whose docstring says what the
       class must do, and a function that prepares it: a `tuner.executors.Prepare`.
    2. Derive a dataclass from this one, with the executor's own keys as fields, each with a
       default, and with the function's dotted name as `prepare`. Commands import this dataclass
       before anything else, so its module imports nothing heavy at its top level.
    3. Write `conf/executor/<name>.yaml` with every key. Its `name` is the entry's name in
       `EXECUTORS` or, for an executor outside this package, the dotted name of the dataclass.

    Attributes:
        name: The entry's name in `EXECUTORS`, or its own dotted name.
        threads: Threads of one operation.
        prepare: Dotted name of the function that finds out whether trials can run there.
        trains_in_driver: Whether trials run in the driver's own process.
        can_prune: Whether it answers each epoch of a trial that is judged before the next one
            is trained, which `search.pruner` needs; see `tuner.executors.Executor`.
    """

    name: str = MISSING
    threads: int = 1

    prepare: ClassVar[str]
    trains_in_driver: ClassVar[bool] = False
    can_prune: ClassVar[bool] = False

    def check(self) -> None:
        """Refuse options that cannot work.

        Raises:
            ConfigError: At the first thing wrong.
        """
        check_at_least("executor.threads", self.threads, 1)


@dataclass
class SerialConfig(ExecutorConfig):
    """`executor=serial`."""

    prepare: ClassVar[str] = "tuner.executors.serial.prepare"
    trains_in_driver: ClassVar[bool] = True
    can_prune: ClassVar[bool] = True


@dataclass
class PoolConfig(ExecutorConfig):
    """What executors with several workers share; not an entry itself.

    Attributes:
        workers: Number of workers, or None for as many as there is room for.
        retries: How many times to retry a trial whose worker died.
    """

    workers: int | None = None
    retries: int = 2

    can_prune: ClassVar[bool] = True

    def check(self) -> None:
        """See `ExecutorConfig.check`."""
        super().check()
        if self.workers is not None:
            check_at_least("executor.workers", self.workers, 1)
        check_at_least("executor.retries", self.retries, 0)


@dataclass
class ProcessesConfig(PoolConfig):
    """`executor=processes`."""

    prepare: ClassVar[str] = "tuner.executors.processes.prepare"


@dataclass
class RayConfig(PoolConfig):
    """`executor=ray`."""

    address: str | None = None
    cpus: float = 1
    gpus: float = 0

    prepare: ClassVar[str] = "tuner.executors.ray.prepare"

    def check(self) -> None:
        """See `ExecutorConfig.check`."""
        super().check()
        if self.address not in (None, "auto") and not _ADDRESS.fullmatch(str(self.address)):
            raise ConfigError(
                f"`executor.address` must be null (a cluster on this machine, for this study "
                f"alone), auto, or the host:port of a cluster's head, but got "
                f"{self.address!r}."
            )
        # Ray's own rules: it counts in ten-thousandths, and never grants one and a half GPUs.
        for key, value in (("cpus", self.cpus), ("gpus", self.gpus)):
            if not 0 <= value < math.inf or round(value, 4) != value:
                raise ConfigError(
                    f"`executor.{key}` must be at least 0, with 4 decimals at most, but got "
                    f"{value}."
                )
        if self.gpus > 1 and not self.gpus.is_integer():
            raise ConfigError(
                f"`executor.gpus` must be a whole number or a part of one GPU, but got "
                f"{self.gpus}."
            )
        if self.cpus == self.gpus == 0:
            raise ConfigError(
                "`executor.cpus` or `executor.gpus` must be above 0, or any number of trials "
                "would fit on a node."
            )


EXECUTORS: Mapping[str, type[ExecutorConfig]] = {
    "serial": SerialConfig,
    "processes": ProcessesConfig,
    "ray": RayConfig,
}
"""Every executor of Glassy's own, by its name in the configuration."""
