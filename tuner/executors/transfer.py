"""Files that travel between a driver and workers that share no disk."""

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tuner.curves.checkpoints import Curve, curves_in
from tuner.outcomes import Outcome, TrialFiles, TrialResult
from tuner.runtime import files
from tuner.trial import TrialRequest


def moved(request: TrialRequest, folder: Path) -> TrialRequest:
    """Return the request with its folders moved below another folder, where it will run."""
    output_dir = folder / "output"
    output_dir.mkdir()
    curve_dir = request.curve_dir and str(folder / "curves" / Path(request.curve_dir).name)
    return dataclasses.replace(request, output_dir=str(output_dir), curve_dir=curve_dir)


@dataclass(frozen=True)
class FileParcel:
    """The files of a trial's folder.

    Attributes:
        folder: The folder they were in.
        contents: Their bytes, by their paths in the folder.
    """

    folder: str = ""
    contents: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def packed(cls, folder: Path) -> "FileParcel":
        """Pack all files of a folder."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls(
            str(folder), {str(path.relative_to(folder)): path.read_bytes() for path in paths}
        )

    def unpack(self, outcome: Outcome, folder: Path) -> Outcome:
        """Write the files to a folder, and return the outcome with their paths there."""
        for name, content in self.contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_scratch(path, content)
        if not isinstance(outcome, TrialResult):
            return outcome

        def here(path: str) -> str:
            return str(folder / Path(path).relative_to(self.folder))

        unpacked = TrialFiles(
            tuple(map(here, outcome.files.artifacts)), here(outcome.files.model_dir)
        )
        return dataclasses.replace(outcome, files=unpacked)


_Name = tuple[str, int]
"""Where a curve lies below the folder of its key, and an epoch."""


@dataclass(frozen=True)
class CheckpointParcel:
    """Checkpoints of a trial's curve.

    Attributes:
        contents: Bytes of the checkpoints.
        dropped: Checkpoints that are no longer kept.
    """

    contents: Mapping[_Name, bytes] = field(default_factory=dict)
    dropped: frozenset[_Name] = frozenset()

    @classmethod
    def for_trial(cls, request: TrialRequest) -> "CheckpointParcel":
        """Pack the checkpoint to resume from, for each curve that may be the trial's."""
        latest: dict[_Name, bytes] = {}
        for name, path in _checkpoints(request).items():
            if name[1] <= request.epochs:
                latest = {other: c for other, c in latest.items() if other[0] != name[0]}
                latest[name] = path.read_bytes()
        return cls(latest)

    @classmethod
    def since(cls, request: TrialRequest, sent: set[_Name]) -> "CheckpointParcel":
        """Pack the changes since the last call.

        Args:
            request: The trial that runs here.
            sent: Checkpoints that existed at the last call; updated.
        """
        found = _checkpoints(request)
        contents = {}
        for name in found.keys() - sent:
            # The trial may be removing the checkpoint at the same time.
            with contextlib.suppress(FileNotFoundError):
                contents[name] = found[name].read_bytes()
        dropped = frozenset(sent - found.keys())
        sent.difference_update(dropped)
        sent.update(contents)
        return cls(contents, dropped)

    def unpack(self, request: TrialRequest) -> None:
        """Update the trial's curve in the folders of the request."""
        if request.curve_dir is None:
            return
        for (curve, epoch), content in self.contents.items():
            Curve(Path(request.curve_dir, curve)).put(epoch, content)
        for curve, epoch in self.dropped:
            Curve(Path(request.curve_dir, curve)).drop(epoch)


def _checkpoints(request: TrialRequest) -> dict[_Name, Path]:
    """Return the files of all checkpoints of the trial's curve, earlier ones first."""
    if request.curve_dir is None:
        return {}
    folder = Path(request.curve_dir)
    return {
        (str(path.relative_to(folder)), epoch): Curve(path).path(epoch)
        for path in curves_in(folder)
        for epoch in Curve(path).epochs()
    }
