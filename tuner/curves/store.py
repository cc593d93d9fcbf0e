"""All curves of a study, as the driver sees them: their names, their size, which are kept."""

import contextlib
import hashlib
import json
import logging
import math
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from tuner.config.schema import CurvesConfig
from tuner.curves.checkpoints import Curve, curves_in
from tuner.trial import Objective, Values, whole, without_epochs

logger = logging.getLogger(__name__)

NUM_BEST = 10
"""Number of trials whose curves `curves.keep=best` keeps."""

_REPEAT = "-"
"""Between the key of a trial's first training and the number of another one."""


class CurveStore:
    """The curves of one study.

    Args:
        folder: The folder that holds them.
        common: Everything that may change a training and is the same in all trials.
        config: The group `curves`.
        objective: The metric that ranks the curves.
        others: Folders of other studies' curves, to take checkpoints from.
    """

    def __init__(
        self,
        folder: Path,
        common: Mapping[str, object],
        config: CurvesConfig,
        objective: Objective,
        others: Iterable[Path] = (),
    ) -> None:
        self._folder = folder
        self._common = dict(common)
        self._config = config
        self._objective = objective
        self._others = [other for other in others if other != folder]
        self._ranks: dict[str, tuple[float, int]] = {}
        self._in_flight: dict[str, set[str]] = {}
        # Remains of writers that were killed.
        for part in folder.glob("**/*.part"):
            part.unlink(missing_ok=True)
        self._sizes = {key: self._size(key) for key in self._keys()}

    def note_score(self, trial_id: str, values: Values, score: float) -> None:
        """Take note of a curve's score, which is that of its best trial."""
        key = self._key(trial_id, values)
        rank = self._objective.rank(score, trial_id)
        self._ranks[key] = min(rank, self._ranks.get(key, rank))

    def begin(
        self, trial_id: str, values: Values, seed: int | None = None, repeat: int = 1
    ) -> Path:
        """Return the folder of a curve of a trial, which is kept until `end`.

        Args:
            trial_id: The trial.
            values: Its values.
            seed: Its seed; None for the one that follows from its values.
            repeat: Which of its trainings it is, from 1.
        """
        key = self._key(trial_id, values, seed)
        if repeat > 1:
            # Its seed and its fold follow from the number.
            key = f"{key}{_REPEAT}{repeat}"
        self._in_flight.setdefault(trial_id, set()).add(key)
        if self._config.reuse:
            for other in self._others:
                self._borrow(other, key, whole(values["epochs"]))
        return (self._folder / key).resolve()

    def end(self, trial_id: str) -> None:
        """Take note of a trial's end, and remove curves if they take too much room."""
        keys = self._in_flight.pop(trial_id)
        self._sizes |= {key: self._size(key) for key in keys}
        if self._config.max_mb is not None:
            self._shrink(self._config.max_mb * 1_000_000)

    def finish(self) -> None:
        """Remove the curves that `curves.keep` does not keep, once the study is over."""
        ranked = self._ranked()
        num_kept = {"all": len(ranked), "best": NUM_BEST, "none": 0}[self._config.keep]
        kept = list(dict.fromkeys(map(_first_of, ranked)))[:num_kept]
        for key in ranked:
            if _first_of(key) not in kept:
                self._drop(key)
        if not self._sizes:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _key(self, trial_id: str, values: Values, seed: int | None = None) -> str:
        """Name a curve by a digest of everything that can change it.

        Whether a model depends on `epochs` is only known once it is built: then each number of
        epochs gets its own folder in that of the key; see `tuner.worker.worker`.
        """
        own = None if self._config.reuse else trial_id
        # Left out where it follows from the rest: the keys of the search's curves stay valid.
        seeds = () if seed is None else (seed,)
        text = json.dumps([self._common, without_epochs(values), own, *seeds], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _ranked(self) -> list[str]:
        """Return the curves, the best first; those without a finished trial come last."""
        last = (math.inf, 0)
        return sorted(self._sizes, key=lambda key: self._ranks.get(_first_of(key), last))

    def _keys(self) -> list[str]:
        return [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []

    def _size(self, key: str) -> int:
        files = (path for path in (self._folder / key).rglob("*") if path.is_file())
        return sum(file.stat().st_size for file in files)

    def _shrink(self, max_bytes: float) -> None:
        """Remove the worst curves until the rest takes no more room than allowed."""
        excess = sum(self._sizes.values()) - max_bytes
        if excess <= 0:
            return
        busy = set().union(*self._in_flight.values())
        for worst in reversed(self._ranked()):
            if excess > 0 and worst not in busy:
                excess -= self._sizes[worst]
                self._drop(worst)

    def _drop(self, key: str) -> None:
        shutil.rmtree(self._folder / key, ignore_errors=True)
        del self._sizes[key]

    def _borrow(self, other: Path, key: str, epochs: int) -> None:
        """Take another study's checkpoint, if it is ahead of our own."""
        for theirs in curves_in(other / key):
            source = Curve(theirs)
            target = Curve(self._folder / theirs.relative_to(other))
            own = max(target.epochs(), default=0)
            ahead = [epoch for epoch in source.epochs() if own < epoch <= epochs]
            # The other study may be removing it at the same time.
            with contextlib.suppress(FileNotFoundError):
                if ahead:
                    target.put(ahead[-1], source.path(ahead[-1]).read_bytes())
                    logger.debug("Took %s from another study.", source.path(ahead[-1]))


def _first_of(key: str) -> str:
    """Return the key of the first training of a trial, given that of any."""
    return key.partition(_REPEAT)[0]
