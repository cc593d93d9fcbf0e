"""Which curves a study has, which it keeps, and what it takes from other studies."""

from pathlib import Path
from typing import Any

import pytest

from support.checkpoints import make
from tuner.config.schema import CurvesConfig
from tuner.curves.checkpoints import Curve, curve_of
from tuner.curves.store import NUM_BEST, CurveStore
from tuner.trial import Objective

OBJECTIVE = Objective("val_accuracy", "max")


def store(
    folder: Path, *, common: Any = "here", others: tuple[Path, ...] = (), **config: Any
) -> CurveStore:
    return CurveStore(
        folder / "curves", {"data": common}, CurvesConfig(**config), OBJECTIVE, others
    )


def values(epochs: int = 2, **others: Any) -> dict[str, Any]:
    return {"epochs": epochs, "units_1": 8, **others}


def run(made: CurveStore, trial_id: str, score: float | None, **others: Any) -> Path:
    """Run a trial that leaves a checkpoint."""
    given = values(**others)
    folder = made.begin(trial_id, given)
    Curve(folder).save(make(given["epochs"]))
    if score is not None:
        made.note_score(trial_id, given, score)
    made.end(trial_id)
    return folder


def test_curves_are_told_apart_by_all_but_the_epochs(tmp_path: Path) -> None:
    made = store(tmp_path)
    first = made.begin("0000", values(epochs=2))
    assert made.begin("0001", values(epochs=9)) == first
    assert made.begin("0002", values(units_1=9)) != first
    assert store(tmp_path).begin("0000", values()) == first
    assert store(tmp_path, common="elsewhere").begin("0000", values()).name != first.name
    assert first.parent == (tmp_path / "curves").resolve()
    assert len(first.name) == 32


def test_without_reuse_each_trial_has_a_curve_of_its_own(tmp_path: Path) -> None:
    made = store(tmp_path, reuse=False)
    assert made.begin("0000", values(2)) != made.begin("0001", values(4))
    assert made.begin("0000", values(2)) == store(tmp_path, reuse=False).begin(
        "0000", values(2)
    )


@pytest.mark.parametrize("keep", ["all", "best", "none"])
def test_finish_keeps_what_is_asked_for(tmp_path: Path, keep: str) -> None:
    made = store(tmp_path, keep=keep)
    num_curves = NUM_BEST + 3
    folders = {
        score: run(made, str(score), score / 100, units_1=score) for score in range(num_curves)
    }
    failed = run(made, "failed", None, units_1=1000)
    made.finish()
    kept = {score for score, folder in folders.items() if folder.exists()}
    expected = {"all": range(num_curves), "best": range(3, num_curves), "none": ()}[keep]
    assert kept == set(expected)
    assert failed.exists() == (keep == "all")
    assert (tmp_path / "curves").exists() == (keep != "none")


def test_a_curve_is_as_good_as_its_best_trial(tmp_path: Path) -> None:
    # Room for two checkpoints on one curve, one on another, and half a one.
    made = store(tmp_path, max_mb=3.5 * len(make(4).encode()) / 1e6)
    good = run(made, "0000", 0.9, epochs=2)
    run(made, "0001", 0.1, epochs=4)
    worse = run(made, "0002", 0.5, epochs=4, units_1=16)
    assert good.exists()
    assert worse.exists()
    worst = run(made, "0003", 0.4, epochs=4, units_1=32)
    assert (good.exists(), worse.exists(), worst.exists()) == (True, True, False)


def test_curves_in_training_are_never_removed(tmp_path: Path) -> None:
    made = store(tmp_path, max_mb=0)
    in_flight = made.begin("0000", values())
    Curve(in_flight).save(make(1))
    ended = run(made, "0001", 0.9, units_1=16)
    assert in_flight.exists()
    assert not ended.exists()
    made.end("0000")
    assert not in_flight.exists()


def test_room_is_counted_over_what_an_earlier_process_left(tmp_path: Path) -> None:
    run(store(tmp_path), "0000", 0.9)
    curve_of(run(store(tmp_path), "0001", 0.9, units_1=16), 8).save(make(8))
    made = store(tmp_path, max_mb=0)
    left = run(made, "0002", 0.9, units_1=32)
    assert not left.exists()
    assert list((tmp_path / "curves").iterdir()) == []


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    folder = run(store(tmp_path), "0000", 0.9)
    part = folder / "epoch-0003.123.part"
    part.write_bytes(b"half")
    store(tmp_path)
    assert not part.exists()
    assert Curve(folder).epochs() == [2]


def test_begin_takes_the_latest_fitting_checkpoint_of_another_study(tmp_path: Path) -> None:
    theirs = store(tmp_path / "theirs")
    for epochs in (2, 4, 8):
        run(theirs, str(epochs), 0.5, epochs=epochs)
    others = (tmp_path / "theirs" / "curves",)
    made = store(tmp_path / "ours", others=others)
    folder = made.begin("0000", values(epochs=6))
    assert Curve(folder).epochs() == [4]
    # A curve that has more epochs already needs nothing.
    Curve(folder).save(make(6))
    made.begin("0001", values(epochs=6))
    assert Curve(folder).epochs() == [4, 6]
    elsewhere = store(tmp_path / "third", common="elsewhere", others=others)
    assert Curve(elsewhere.begin("0000", values(epochs=6))).epochs() == []


def test_begin_takes_nothing_from_a_study_that_shares_nothing(tmp_path: Path) -> None:
    run(store(tmp_path / "theirs", reuse=False), "0000", 0.5)
    made = store(tmp_path / "ours", others=(tmp_path / "theirs" / "curves",))
    assert Curve(made.begin("0000", values())).epochs() == []
