"""The images that all rows train on, and their split, written once for all rows to read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.job import SPLITS
from tuner import datasets
from tuner.config.schema import DataConfig
from tuner.datasets import ImageData, digits

NUM_TRAIN = 55_000
"""Number of training images if no data set is given: about as many as MNIST has."""

VALIDATION_SPLIT = 0.1


@dataclass(frozen=True)
class Images:
    """The images of a benchmark.

    Attributes:
        path: The `.npz` file that Glassy reads.
        name: Their name.
        digest: 32 hexadecimal digits of their content.
        splits: For each seed, another `.npz` file, with the validation images split off.
    """

    path: Path
    name: str
    digest: str
    splits: dict[int, Path]


def prepare(path: str | None, seeds: range, folder: Path) -> Images:
    """Find or make the images, and write the splits that Glassy makes of them.

    Args:
        path: As in `data.path`; None for scikit-learn's digits.
        seeds: Seeds of the splits: one file is written for each.
        folder: Folder for the files.

    Raises:
        DataError: If the file at `path` cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(path).resolve() if path else _write_digits(folder / "digits.npz")
    config = DataConfig(
        _target_="tuner.datasets.npz.load",
        name=source.stem,
        path=str(source),
        validation_split=VALIDATION_SPLIT,
    )
    splits = {}
    for seed in seeds:
        data = datasets.load(config, seed)
        splits[seed] = folder / f"splits-{seed}.npz"
        write_splits(data, splits[seed])
    return Images(source, source.stem, data.digest, splits)


def write_splits(data: ImageData, path: Path) -> None:
    """Write images and their split in the form that Glassy and `load_splits` read."""
    arrays = {}
    for split, short in SPLITS.items():
        part = getattr(data, split)
        arrays[f"x_{short}"], arrays[f"y_{short}"] = part.images, part.labels
    np.savez(path, **arrays)


def _write_digits(path: Path) -> Path:
    """Write the embedded digits, repeated until there are as many as MNIST has."""
    source = digits.load(DataConfig())
    tiled = source.train.take(np.arange(NUM_TRAIN) % len(source.train))
    np.savez(
        path,
        x_train=tiled.images,
        y_train=tiled.labels,
        x_test=source.test.images,
        y_test=source.test.labels,
    )
    return path
