"""A study's folder: made whole, refused when it differs, held by one process."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from support.configs import loaded
from support.paths import with_support
from tuner.driver import study_folder
from tuner.errors import FolderGone, StudyError
from tuner.runtime import files


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_hold_makes_a_folder_with_its_settings() -> None:
    with study_folder.hold("first", loaded("seed=3"), ["seed=3"]) as held:
        assert held.path == Path("experiments/first")
        assert "seed: 3" in (held.path / "config.yaml").read_text()
        assert (held.path / "overrides.yaml").read_text() == "- seed=3\n"
        assert held.state.finished is None
        assert len(held.state.study_id) == 32


def test_find_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    assert study_folder.find("first", loaded()) is None
    assert list(tmp_path.iterdir()) == []


def test_find_returns_the_state_that_was_saved() -> None:
    with study_folder.hold("first", loaded(), []) as held:
        held.state.seconds = 12.5
        held.state.finished = ["Best of 3 trials"]
        held.save_state()
    found = study_folder.find("first", loaded())
    assert found is not None
    assert (found.state.seconds, found.state.finished) == (12.5, ["Best of 3 trials"])
    assert found.state.study_id == held.state.study_id


def test_other_settings_are_refused_with_the_difference() -> None:
    with study_folder.hold("first", loaded("seed=3"), []):
        pass
    with pytest.raises(StudyError) as caught:
        study_folder.find("first", loaded("seed=4", "space.epochs=[2,4]"))
    assert "seed: was 3, now 4" in str(caught.value)
    assert "space.epochs: was {'min': 2, 'max': 10}, now [2, 4]" in str(caught.value)
    assert "overwrite=true" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"), [("frist", " Did you mean study=first?"), ("other", "")]
)
def test_extend_needs_a_study_to_extend(name: str, hint: str) -> None:
    extending = loaded("extend=true", f"study={name}")
    with study_folder.hold("first", loaded("study=first"), []):
        pass
    message = (
        f"`extend=true` extends an earlier study, but there is no study={name} in "
        f"experiments/.{hint} To begin a new one, leave extend out."
    )
    with pytest.raises(StudyError) as caught:
        study_folder.find(name, extending)
    assert str(caught.value) == message
    with pytest.raises(StudyError), study_folder.hold(name, extending, []):
        pass
    assert [path.name for path in Path("experiments").iterdir()] == ["first"]
    # Whoever repeats the command of an extension resumes it.
    assert study_folder.find("first", loaded("extend=true", "study=first")) is not None


def test_overwrite_begins_afresh() -> None:
    with study_folder.hold("first", loaded("seed=3"), []) as old:
        old.journal.write_text("{}\n")
    with study_folder.hold("first", loaded("seed=4", "overwrite=true"), []) as new:
        assert not new.journal.exists()
        assert new.state.study_id != old.state.study_id
    assert study_folder.find("first", loaded("seed=4")) is not None


def test_folder_that_is_no_study_is_left_alone() -> None:
    path = Path("experiments/first")
    path.mkdir(parents=True)
    (path / "thesis.tex").write_text("years of work")
    with pytest.raises(StudyError, match="exists but is not a study's folder"):
        study_folder.find("first", loaded())
    with (
        pytest.raises(StudyError, match="exists but is not a study's folder"),
        study_folder.hold("first", loaded("overwrite=true"), []),
    ):
        pass
    assert (path / "thesis.tex").read_text() == "years of work"


def test_half_made_folder_is_made_again() -> None:
    path = Path("experiments/first")
    path.mkdir(parents=True)
    (path / "lock").touch()
    with study_folder.hold("first", loaded(), []) as held:
        assert (held.path / "study.json").exists()


HOLD = """
from support.configs import loaded
from tuner.driver import study_folder as folder
with folder.hold("first", loaded(), []):
    print("held", flush=True)
    input()
"""


def test_held_study_is_refused_until_its_process_ends() -> None:
    environment = with_support()
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
            study_folder.hold("first", loaded(), []),
        ):
            pass
        # The lock is released with the process, however it ends.
        holder.kill()
        holder.wait()
        with study_folder.hold("first", loaded(), []) as mine:
            assert json.loads((mine.path / "lock").read_text())["pid"] == os.getpid()


def test_study_is_held_on_a_file_system_without_flock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for overrides in ([], [], ["seed=1", "overwrite=true"]):
        with study_folder.hold("first", loaded(*overrides), []) as held:
            assert (held.path / "study.json").exists()
            with (
                pytest.raises(StudyError, match=rf"another process: pid {os.getpid()} on"),
                study_folder.hold("first", loaded(*overrides), []),
            ):
                pass


def test_trial_dir_is_empty_each_time() -> None:
    with study_folder.hold("first", loaded(), []) as held:
        path = held.trial_dir("0000")
        assert path.is_absolute()
        (path / "half.png").touch()
        assert list(held.trial_dir("0000").iterdir()) == []
        held.drop_trial_dir("0000")
        assert not path.exists()


def test_make_name_differs_from_what_is_there() -> None:
    name = study_folder.make_name(loaded())
    assert name.startswith("digits-random-")
    (study_folder.EXPERIMENTS_DIR / name).mkdir(parents=True)
    assert study_folder.make_name(loaded()) != name


@pytest.mark.parametrize("number", range(1, 4))
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, None])
def test_study_broken_off_while_it_is_made_is_made_by_the_same_command(
    monkeypatch: pytest.MonkeyPatch, number: int, error: int | None
) -> None:
    replace, count = os.replace, 0

    def refuse(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count < number:
            return replace(source, target)
        if error is None:
            # A kill leaves the other file, too.
            shutil.copy(source, source.with_name(f".{target.name}.left.part"))
            raise KeyboardInterrupt
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with (
            pytest.raises((OSError, KeyboardInterrupt)),
            study_folder.hold("first", loaded(), ["seed=0"]),
        ):
            pass
    with study_folder.hold("first", loaded(), ["seed=0"]) as held:
        names = {path.name for path in held.path.iterdir()}
    assert names == {"config.yaml", "overrides.yaml", "study.json", "lock"}


def _make(path: Path, *names: str) -> None:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()


@pytest.mark.parametrize(
    ("names", "is_half_made"),
    [
        ((), True),
        (("lock",), True),
        (("lock", "config.yaml"), True),
        (("lock", "config.yaml", "overrides.yaml"), True),
        (("lock", "config.yaml", ".overrides.yaml.x1.part"), True),
        # After a power cut, of a version that synced no folders.
        (("lock", "config.yaml", "overrides.yaml", "study.json"), True),
        # Files that processes write there while somebody removes the folder.
        (("trials/0003/MLmodel", "lock"), True),
        (("curves/ab/epoch-0001.checkpoint", "tune.log"), True),
        (("curves/ab/epochs-3/.epoch-0001.checkpoint.x.part",), True),
        (("images/train_images.npy",), True),
        # Somebody else's.
        (("config.yaml",), False),
        (("config.yaml", "overrides.yaml"), False),
        (("lock", "config.yaml", "thesis.tex"), False),
        (
            (
                "lock",
                "trials/notes/x",
            ),
            False,
        ),
        (("curves/bezier.svg",), False),
        (("images/cat.png", "lock"), False),
        (("report.html", "lock"), False),
        # A journal without the study's id: its content is worth keeping.
        (("lock", "config.yaml", "oracle.jsonl"), False),
        (("lock", "config.yaml", "study.json", "oracle.jsonl"), False),
    ],
)
def test_only_what_is_half_made_is_made_anew(
    names: tuple[str, ...], is_half_made: bool
) -> None:
    path = Path("experiments/first")
    path.mkdir(parents=True)
    _make(path, *names)
    before = sorted(path.rglob("*"))
    if is_half_made:
        with study_folder.hold("first", loaded(), []) as held:
            assert sorted(p.name for p in held.path.iterdir()) == [
                "config.yaml", "lock", "overrides.yaml", "study.json",
            ]  # fmt: skip
        return
    with pytest.raises(StudyError), study_folder.hold("first", loaded(), []):
        pass
    assert sorted(path.rglob("*")) == before


@pytest.mark.parametrize(
    "content",
    ["", "{", "\0" * 40, "[]", "null", '"x"', '{"study_id": 5}', '{"other": 1}',
     '{"seconds": "x"}', "\udcff"],
)  # fmt: skip
def test_damaged_state_is_one_message(content: str) -> None:
    with study_folder.hold("first", loaded(), []) as held:
        held.journal.write_text("{}\n")
    path = held.path / "study.json"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(StudyError, match=r"study\.json is damaged.*overwrite=true") as caught:
        study_folder.find("first", loaded())
    assert "\n" not in str(caught.value)
    with study_folder.hold("first", loaded("overwrite=true"), []) as fresh:
        assert not fresh.journal.exists()


@pytest.mark.parametrize("name", ["config.yaml", "overrides.yaml"])
@pytest.mark.parametrize("harm", [Path.unlink, lambda p: os.truncate(p, 0),
                                  lambda p: p.write_bytes(bytes(50))])  # fmt: skip
def test_settings_that_are_missing_or_empty_are_written_again(
    name: str, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    with study_folder.hold("first", loaded("seed=3"), ["seed=3"]) as old:
        before = (old.path / name).read_text()
    harm(old.path / name)
    with study_folder.hold("first", loaded("seed=3"), ["seed=3"]) as held:
        assert (held.path / name).read_text() == before
        assert held.state.study_id == old.state.study_id
    assert name in caplog.text


@pytest.mark.parametrize("content", ["a: [", "${", "- 1\n", "x", "a: ${b.c}\n", "\ttab: 1"])
def test_damaged_settings_are_one_message(content: str) -> None:
    with study_folder.hold("first", loaded(), []) as held:
        pass
    (held.path / "config.yaml").write_text(content)
    with pytest.raises(StudyError, match=r"config\.yaml|other settings"):
        study_folder.find("first", loaded())


@pytest.mark.parametrize("place", ["experiments", "experiments/first"])
def test_file_in_the_place_of_a_folder_is_named(place: str) -> None:
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).write_text("x")
    with pytest.raises(StudyError, match=f"{place} must be a folder"):
        study_folder.find("first", loaded())
    with pytest.raises(StudyError), study_folder.hold("first", loaded(), []):
        pass


@pytest.mark.parametrize("gone", ["experiments/first", "experiments", "."])
@pytest.mark.parametrize("replaced", [False, True])
def test_folder_that_is_removed_is_not_written_on(
    gone: str, replaced: bool, tmp_path: Path
) -> None:
    with study_folder.hold("first", loaded(), []) as held:
        target = tmp_path / gone
        shutil.rmtree(target)
        if replaced:
            # By the same command, given again while this one runs.
            held.path.mkdir(parents=True) if gone != "." else tmp_path.mkdir()
            if gone != ".":
                (held.path / "lock").touch()
        before = sorted(tmp_path.rglob("*"))
        for write in (held.save_state, lambda: held.trial_dir("0000"), held.check_held):
            with pytest.raises(FolderGone, match=r"experiments/first was removed or replaced"):
                write()
        assert sorted(tmp_path.rglob("*")) == before
    if gone != ".":
        with study_folder.hold("first", loaded(), []) as again:
            assert again.state.finished is None


def test_lock_that_was_torn_still_names_the_study() -> None:
    with study_folder.hold("first", loaded(), []) as held:
        (held.path / "lock").write_bytes(bytes(20))
        with (
            pytest.raises(StudyError, match=r"study=first is being run by another process"),
            study_folder.hold("first", loaded(), []),
        ):
            pass


def test_making_a_study_syncs_each_file_and_its_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    sync = files.sync

    def record(paths: Iterable[Path]) -> None:
        several = list(paths)
        done.extend(path.name for path in several)
        sync(several)

    monkeypatch.setattr(files, "sync", record)
    with study_folder.hold("first", loaded(), []):
        pass
    # The folders first, by what holds them; then each file, and the folder that names it.
    assert sorted(done[:2]) == ["", "experiments"]
    names = [name.split(".")[1] if name.startswith(".") else name for name in done[2:]]
    assert names == ["config", "first", "overrides", "first", "study", "first"]
