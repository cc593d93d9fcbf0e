"""Files are written whole, synced with their folders, and only by `tuner.runtime.files`."""

import ast
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuner.runtime import files

PACKAGE = Path(files.__file__).parents[1]

EXEMPT = {
    ("runtime/logs.py", "open"): "the log: nothing is read from it that must be there",
    ("runtime/forkserver.py", "os.open"): "the log, as the standard streams of a child",
    ("runtime/locks.py", "os.open"): "a lock: worth something only while its process runs",
    ("runtime/locks.py", "link"): "the same",
    ("cli/application.py", "os.open"): "the null device, in the place of a reader that is gone",
    ("runtime/streams.py", "os.open"): "the same, in the place of a closed stream",
    ("datasets/image_cache.py", "open_memmap"): "mapped while filled, then synced and renamed",
    ("datasets/image_cache.py", "open"): "takes the room of that file",
    ("worker/packaging.py", "save_model"): "in the trial's own folder, from which it is copied",
}
"""Calls outside `tuner.runtime.files` that may write: each with its reason."""

WRITERS = {
    "write_text", "write_bytes", "rename", "renames", "hardlink_to", "symlink_to", "savefig",
    "save", "savez", "savez_compressed", "savetxt", "tofile", "to_csv", "to_json", "save_model",
    "write_html", "touch", "copyfile", "copytree", "mkstemp", "truncate", "open_memmap",
    "NamedTemporaryFile",
}  # fmt: skip
"""Methods and functions that write to the file they are given, or change its name."""

IN_MEMORY = {
    ("figures/drawing.py", "save"),
    ("curves/checkpoints.py", "savez"),
    ("driver/given.py", "savez"),
    ("executors/processes.py", "save"),
    ("server/draw.py", "save"),
}
"""Calls of these names that are given an open file, or a stream in memory."""

OURS = ("files.", "packaging.save", "self._curve.save")
"""What calls of our own begin with that are named like these."""


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _opens_for_writing(call: ast.Call) -> bool:
    name = _name(call)
    if name == "os.open":
        return any(flag in ast.unparse(call) for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    if name.split(".")[-1] not in ("open", "fdopen"):
        return False
    # The mode: second of `open`, first of `Path.open`.
    places = call.args[1:] if name in ("open", "os.fdopen", "io.open") else call.args[:1]
    given = [*places, *(k.value for k in call.keywords if k.arg == "mode")]
    modes = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return any(
        mode and set(mode) & set("wax+") and set(mode) <= set("rwabxt+U") for mode in modes
    )


def _writes(call: ast.Call) -> str | None:
    """Return the name of a call that writes a file, or None."""
    if _opens_for_writing(call):
        return "os.open" if _name(call) == "os.open" else "open"
    last = _name(call).split(".")[-1]
    if last == "replace" and isinstance(call.func, ast.Attribute):
        # `str.replace` and `dataclasses.replace` take two arguments, `Path.replace` one.
        is_path = len(call.args) == 1 and not call.keywords
        return "replace" if is_path or _name(call) == "os.replace" else None
    if last in ("move", "link", "symlink") and _name(call).split(".")[0] in ("os", "shutil"):
        return last
    return last if last in WRITERS else None


def found_in(source: str) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    written = [(what, _name(call)) for call in calls if (what := _writes(call)) is not None]
    return [what for what, name in written if not name.startswith(OURS) and name != "save"]


def test_only_one_module_writes() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), what)
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "runtime" / "files.py"
        for what in found_in(path.read_text(encoding="utf-8"))
    }
    assert found - EXEMPT.keys() - IN_MEMORY == set(), "write through tuner.runtime.files"


@pytest.mark.parametrize(
    "code",
    [
        'open("x", "w")',
        'open("x", mode="ab")',
        'Path("x").open("x", encoding="utf-8")',
        'path.open("r+b")',
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
        'os.fdopen(descriptor, "wb")',
        'path.write_text("x")',
        'path.write_bytes(b"x")',
        "os.replace(a, b)",
        "os.rename(a, b)",
        "a.replace(b)",
        "a.rename(b)",
        "shutil.move(a, b)",
        "shutil.copyfile(a, b)",
        "os.link(a, b)",
        "figure.savefig(path)",
        "np.save(path, array)",
        "np.savez(path, array)",
        "np.lib.format.open_memmap(path, 'w+')",
    ],
)
def test_what_writes_is_found(code: str) -> None:
    assert len(found_in(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        'open("x")',
        'path.open("rb")',
        'text.replace("a", "b")',
        "dataclasses.replace(config, seed=1)",
        'files.write(path, "x")',
        "files.rename(a, b)",
        "os.open(path, os.O_RDONLY)",
    ],
)
def test_what_does_not_write_is_not_found(code: str) -> None:
    assert found_in(code) == []


class Recorder:
    """Records what is done to the files below a folder, in order."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[str, str]] = []
        fsync, replace = os.fsync, os.replace

        def relative(path: str | Path) -> str:
            return os.path.relpath(path, folder)

        def record_fsync(descriptor: int) -> None:
            fsync(descriptor)
            self.done.append(("sync", relative(os.readlink(f"/proc/self/fd/{descriptor}"))))

        def record_replace(source: Any, target: Any) -> None:
            replace(source, target)
            self.done.append(("name", relative(target)))

        monkeypatch.setattr(os, "fsync", record_fsync)
        monkeypatch.setattr(os, "replace", record_replace)


def test_write_syncs_content_then_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    files.write(tmp_path / "study.json", "{}")
    (first, part), *rest = recorder.done
    assert (first, part.endswith(".part")) == ("sync", True)
    assert rest == [("name", "study.json"), ("sync", ".")]


def test_append_syncs_the_folder_of_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    files.append(tmp_path / "oracle.jsonl", "1\n")
    files.append(tmp_path / "oracle.jsonl", "2\n")
    assert recorder.done == [("sync", "oracle.jsonl"), ("sync", "."), ("sync", "oracle.jsonl")]
    assert (tmp_path / "oracle.jsonl").read_text() == "1\n2\n"


def test_make_folder_syncs_what_holds_each_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    files.make_folder(tmp_path / "experiments" / "first")
    files.make_folder(tmp_path / "experiments" / "first")
    assert {what for what, _ in recorder.done} == {"sync"}
    assert sorted(path for _, path in recorder.done) == [".", "experiments"]


def test_sync_trees_syncs_files_before_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1/a/x.png", "1/models/m/MLmodel", "1/models/m/data/model.keras"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    recorder = Recorder(tmp_path, monkeypatch)
    trees = [tmp_path / "1" / "a", tmp_path / "1" / "models" / "m", tmp_path / "1" / "gone"]
    files.sync_trees(trees, tmp_path / "1")
    synced = [path for _, path in recorder.done]
    assert set(synced[:3]) == {"1/a/x.png", "1/models/m/MLmodel", "1/models/m/data/model.keras"}
    assert set(synced[3:]) == {"1/a", "1/models/m/data", "1/models/m", "1/models", "1"}
    assert len(synced) == 8


def test_replacing_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("before")

    def fail() -> None:
        with files.replacing(path) as part:
            part.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert path.read_text() == "before"


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    path = tmp_path / "x.json"
    path.write_text("before")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, step, refuse)
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            files.write(path, "after")
    assert caught.value.errno == number
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert path.read_text() == "before"


def test_write_where_the_folder_goes_away_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "gone" / "x.json", "{}")


def _interrupted(name: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let two signals interrupt a call before it completes."""
    original: Callable[..., Any] = getattr(os, name)
    tries: list[int] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        tries.append(1)
        if len(tries) <= 2:
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
        return original(*args, **kwargs)

    monkeypatch.setattr(os, name, call)
    return tries


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("replace", lambda folder: files.write(folder / "made", "x")),
        ("replace", lambda folder: files.rename(folder / "there", folder / "made")),
        ("link", lambda folder: files.link(folder / "there", folder / "made")),
        ("mkdir", lambda folder: files.make_folder(folder / "made")),
    ],
)
def test_call_that_a_signal_breaks_off_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[Path], None]
) -> None:
    (tmp_path / "there").write_text("x")
    tries = _interrupted(name, monkeypatch)
    act(tmp_path)
    assert len(tries) == 3
    assert (tmp_path / "made").exists()


def test_cut_drops_what_is_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "oracle.jsonl"
    path.write_text("whole\nto")
    tries = _interrupted("truncate", monkeypatch)
    files.cut(path, 6)
    assert (path.read_text(), len(tries)) == ("whole\n", 3)


def test_link_leaves_what_another_process_has_made(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "db").write_text("theirs")
    files.link(tmp_path / "mine", tmp_path / "db")
    assert (tmp_path / "db").read_text() == "theirs"


def test_write_gives_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "x", b"\0")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_folder_that_cannot_be_synced_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    files.write(tmp_path / "x", "x")
    assert (tmp_path / "x").read_text() == "x"
