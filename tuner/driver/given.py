"""What a study is given as objects: a model function as source, and arrays.

`tuner.run_study` takes both. They are kept in the study's folder, as a module and as an `.npz`
file, and the study's configuration names these: so it is resumed, judged and promoted like any
other, from the command line too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.config.overrides import key_of
from tuner.config.schema import StudyConfig
from tuner.driver.remains import GIVEN_DATA, GIVEN_MODEL
from tuner.driver.study_folder import EXPERIMENTS_DIR, StudyFolder
from tuner.errors import StudyError
from tuner.runtime import files

if TYPE_CHECKING:
    from tuner.datasets import LabelledImages


@dataclass(frozen=True)
class Given:
    """What a study is given besides its configuration; see `tuner.run_study`.

    Attributes:
        source: Text of the module `GIVEN_MODEL`, which holds the model function; None if the
            configuration names one that can be imported.
        data: The images; None if the configuration names a loader.
    """

    source: str | None = None
    data: LabelledImages | None = None

    def overrides(self, overrides: Sequence[str], name: str) -> list[str]:
        """Return the overrides of a study with the path of its data; see `placed`."""
        if self.data is None:
            return list(overrides)
        others = (override for override in overrides if key_of(override) != "data.path")
        return [*others, f"data.path={EXPERIMENTS_DIR / name / GIVEN_DATA}"]

    def placed(self, config: StudyConfig, name: str) -> StudyConfig:
        """Return the configuration of a study that keeps its data in its folder.

        Args:
            config: The configuration, before the study had a name.
            name: The study's name.
        """
        if self.data is None:
            return config
        path = str(EXPERIMENTS_DIR / name / GIVEN_DATA)
        return dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))

    def check_same_data(self, existing: StudyFolder) -> None:
        """Refuse other data than those of a finished study, which loads none.

        Raises:
            StudyError: If they differ.
        """
        before = (existing.state.identity or {}).get("data")
        if self.data is None or before is None or (now := self.data.digest()) == before:
            return
        raise StudyError(
            f"study={existing.path.name} was searched on other data (their digest was {before} "
            f"and is now {now}): give the same, or another name; overwrite=true deletes the "
            f"earlier study's folder."
        )

    @contextlib.contextmanager
    def importable(self, study: Path) -> Iterator[None]:
        """Let the study's own module be imported, here and in child processes.

        Args:
            study: The study's folder, which need not exist yet. Until `keep` has written the
                module there, it is imported from a temporary folder.
        """
        if self.source is None:
            with importable_from(study):
                yield
            return
        with tempfile.TemporaryDirectory(prefix="glassy-") as temporary:
            files.write_scratch(Path(temporary, f"{GIVEN_MODEL}.py"), self.source)
            with _found_in(temporary):
                yield

    def keep(self, held: StudyFolder) -> None:
        """Write into a study's folder what it was given, unless it is there.

        Args:
            held: The study's folder, once its identity has been compared.
        """
        if self.source is not None:
            path, content = held.path / f"{GIVEN_MODEL}.py", self.source.encode()
            if not path.exists() or path.read_bytes() != content:
                files.write(path, content)
            # From now on, a traceback names a file that stays.
            sys.path.insert(0, str(held.path.resolve()))
        if self.data is not None:
            path = held.path / GIVEN_DATA
            if not path.exists() or not path.stat().st_size:
                with files.replacing(path) as part:
                    _write(self.data, part)


@contextlib.contextmanager
def importable_from(study: Path | None) -> Iterator[None]:
    """Let the module be imported that a study keeps in its folder, if it keeps one.

    Args:
        study: The study's folder; None if it is not here.
    """
    if study is None or not (study / f"{GIVEN_MODEL}.py").is_file():
        yield
        return
    with _found_in(str(study.resolve())):
        yield


@contextlib.contextmanager
def _found_in(folder: str) -> Iterator[None]:
    """Put a folder before all others on Python's path, which child processes inherit."""
    before = sys.path[:]
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path[:] = before
        # Of several studies in one process (`-m`), the next one may have its own.
        sys.modules.pop(GIVEN_MODEL, None)


def _write(data: LabelledImages, path: Path) -> None:
    import numpy as np

    arrays: dict[str, Any] = {
        "x_train": data.train.images,
        "y_train": data.train.labels,
        "x_test": data.test.images,
        "y_test": data.test.labels,
        "class_names": np.array(data.class_names),
    }
    if data.validation is not None:
        arrays |= {"x_val": data.validation.images, "y_val": data.validation.labels}
    with files.scratch(path) as file:
        np.savez(file, **arrays)
