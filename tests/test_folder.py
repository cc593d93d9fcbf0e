"""A study's folder: made whole, refused when it differs, held by one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tuner import folder
from tuner.cli import CONF_DIR
from tuner.config import load
from tuner.errors import StudyError
from tuner.schema import StudyConfig


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(*overrides: str) -> StudyConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return load(compose("config", list(overrides)))


def test_hold_makes_a_folder_with_its_settings() -> None:
    with folder.hold("first", config("seed=3"), ["seed=3"]) as held:
        assert held.path == Path("experiments/first")
        assert "seed: 3" in (held.path / "config.yaml").read_text()
        assert (held.path / "overrides.yaml").read_text() == "- seed=3\n"
        assert held.state.finished is None
        assert len(held.state.study_id) == 32


def test_find_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    assert folder.find("first", config()) is None
    assert list(tmp_path.iterdir()) == []


def test_find_returns_the_state_that_was_saved() -> None:
    with folder.hold("first", config(), []) as held:
        held.state.seconds = 12.5
        held.state.finished = ["Best of 3 trials"]
        held.save_state()
    found = folder.find("first", config())
    assert found is not None
    assert (found.state.seconds, found.state.finished) == (12.5, ["Best of 3 trials"])
    assert found.state.study_id == held.state.study_id


def test_other_settings_are_refused_with_the_difference() -> None:
    with folder.hold("first", config("seed=3"), []):
        pass
    with pytest.raises(StudyError) as caught:
        folder.find("first", config("seed=4", "space.epochs=[2,4]"))
    assert "seed: was 3, now 4" in str(caught.value)
    assert "space.epochs: was {'min': 2, 'max': 10}, now [2, 4]" in str(caught.value)
    assert "overwrite=true" in str(caught.value)


def test_overwrite_begins_afresh() -> None:
    with folder.hold("first", config("seed=3"), []) as old:
        old.journal.write_text("{}\n")
    with folder.hold("first", config("seed=4", "overwrite=true"), []) as new:
        assert not new.journal.exists()
        assert new.state.study_id != old.state.study_id
    assert folder.find("first", config("seed=4")) is not None


def test_folder_that_was_removed_while_its_study_ran_is_told_of() -> None:
    with folder.hold("first", config(), []) as held:
        (held.path / "config.yaml").unlink()
        held.save_state()
    with pytest.raises(StudyError, match=r"config\.yaml is missing.*overwrite=true"):
        folder.find("first", config())
    with folder.hold("first", config("overwrite=true"), []):
        pass
    assert folder.find("first", config()) is not None


def test_folder_that_is_no_study_is_left_alone() -> None:
    path = Path("experiments/first")
    path.mkdir(parents=True)
    (path / "thesis.tex").write_text("years of work")
    with pytest.raises(StudyError, match="exists but is no study's folder"):
        folder.find("first", config())
    with (
        pytest.raises(StudyError, match="exists but is no study's folder"),
        folder.hold("first", config("overwrite=true"), []),
    ):
        pass
    assert (path / "thesis.tex").read_text() == "years of work"


def test_half_made_folder_is_made_again() -> None:
    path = Path("experiments/first")
    path.mkdir(parents=True)
    (path / "lock").touch()
    with folder.hold("first", config(), []) as held:
        assert (held.path / "study.json").exists()


HOLD = """
from test_folder import config
from tuner import folder
with folder.hold("first", config(), []):
    print("held", flush=True)
    input()
"""


def test_held_study_is_refused_until_its_process_ends() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(StudyError, match=rf"another process: pid {holder.pid} on .*, since"),
            folder.hold("first", config(), []),
        ):
            pass
        # The lock goes with the process, however it ends.
        holder.kill()
        holder.wait()
        with folder.hold("first", config(), []) as mine:
            assert json.loads((mine.path / "lock").read_text())["pid"] == os.getpid()


def test_trial_dir_is_empty_each_time() -> None:
    with folder.hold("first", config(), []) as held:
        path = held.trial_dir("0000")
        assert path.is_absolute()
        (path / "half.png").touch()
        assert list(held.trial_dir("0000").iterdir()) == []
        held.drop_trial_dir("0000")
        assert not path.exists()


def test_make_name_differs_from_what_is_there() -> None:
    name = folder.make_name(config())
    assert name.startswith("digits-random-")
    (folder.EXPERIMENTS_DIR / name).mkdir(parents=True)
    assert folder.make_name(config()) != name
