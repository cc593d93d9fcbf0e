"""Learning curves: how far values have been trained, and the checkpoints to resume from.

A curve is the training of one set of values, all except `epochs`, with one seed. Its folder
has a checkpoint for each epoch that was worth one: metrics so far, and the training's whole
state. A trial takes the checkpoint at its last epoch, or resumes from an earlier one. Neither
Keras nor MLflow is imported here, since the driver reads curves too.
"""

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.runtime import files
from tuner.trial import CheckpointSetup, Metrics

if TYPE_CHECKING:
    from tuner.training import TrainingState

logger = logging.getLogger(__name__)

MAX_SHARE = 0.02
"""Share of the training time that checkpoints may take before they become less frequent."""

_SUFFIX = ".checkpoint"
_DIGEST_SIZE = hashlib.sha256().digest_size


class DamagedCheckpoint(Exception):
    """A checkpoint file is not what was written."""


@dataclass(frozen=True)
class TrainedEpoch:
    """One epoch of a curve.

    Attributes:
        metrics: Metrics after the epoch, as Keras names them.
        seconds: Wall time it took, including validation.
        trial: The trial that trained it, as `<study>/<trial id>`.
    """

    metrics: Metrics
    seconds: float
    trial: str


@dataclass(frozen=True)
class Checkpoint:
    """A curve up to one of its epochs.

    Attributes:
        epochs: All epochs so far; `epochs[0]` is epoch 1.
        state: State of the training after the last of them.
    """

    epochs: Sequence[TrainedEpoch]
    state: "TrainingState"

    def encode(self) -> bytes:
        """Return the checkpoint as bytes that begin with their own SHA-256."""
        about = {
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "callbacks": self.state.callbacks,
            "is_stopped": self.state.is_stopped,
            # Names of arrays may not be valid file names.
            "arrays": list(self.state.arrays),
        }
        arrays: dict[str, Any] = {
            str(i): array for i, array in enumerate(self.state.arrays.values())
        }
        file = io.BytesIO()
        np.savez(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
        content = file.getvalue()
        return hashlib.sha256(content).digest() + content

    @classmethod
    def decode(cls, encoded: bytes) -> "Checkpoint":
        """Return the checkpoint that `encode` has written.

        Raises:
            DamagedCheckpoint: If a single bit of it has changed.
        """
        # Imported only to load one: the driver, which only looks, needs no TensorFlow.
        from tuner.training import TrainingState

        content = encoded[_DIGEST_SIZE:]
        if hashlib.sha256(content).digest() != encoded[:_DIGEST_SIZE]:
            raise DamagedCheckpoint("its checksum is not that of its content")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            about = json.loads(archive["about"].tobytes())
            arrays = {name: archive[str(i)] for i, name in enumerate(about["arrays"])}
        epochs = tuple(TrainedEpoch(**epoch) for epoch in about["epochs"])
        return cls(epochs, TrainingState(arrays, about["callbacks"], about["is_stopped"]))


class Curve:
    """The checkpoints of one curve, as files of a folder.

    Args:
        folder: Made at the first checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def epochs(self) -> list[int]:
        """Return the epochs that have a checkpoint, in ascending order."""
        found = self.folder.glob(f"epoch-*{_SUFFIX}")
        return sorted(int(path.stem.removeprefix("epoch-")) for path in found)

    def path(self, epoch: int) -> Path:
        """Return the file of an epoch's checkpoint."""
        return self.folder / f"epoch-{epoch:04d}{_SUFFIX}"

    def find(self, epochs: int) -> Checkpoint | None:
        """Return the latest checkpoint from which a training of `epochs` epochs can resume.

        A damaged checkpoint is renamed, with a warning, and the one before is used.
        """
        for epoch in reversed(self.epochs()):
            if epoch > epochs:
                continue
            path = self.path(epoch)
            try:
                return Checkpoint.decode(path.read_bytes())
            except FileNotFoundError:
                continue
            except DamagedCheckpoint as error:
                files.rename(path, path.with_suffix(".damaged"))
                logger.warning(
                    "%s is damaged (%s) and was set aside; its epoch is trained again.",
                    path,
                    error,
                )
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; a kill leaves all of it or nothing."""
        self.put(len(checkpoint.epochs), checkpoint.encode())

    def put(self, epoch: int, encoded: bytes) -> None:
        """Write the checkpoint of an epoch from its bytes."""
        files.make_folder(self.folder)
        # Written under a unique name first: a worker whose driver was killed may still be
        # writing the same checkpoint.
        files.write(self.path(epoch), encoded)

    def drop(self, epoch: int) -> None:
        """Remove the checkpoint of an epoch."""
        self.path(epoch).unlink(missing_ok=True)


def curve_of(folder: Path, epochs: int | None) -> Curve:
    """Return the curve of a key.

    Args:
        folder: Folder named by the key.
        epochs: The trial's epochs, if its model depends on them, for example by a learning rate
            that falls towards the last one: then each number of epochs is a separate training.
    """
    return Curve(folder if epochs is None else folder / f"epochs-{epochs}")


def curves_in(folder: Path) -> list[Path]:
    """Return the folders of all curves of a key, the key's own folder first."""
    return [folder, *sorted(folder.glob("epochs-*"))]


class CurveWriter:
    """Writes the checkpoints of a curve while it is trained, as often as is worthwhile.

    Args:
        curve: The curve to write to; None to write nothing.
        trial: The trial that trains it, as `<study>/<trial id>`.
        found: The checkpoint that it resumes from, or None.
        setup: When checkpoints are written, and which are kept.

    Attributes:
        epochs: All epochs of the curve so far.
        began: When the trial's own first epoch began, on `time.perf_counter`; None before.
    """

    def __init__(
        self,
        curve: Curve | None,
        trial: str,
        found: Checkpoint | None,
        setup: CheckpointSetup,
    ) -> None:
        self.epochs: list[TrainedEpoch] = list(found.epochs) if found else []
        self._curve = curve
        self._trial = trial
        self._setup = setup
        self._writing_seconds = self._training_seconds = 0.0
        self._clock = self._written = time.perf_counter()
        self.began: float | None = None

    def begin_epoch(self) -> None:
        """Start the clock of an epoch."""
        self._clock = time.perf_counter()
        if self.began is None:
            self.began = self._clock

    def end_epoch(self, metrics: Metrics) -> None:
        """Take note of an epoch."""
        seconds = time.perf_counter() - self._clock
        self._training_seconds += seconds
        self.epochs.append(TrainedEpoch(metrics, seconds, self._trial))

    def offer(self, is_last: bool, capture: "Callable[[], TrainingState]") -> None:
        """Write a checkpoint of the epoch that has ended, if it is due.

        Args:
            is_last: Whether it is the training's last epoch, which always gets one.
            capture: Copies the training's state.
        """
        if self._curve is None:
            return
        begin = time.perf_counter()
        is_cheap = self._writing_seconds <= MAX_SHARE * self._training_seconds
        if not (is_last or is_cheap or begin - self._written >= self._setup.every_seconds):
            return
        older, ends = self._curve.epochs(), self._setup.ends
        self._curve.save(Checkpoint(self.epochs, capture()))
        # The previous one stays too, in case this one gets damaged.
        for epoch in older[:-1]:
            if ends is not None and epoch < len(self.epochs) and epoch not in ends:
                self._curve.drop(epoch)
        self._written = time.perf_counter()
        self._writing_seconds += self._written - begin
