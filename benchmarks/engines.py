"""`make bench-engines`: the time of an epoch with each engine, over a grid of configurations.

All engines train each configuration in one process, two epochs each in turn, so that the ratios
in a row are from the same minutes. Two, because the first epoch in a call of `model.fit` also
makes its data sets. The memory that the model, the images and the engine add to a process is
measured in separate processes (`memory=true`).
"""

import itertools
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from omegaconf import MISSING, DictConfig, OmegaConf
from rich.console import Console

from benchmarks import grid, machine
from benchmarks.grid import Configuration
from tuner import datasets
from tuner.cli import application
from tuner.config import engine
from tuner.config.compose import typed
from tuner.config.hyperparameters import Fixed
from tuner.config.schema import DataConfig
from tuner.config.space import Space
from tuner.datasets import ImageData
from tuner.errors import ConfigError
from tuner.runtime import files, forkserver, tensorflow_setup
from tuner.trial import whole

ENGINES = ("keras", "graph", "xla")
TOLERANCE = 1.05
"""How much longer an epoch may take without counting as slower: the noise of one machine."""


@dataclass
class ImagesConfig:
    """Where the images come from, and how many of them are used."""

    path: str | None = None
    train_size: int | None = None


@dataclass
class BenchEnginesConfig:
    """Settings of the benchmark: mirrors `conf/commands/bench_engines.yaml`."""

    data: ImagesConfig = field(default_factory=ImagesConfig)
    full: bool = MISSING
    rounds: int = MISSING
    only: str | None = None
    slow: bool = MISSING
    memory: bool = MISSING
    output: str | None = None


@dataclass
class Measured:
    """The measurements of an engine for one configuration.

    Attributes:
        first: Seconds of the first epoch, including tracing and compiling.
        epoch: Seconds of the fastest later epoch, including validation.
        peak: Peak memory of a process in bytes, or None if that was not measured.
    """

    first: float
    epoch: float
    peak: int | None = None


@dataclass
class Row:
    """A configuration, the measurements of each engine, and the engine that `auto` chooses."""

    configuration: Configuration
    auto: str
    measured: dict[str, Measured]

    def ratio(self, name: str) -> float:
        """Return an engine's seconds per epoch over those of `model.fit`."""
        return self.measured[name].epoch / self.measured["keras"].epoch

    @property
    def slower(self) -> list[str]:
        """Return which of `auto` and `graph` are slower than `model.fit`.

        A study uses `graph` for all of its trials if one of them may have dropout.
        """
        names = dict.fromkeys([self.auto, "graph"])
        return [name for name in names if self.ratio(name) > TOLERANCE]


def main(composed: DictConfig) -> None:
    """Measure the grid, and print the table."""
    config: BenchEnginesConfig = typed(composed, OmegaConf.structured(BenchEnginesConfig))
    if config.rounds < 1:
        raise ConfigError(f"`rounds` must be at least 1, but got {config.rounds}.")
    every = grid.full() if config.full else grid.short()
    chosen = [c for c in every if config.only is None or config.only in c.name]
    if not chosen:
        raise ConfigError(f"`only={config.only}` must be part of a configuration's name.")
    forkserver.begin_imports(["tuner.worker.preload"])
    data = datasets.load(_source(config.data), 0)
    # Rows go to standard error as they come: standard output may be a file, for the table.
    progress = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    rows = []
    for i, configuration in enumerate(chosen, 1):
        # In its own process, since a long-lived one slows down with everything that it keeps.
        row = forkserver.call(measure, configuration, data, config.rounds, config.slow)
        if config.memory:
            for name, measured in row.measured.items():
                measured.peak = forkserver.call(peak, configuration, data, name)
        rows.append(row)
        progress.print(f"{i} of {len(chosen)}  {_line(row)}")
    text = table(rows, data)
    Console(soft_wrap=True, highlight=False, markup=False).print(text)
    if config.output is not None:
        files.write(Path(config.output), text)


def measure(
    configuration: Configuration, data: ImageData, rounds: int, slow: bool = False
) -> Row:
    """Train a configuration with every engine in turn; called in a child process.

    Args:
        configuration: The configuration to train.
        data: The images.
        rounds: Number of times that each engine trains two epochs, at least 1.
        slow: Whether to measure XLA where it would be refused.
    """
    space = Space({name: Fixed(value) for name, value in configuration.values.items()})
    is_slow = engine.slow_in_xla(configuration.model, space) is not None
    names = [name for name in ENGINES if name != "xla" or slow or not is_slow]
    trainings = {name: _epochs(configuration, data, name) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, training in trainings.items():
            seconds[name] += next(training)
    return Row(
        configuration,
        engine.rule(configuration.model, space, False, 0, 1, engine.MIN_STEPS).name,
        {name: Measured(first, min(rest)) for name, (first, *rest) in seconds.items()},
    )


def peak(configuration: Configuration, data: ImageData, name: str) -> int:
    """Train two epochs with one engine, and return this process's peak memory in bytes."""
    next(_epochs(configuration, data, name))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _epochs(configuration: Configuration, data: ImageData, name: str) -> Iterator[list[float]]:
    """Train two epochs per iteration, and yield their seconds."""
    import keras

    from tuner import training
    from tuner.runtime.user_code import find_function

    tensorflow_setup.set_threads(1)
    training.forget_models()
    training.seed_everything(0)
    build = find_function("model", configuration.model)
    model = build(configuration.values, data.image_shape, len(data.class_names))
    for number in itertools.count(0, 2):
        ends = [time.perf_counter()]
        training.fit(
            model,
            data.train,
            data.validation,
            epochs=number + 2,
            initial_epoch=number,
            batch_size=whole(configuration.values["batch_size"]),
            seed=0,
            callbacks=[
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda *_, ends=ends: ends.append(time.perf_counter())
                )
            ],
            engine=name,
        )
        yield [end - begin for begin, end in itertools.pairwise(ends)]


def _source(config: ImagesConfig) -> DataConfig:
    if config.path is None:
        return DataConfig("tuner.datasets.digits.load", "digits", None, config.train_size, 0.15)
    return DataConfig("tuner.datasets.npz.load", "npz", config.path, config.train_size)


def table(rows: Sequence[Row], data: ImageData) -> str:
    """Return the table in Markdown, with a description above and the verdict below it."""
    has_memory = any(m.peak is not None for row in rows for m in row.measured.values())
    heads = [f"first epoch {name}" for name in ENGINES]
    if has_memory:
        heads += [f"MB {name}" for name in ENGINES]
    titles = ["configuration", *ENGINES, "auto", "auto / keras", "graph / keras", *heads]
    lines = [titles, ["---", *["---:"] * 3, "---", *["---:"] * (len(titles) - 5)]]
    for row in rows:
        first = [_seconds(row, name, "first") for name in ENGINES]
        lines.append(
            [
                row.configuration.name,
                *(_seconds(row, name, "epoch") for name in ENGINES),
                row.auto,
                f"{row.ratio(row.auto):.2f}",
                f"{row.ratio('graph'):.2f}",
                *first,
                *((_megabytes(row, name) for name in ENGINES) if has_memory else ()),
            ]
        )
    slower = [
        f"{row.configuration.name} ({', '.join(row.slower)})" for row in rows if row.slower
    ]
    verdict = f"Slower than `model.fit` by more than {TOLERANCE - 1:.0%}: " + (
        "; ".join(slower) if slower else "none"
    )
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{data.name}: {len(data.train)} training and {len(data.validation)} validation "
        f"images. Seconds of the fastest epoch after the first, including validation, by "
        f"`training.engine`; `auto` is the engine of a study with only this configuration. "
        f"{machine.cpu()}, {memory:.0f} GiB.\n\n"
        + "\n".join(f"| {' | '.join(line)} |" for line in lines)
        + f"\n\n{verdict}.\n"
    )


def _line(row: Row) -> str:
    took = "  ".join(f"{name} {m.epoch:.3f}" for name, m in row.measured.items())
    slower = f"  SLOWER: {', '.join(row.slower)}" if row.slower else ""
    return (
        f"{row.configuration.name}  {took}  auto={row.auto} {row.ratio(row.auto):.2f}{slower}"
    )


def _seconds(row: Row, name: str, what: str) -> str:
    return f"{getattr(row.measured[name], what):.3f}" if name in row.measured else "-"


def _megabytes(row: Row, name: str) -> str:
    measured = row.measured.get(name)
    return "-" if measured is None or measured.peak is None else f"{measured.peak / 1e6:.0f}"


if __name__ == "__main__":
    application.run(main, "commands/bench_engines", BenchEnginesConfig)
