"""Functions that the configuration names."""

from pathlib import Path

import pytest

from tuner.datasets import digits
from tuner.errors import ConfigError
from tuner.functions import find_function


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
