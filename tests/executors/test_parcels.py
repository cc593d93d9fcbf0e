"""What travels between a driver and workers that share no disk."""

from pathlib import Path

from support.checkpoints import make
from tuner.curves.checkpoints import Curve, curve_of
from tuner.executors.transfer import CheckpointParcel, moved
from tuner.trial import TrialRequest


def request(folder: Path, epochs: int = 6) -> TrialRequest:
    return TrialRequest(
        "0000", {"epochs": epochs}, 0, str(folder), curve_dir=str(folder / "curves" / "key")
    )


def key(folder: Path) -> Path:
    return folder / "curves" / "key"


def test_parcel_for_a_trial_has_what_each_of_its_curves_goes_on_from(tmp_path: Path) -> None:
    for epoch in (2, 4, 8):
        Curve(key(tmp_path)).save(make(epoch))
    curve_of(key(tmp_path), 6).save(make(3))
    parcel = CheckpointParcel.for_trial(request(tmp_path))
    assert set(parcel.contents) == {(".", 4), ("epochs-6", 3)}
    assert set(CheckpointParcel.for_trial(request(tmp_path, 1)).contents) == set()


def test_parcel_brings_the_drivers_curve_up_to_date(tmp_path: Path) -> None:
    driver, worker = tmp_path / "driver", tmp_path / "worker"
    for folder in (driver, worker):
        folder.mkdir()
    Curve(key(driver)).save(make(2))
    asked = request(driver)
    here = moved(asked, worker)
    assert here.curve_dir == str(key(worker))
    assert Path(here.output_dir).is_dir()
    sent_there = CheckpointParcel.for_trial(asked)
    sent_there.unpack(here)
    sent = set(sent_there.contents)
    assert CheckpointParcel.since(here, sent) == CheckpointParcel()

    Curve(key(worker)).save(make(3))
    first = CheckpointParcel.since(here, sent)
    first.unpack(asked)
    assert Curve(key(driver)).epochs() == [2, 3]

    Curve(key(worker)).save(make(4))
    Curve(key(worker)).drop(3)
    CheckpointParcel.since(here, sent).unpack(asked)
    assert Curve(key(driver)).epochs() == [2, 4]
    found = Curve(key(driver)).find(9)
    assert found is not None
    assert list(found.epochs) == make(4).epochs


def test_parcel_of_a_trial_without_a_curve_is_empty(tmp_path: Path) -> None:
    alone = TrialRequest("0000", {"epochs": 2}, 0, str(tmp_path))
    assert CheckpointParcel.for_trial(alone) == CheckpointParcel()
    assert moved(alone, tmp_path / "").curve_dir is None
    CheckpointParcel().unpack(alone)
