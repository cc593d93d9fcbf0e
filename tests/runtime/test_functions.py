"""Functions that the configuration names."""

import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from tuner.datasets import digits
from tuner.errors import ConfigError, DataError
from tuner.runtime.user_code import call_loader, find_function


def test_find_function_returns_the_function() -> None:
    assert find_function("data._target_", "tuner.datasets.digits.load") is digits.load


def test_find_function_takes_a_class() -> None:
    assert find_function("model._target_", "tuner.errors.ConfigError") is ConfigError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module.load", "No module named 'no_such_module'. A module of your own must"),
        ("tuner.no_such_module.load", "No module named 'tuner.no_such_module'"),
        ("tuner.errors.ConfigError.load", "'tuner.errors' is not a package"),
        ("tuner.datasets.digits.lod", "tuner.datasets.digits has none named lod; .*load"),
        # There, but a number.
        ("tuner.datasets.digits.NUM_TEST", "must be a function, but .* none named NUM_TEST"),
    ],
)
def test_find_function_refuses(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        find_function("data._target_", name)
    assert f"`data._target_={name}`" in str(raised.value)


def test_find_function_lists_only_what_could_be_meant() -> None:
    with pytest.raises(ConfigError) as raised:
        find_function("model._target_", "tuner.models.mlp.bild")
    # Neither `_transform`, which begins with an underscore, nor modules such as keras.
    assert "_transform" not in str(raised.value)
    assert "keras" not in str(raised.value)
    assert "build" in str(raised.value)


def test_find_function_says_where_a_module_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails_on_import.py").write_text("x = 1\ny = x / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as raised:
        find_function("model._target_", "fails_on_import.build")
    assert "fails_on_import.py, line 2:\nZeroDivisionError: division by zero" in str(
        raised.value
    )


AT_THE_TOP = {
    "command_line": "import argparse\nargparse.ArgumentParser().parse_args()\n",
    "folder": "import os\nos.chdir('/')\n",
    "signals": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n",
    "logging": "import logging\nlogging.root.addHandler(logging.NullHandler())\n",
    "prints": "import sys\nprint('hello'), print('hello', file=sys.stderr)\n",
    "seeds": "import random\nimport numpy\nrandom.seed(1), numpy.random.seed(1)\n",
}


def write_module(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"{name}.py").write_text(text + "\n\ndef build():\n    return 1\n")
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize("name", AT_THE_TOP)
def test_module_may_do_at_its_top_what_it_likes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module(tmp_path, f"top_{name}", AT_THE_TOP[name], monkeypatch)
    monkeypatch.setattr(sys, "argv", ["search.py", "study=a", "--unknown"])

    def state() -> tuple[object, ...]:
        root = logging.getLogger()
        return (os.getcwd(), sys.argv, signal.getsignal(signal.SIGTERM), root.handlers[:])

    before = state()
    assert find_function("model._target_", f"top_{name}.build")() == 1
    assert state() == before


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("import sys\nsys.exit(3)", 2, "SystemExit: 3"),
        ("x = 1\n\nx = (", 3, "SyntaxError"),
        ("raise MemoryError('mine')", 1, "MemoryError: mine"),
        ("import json\njson.loads('{')", 2, "JSONDecodeError"),
        ("assert False, 'not so'", 1, "AssertionError: not so"),
    ],
)
def test_module_that_fails_is_named_with_its_line(
    text: str, line: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"fails_{abs(hash(text))}"
    write_module(tmp_path, name, text, monkeypatch)
    with pytest.raises(ConfigError) as caught:
        find_function("data._target_", f"{name}.load")
    message = str(caught.value)
    assert f"`data._target_={name}.load` cannot be imported" in message
    assert f"{name}.py, line {line}:" in message
    assert said in message


def test_loader_that_fails_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os\n\ndef load(config):\n    os.chdir('/')\n    return {}[config]\n"
    write_module(tmp_path, "failing_loader", text, monkeypatch)
    here = os.getcwd()
    with pytest.raises(DataError) as caught:
        call_loader("failing_loader.load", "a")
    assert "`data._target_=failing_loader.load` fails in" in str(caught.value)
    assert "failing_loader.py, line 5:\nKeyError: 'a'" in str(caught.value)
    assert os.getcwd() == here
