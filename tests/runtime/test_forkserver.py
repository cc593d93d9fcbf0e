"""Child processes: real ones."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support.children import die, echo, square
from support.paths import with_support
from tuner.curves.fingerprint import environment
from tuner.errors import ConfigError, SearchFailed
from tuner.runtime import forkserver

NOWHERE = Path(os.devnull)


def test_call_returns_what_the_function_does() -> None:
    assert forkserver.call(square, 7) == 49


def test_call_raises_what_the_function_does() -> None:
    with pytest.raises(ConfigError, match="no_such_module"):
        forkserver.call(environment, "no_such_module.build")


def test_call_says_that_the_child_died() -> None:
    with pytest.raises(SearchFailed, match="'die' ended with exit status 3"):
        forkserver.call(die, 3)


def test_child_ends_when_its_pipe_is_closed_and_prints_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = forkserver.start(echo, "a", log_file=log)
    child.connection.send("b")
    assert child.connection.recv() == "ab"
    child.connection.close()
    child.process.join(60)
    assert child.process.exitcode == 0
    assert log.read_text() == "hello from a\nand from C\n"


SCRIPT = """
import os, sys
from pathlib import Path
from tuner.runtime import forkserver
from support import children

if __name__ == "__main__":
    forkserver.begin_imports(["no_such_module", "tensorflow"])
    loaded = forkserver.call(children.is_loaded, "tensorflow")
    ids = forkserver.call(children.parent), forkserver.call(children.parent)
    print(loaded, len(set(ids)), os.getpid() in ids, "tensorflow" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Children are forked on Linux only.")
def test_children_are_forked_from_one_that_has_imported(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=with_support(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True 1 False False\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Children are forked on Linux only.")
def test_imports_that_kill_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os\nos._exit(9)\n")
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            from tuner.runtime import forkserver
            from tuner.errors import SearchFailed
            from support import children

            if __name__ == "__main__":
                forkserver.begin_imports(["deadly"])
                try:
                    forkserver.call(children.square, 2)
                except SearchFailed as error:
                    print(error)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env=with_support(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "imports TensorFlow for the others has died" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Children are forked on Linux only.")
def test_children_start_though_tmpdir_is_long(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 105)
    folder.mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import os, stat
            from multiprocessing import process
            from tuner.runtime import forkserver
            from support import children

            if __name__ == "__main__":
                print(forkserver.call(children.square, 3))
                folder = process.current_process()._config["tempdir"]
                print(oct(stat.S_IMODE(os.stat(folder).st_mode)), folder)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env=with_support(TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        check=True,
    )
    number, mode, used = done.stdout.split()
    assert (number, mode) == ("9", "0o700")
    assert not Path(used).exists()
