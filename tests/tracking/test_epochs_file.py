"""The file with the metrics of all epochs of a study."""

from pathlib import Path

import pytest

from tuner.tracking import epochs_file
from tuner.tracking.epochs_file import Epochs


def test_file_gives_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    epochs_file.append(path, "a", [{"loss": 0.1}, {"loss": 1 / 3, "extra": 2.0}])
    epochs_file.append(path, "b", [{"loss": 0.5}])
    # Trained again, or resumed: the later line counts.
    epochs_file.append(path, "b", [{"loss": 0.5}, {"loss": 0.25}])
    found = epochs_file.read(path.read_bytes())
    assert found == {
        "a": Epochs(("loss", "extra"), [[0.1, None], [1 / 3, 2.0]]),
        "b": Epochs(("loss",), [[0.5], [0.25]]),
    }
    assert found["a"].after(None) == {"loss": 1 / 3, "extra": 2.0}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\0\0\0\n",
        b'{"run_id":"b","metrics":["loss"],"epo',
        b'{"run_id":"b","metrics":["loss"],"epochs":[[1,2]]}\n',
        b'{"run_id":"b"}\n',
        b"[]\n",
    ],
)
def test_damaged_line_is_left_out(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    epochs_file.append(path, "a", [{"loss": 0.1}])
    assert epochs_file.read(path.read_bytes() + damage).keys() == {"a"}
