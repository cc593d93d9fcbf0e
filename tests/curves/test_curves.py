"""Checkpoints as files: written whole or not at all, and damage is detected."""

import dataclasses
import itertools
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.checkpoints import STATE, make, saved
from support.paths import with_support
from tuner.curves import checkpoints
from tuner.curves.checkpoints import (
    Checkpoint,
    Curve,
    CurveWriter,
    DamagedCheckpoint,
    TrainedEpoch,
    curve_of,
    curves_in,
)
from tuner.training import TrainingState
from tuner.trial import CheckpointSetup


def test_decode_returns_what_was_encoded() -> None:
    found = Checkpoint.decode(make(3).encode())
    assert list(found.epochs) == make(3).epochs
    assert found.state.callbacks == list(STATE.callbacks)
    assert found.state.is_stopped is False
    assert list(found.state.arrays) == list(STATE.arrays)
    for name, array in STATE.arrays.items():
        assert found.state.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.state.arrays[name], array)


def test_decode_notices_every_flipped_bit() -> None:
    encoded = make(1).encode()
    for i, bit in itertools.product(range(0, len(encoded), 7), (0, 7)):
        altered = bytearray(encoded)
        altered[i] ^= 1 << bit
        with pytest.raises(DamagedCheckpoint, match="checksum"):
            Checkpoint.decode(bytes(altered))


@pytest.mark.parametrize("length", [0, 10, 32, 100, -1])
def test_decode_notices_what_is_missing(length: int) -> None:
    with pytest.raises(DamagedCheckpoint):
        Checkpoint.decode(make(1).encode()[:length])


def test_find_returns_the_latest_that_is_not_too_late(tmp_path: Path) -> None:
    curve = saved(tmp_path, [2, 4, 8])
    for wanted, expected in ((8, 8), (100, 8), (7, 4), (4, 4), (2, 2)):
        found = curve.find(wanted)
        assert found is not None
        assert len(found.epochs) == expected
    assert curve.find(1) is None


def test_find_without_a_checkpoint_is_none(tmp_path: Path) -> None:
    assert Curve(tmp_path / "nowhere").find(5) is None
    assert Curve(tmp_path / "nowhere").epochs() == []


def test_find_sets_a_damaged_checkpoint_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    curve = saved(tmp_path, [2, 4])
    os.truncate(curve.path(4), 50)
    found = curve.find(4)
    assert found is not None
    assert len(found.epochs) == 2
    assert curve.epochs() == [2]
    assert (curve.folder / "epoch-0004.damaged").exists()
    [warning] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "epoch-0004.checkpoint is damaged" in warning.getMessage()
    assert "trained again" in warning.getMessage()


def test_save_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    # A limit of the process instead of a full disk: the write fails half-way.
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from support.checkpoints import saved\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))\n"
        "try: saved(Path(sys.argv[1]), [1])\n"
        "except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=with_support(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "27\n"
    assert list((tmp_path / "key").iterdir()) == []


def test_drop_removes_a_checkpoint_that_may_be_gone(tmp_path: Path) -> None:
    curve = saved(tmp_path, [2])
    curve.drop(2)
    curve.drop(2)
    assert curve.epochs() == []


def test_curve_of_a_model_that_depends_on_epochs_lies_below_the_key(tmp_path: Path) -> None:
    plain, longer = curve_of(tmp_path / "key", None), curve_of(tmp_path / "key", 8)
    assert plain.folder == tmp_path / "key"
    assert longer.folder == tmp_path / "key" / "epochs-8"
    longer.save(make(8))
    assert plain.epochs() == []
    assert curves_in(tmp_path / "key") == [plain.folder, longer.folder]


class Clock:
    """Time that passes only when a test lets it pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: self.now)


def train(
    curve: Curve,
    clock: Clock,
    *,
    last: int,
    epoch_seconds: float,
    writing_seconds: float,
    setup: CheckpointSetup,
    found: Checkpoint | None = None,
) -> list[int]:
    """Run the epochs of a training, and return those that got a checkpoint."""
    writer = CurveWriter(curve, "a/0001", found, setup)
    written = []

    def capture() -> TrainingState:
        clock.now += writing_seconds
        written.append(len(writer.epochs))
        return STATE

    for epoch in range(len(writer.epochs) + 1, last + 1):
        writer.begin_epoch()
        clock.now += epoch_seconds
        writer.end_epoch({"loss": 1 / epoch})
        writer.offer(epoch == last, capture)
    return written


@pytest.mark.parametrize(
    ("epoch_seconds", "writing_seconds", "every_seconds", "expected"),
    [
        (1.0, 0.01, 1000.0, list(range(1, 11))),
        # A checkpoint costs as much as two epochs, of which it may take a fiftieth.
        (1.0, 2.0, 1000.0, [1, 10]),
        (1.0, 0.05, 1000.0, [1, 3, 5, 8, 10]),
        # Whatever it costs, after some time there is one.
        (1.0, 2.0, 4.0, [1, 5, 9, 10]),
        (1.0, 2.0, 0.0, list(range(1, 11))),
    ],
)
def test_writer_writes_as_often_as_is_worth_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epoch_seconds: float,
    writing_seconds: float,
    every_seconds: float,
    expected: list[int],
) -> None:
    written = train(
        Curve(tmp_path / "key"),
        Clock(monkeypatch),
        last=10,
        epoch_seconds=epoch_seconds,
        writing_seconds=writing_seconds,
        setup=CheckpointSetup(every_seconds),
    )
    assert written == expected


def test_writer_goes_on_from_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = saved(tmp_path, [2])
    clock = Clock(monkeypatch)
    setup = CheckpointSetup(0.0)
    train(
        curve, clock, last=3, epoch_seconds=1.5, writing_seconds=0, setup=setup,
        found=curve.find(3),
    )  # fmt: skip
    found = curve.find(3)
    assert found is not None
    own = TrainedEpoch({"loss": 1 / 3}, 1.5, "a/0001")
    assert list(found.epochs) == [*make(2).epochs, own]


@pytest.mark.parametrize(
    ("ends", "kept"), [(None, [1, 2, 3, 4, 5, 6]), ({2, 6}, [2, 5, 6]), ({6}, [5, 6])]
)
def test_writer_keeps_where_a_trial_can_end_and_the_latest_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: set[int] | None, kept: list[int]
) -> None:
    setup = CheckpointSetup(0.0, None if ends is None else frozenset(ends))
    curve = Curve(tmp_path / "key")
    train(
        curve, Clock(monkeypatch), last=6, epoch_seconds=1.0, writing_seconds=0.0, setup=setup
    )
    assert curve.epochs() == kept


def test_writer_without_a_curve_keeps_the_epochs_alone() -> None:
    writer = CurveWriter(None, "a/0000", None, CheckpointSetup())
    writer.begin_epoch()
    writer.end_epoch({"loss": 0.5})
    writer.offer(True, lambda: pytest.fail("nothing is to be copied"))
    assert [dataclasses.asdict(epoch)["metrics"] for epoch in writer.epochs] == [{"loss": 0.5}]
