"""Every command: what a user types, which message answers it, and the exit status."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
import requests
import sqlalchemy
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from support.commands import command
from tuner import passwords
from tuner.cli import application
from tuner.config import printed_commands
from tuner.config.schema import PredictConfig, StudyConfig
from tuner.errors import ConfigError, NoRoom, SearchFailed

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Run a command in this process, as `python -m` would, and return its exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    passwords.forget()
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    hook = sys.unraisablehook

    def run(task: Callable[[DictConfig], None], *arguments: str, name: str = "config") -> int:
        monkeypatch.setattr(sys, "argv", ["search.py", *arguments])
        schema = StudyConfig if name == "config" else PredictConfig
        with pytest.raises(SystemExit) as ended:
            application.run(task, name, schema)
        return int(str(ended.value.code))

    yield run
    sys.unraisablehook = hook
    GlobalHydra.instance().clear()
    for number, handler in handlers.items():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, handler)


def raising(error: BaseException) -> Callable[[DictConfig], None]:
    def task(composed: DictConfig) -> None:
        raise error

    return task


class Odd(Exception):
    """An exception that is in no table."""


# What fails, the exit status, and words of the message: what happened and what to do.
FAULTS: list[tuple[BaseException, int, tuple[str, ...]]] = [
    (ConfigError("`seed` must be 1."), 2, ("`seed` must be 1.",)),
    (SearchFailed("No trial succeeded."), 1, ("No trial succeeded.",)),
    (NoRoom("no space"), 1, ("no space", "Make room")),
    (OSError(errno.ENOSPC, "No space left on device", "x"), 1, ("Make room",)),
    (OSError(errno.EIO, "Input/output error", "x"), 1, ("Make room",)),
    *(
        (OSError(number, os.strerror(number), "a\x1b[31m.png"), 1, ("a\\x1b[31m.png",
        "Check that"))
        for number in (
            errno.ENOENT, errno.EACCES, errno.ELOOP, errno.ENOSYS, errno.EINTR,
            errno.ENAMETOOLONG,
            errno.EMFILE, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ESTALE,
            errno.EPERM,
            errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EINVAL, errno.ENOLCK,
        )
    ),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ("Broken pipe",)),
    (OSError("AF_UNIX path too long"), 1, ("AF_UNIX path too long",)),
    (MemoryError(), 1, ("MemoryError", "ulimit -v")),
    (MemoryError("Unable to allocate 3 PiB"), 1, ("3 PiB", "ulimit -v")),
    (RecursionError("maximum recursion depth exceeded"), 1, ("maximum recursion", "Flatten")),
    (UnicodeEncodeError("utf-8", "gr\udcfcn", 2, 3, "surrogates not allowed"), 1,
    ("PYTHONUTF8",)),
    (UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "invalid start byte"), 1, ("Rename",)),
    (ImportError("libx.so: failed to map segment"), 1, ("failed to map segment",
    "ulimit -v")),
    (mlflow.MlflowException("Invalid alias name"), 1, ("Invalid alias name",
    "MLflow refused")),
    (sqlalchemy.exc.OperationalError("x", {}, Exception("locked")), 1, ("database refused",)),
    (requests.ConnectionError("no route"), 1, ("no route", "server did not answer")),
    (requests.exceptions.InvalidURL("me:s3cr3t@h"), 1, ("server did not answer",)),
    (ValueError("EOF: reading array header\nand more"), 1, ("ValueError: EOF: reading",)),
    (AssertionError(), 1, ("AssertionError", "report it")),
    (ZeroDivisionError("division by zero"), 1, ("report it",)),
    (Odd("http://me:s3cr3t@host"), 1, ("Odd: http://me:***@host",)),
    (EOFError("\x1b]8;;x\x07"), 1, ("\\x1b]8;;x\\x07",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status", "said"), FAULTS, ids=lambda value: repr(value)[:50]
)
def test_every_fault_ends_in_one_message(
    error: BaseException, status: int, said: tuple[str, ...], run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = "tracking.uri=http://me:s3cr3t@h"
    assert run(raising(error), given, name="commands/predict") == status
    shown = capsys.readouterr().err
    assert shown.startswith("Error: ")
    assert len(shown.splitlines()) == 1
    for part in said:
        assert part in shown
    assert "Traceback (most" not in shown
    assert "s3cr3t" not in shown
    assert "\x1b" not in shown


def test_traceback_is_shown_when_wanted_without_passwords(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert run(raising(Odd("at http://me:s3cr3t@host")), name="commands/predict") == 1
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert "Odd: at http://me:***@host" in shown


def test_log_that_has_the_traceback_is_named(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    error = Odd("broken")
    error.add_note("The traceback is in experiments/first/tune.log.")
    assert run(raising(error), name="commands/predict") == 1
    assert "experiments/first/tune.log" in capsys.readouterr().err


@pytest.mark.parametrize("is_disguised", [False, True])
def test_interrupt_is_no_error(
    is_disguised: bool, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    error: BaseException = KeyboardInterrupt()
    if is_disguised:
        error, error.__cause__ = ImportError("of a module in C"), error
    assert run(raising(error), name="commands/predict") == 130
    assert capsys.readouterr().err == ""


URI = "tracking.uri=postgresql+psycopg://me:s3cr3t@localhost/runs"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((f"{URI}?sslmode=require", "seed=x"), "`seed`"),
        ((f"{URI},x", "seed=1,2"), "'seed=[1,2]'"),
        (("tracking=http://me:s3cr3t@h",), "`tracking` must be one of mlflow"),
        (("+experiment=http://me:s3cr3t@h",), "`experiment` must be one of"),
        (("study=http://me:s3cr3t@h",), "`study` must be"),
        (("model=http://me:s3cr3t@h",), "`model` must be one of"),
        (("executor=ray", "executor.address=ray://me:s3cr3t@h:1"), "`executor.address`"),
        (("executor=ray", "executor.address=me:s3cr3t@h"), "`executor.address`"),
        (("http://me:s3cr3t@h",), "key=value"),
        (("seed=http://me:s3cr3t@h?a=[b",), "cannot be read as key=value"),
        (("--odd=http://me:s3cr3t@h",), "--help"),
        (("+tracking.log_models=http://me:s3cr3t@h",), "tracking.log_models"),
        (("+data.x=http://me:s3cr3t@h?x=(",), "cannot be read"),
        (("tracking.urii=http://me:s3cr3t@h",), "Did you mean `tracking.uri`?"),
        (("-m", "seed=1,x", URI), "`seed`"),
        (("hydra.verbose=[http://me:s3cr3t@h?",), "cannot be read"),
    ],
)  # fmt: skip
def test_no_mistake_shows_a_password(
    arguments: tuple[str, ...], said: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    from tuner.config.compose import load

    assert run(lambda composed: load(composed) and None, *arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "s3cr3t" not in shown.out + shown.err


@pytest.mark.parametrize("option", ["--cfg=job", "--cfg=all", "--help", "--info=config"])
def test_what_hydra_prints_shows_no_password(
    option: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(AssertionError()), f"{URI}?sslmode=require", option) == 0
    shown = capsys.readouterr().out
    assert "me:***@localhost" in shown
    assert "s3cr3t" not in shown


def test_sweep_writes_no_password(run: Run, tmp_path: Path) -> None:
    assert run(lambda composed: None, "-m", "seed=1,2", f"{URI}?sslmode=require") == 0
    path = tmp_path / "experiments" / "multirun.yaml"
    assert path.stat().st_mode & 0o077 == 0
    written = path.read_text()
    assert "me:***@localhost" in written
    assert "s3cr3t" not in written


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("+data.x=Größe",), """'+data.x="Größe"'"""),
        (("+data.x=a b (c)",), """'+data.x="a b (c)"'"""),
        (("seed=1,2",), "-m tuner.search -m seed=1,2"),
        (("space.units=64,128",), "'space.units=[64,128]'"),
        (("model=custom", "space.width=[1,2]"), "'+space.width=[1,2]'"),
        (("model=custom", "model.width=3"), "+model.width=3"),
    ],
)
def test_what_cannot_be_taken_is_shown_with_what_can(
    arguments: tuple[str, ...], said: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lambda composed: None, *arguments) == 2
    assert said in capsys.readouterr().err


def test_text_reaches_the_command(run: Run) -> None:
    found: list[str] = []
    typed = ["images=scan (1),2.png", "model=models:/my model (1)@été"]
    task: Callable[[DictConfig], None] = lambda composed: found.extend(  # noqa: E731
        [composed.images, composed.model]
    )
    assert run(task, *typed, name="commands/predict") == 0
    assert found == ["scan (1),2.png", "models:/my model (1)@été"]


GIVEN = (
    ("study=first", "seed=1"),
    ("data.path=my images/Größe (1)", "registry.name=it's", "registry.alias=1.10"),
    ("space.units=[64,128]", "space.layers={min: 1, max: 2}", "space.units_1=320"),
    ("--config-dir", "own dir", "+experiment=mine"),
    ("-cd", "own dir", "hydra.searchpath=[file://own dir]", "+experiment=mine",
    "hydra.verbose=false"),
    ("--config-dir=own dir", "--config-name", "whole"),
    ("data.path=c\x1b[31md\nx.png", "tracking.uri=sqlite:///a'b\"c.db"),
    ("seed=1", "overwrite=true", "--config-dir", "own dir", "data.path=a,b"),
    ("data.path=gr\udcfcn", "data.name=数据"),
)  # fmt: skip


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: repr(" ".join(given)))
def test_printed_command_does_the_same(
    given: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    """A shell reads the command, and its words are given to the program again."""
    folder = tmp_path / "own dir"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 7\n")
    (folder / "whole.yaml").write_text("defaults: [config, _self_]\nseed: 8\n")
    seen: list[tuple[DictConfig, str]] = []

    def task(composed: DictConfig) -> None:
        seen.append((composed, printed_commands.resume(printed_commands.arguments(), None)))

    assert run(task, *given) == 0
    printed = seen[0][1]
    shell = f"printf '%s\\0' {printed}"
    words = subprocess.run(["bash", "-c", shell], capture_output=True, check=True).stdout
    arguments = [os.fsdecode(word) for word in words.split(b"\0")[:-1]]
    assert arguments[1:3] == ["-m", "tuner.search"]
    GlobalHydra.instance().clear()
    assert run(task, *arguments[3:]) == 0
    seen[0][0].overwrite = False
    assert seen[0] == seen[1]


def test_printed_command_of_a_sweep_is_that_of_its_study(run: Run) -> None:
    seen: list[str] = []

    def task(composed: DictConfig) -> None:
        seen.append(printed_commands.resume(printed_commands.arguments(), "made-up"))

    assert (
        run(task, "-m", "seed=1,2", "data.path=a b", "search=grid", "hydra.verbose=false") == 0
    )
    assert [command.partition("tuner.search ")[2] for command in seen] == [
        f"hydra.verbose=false seed={seed} 'data.path=a b' search=grid study=made-up"
        for seed in (1, 2)
    ]


@pytest.mark.slow
def test_output_that_nobody_reads_ends_a_command_quietly(tmp_path: Path) -> None:
    script = f"{sys.executable} -m tuner.search --cfg job | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode in (0, 1)
    assert done.stderr == ""


@pytest.mark.slow
def test_ascii_output_is_enough(tmp_path: Path) -> None:
    done = command(
        tmp_path, "predict", "images=Größe", "model=x",
        LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert done.returncode == 2
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr
