"""The environment of our own processes is set, and what cannot be set is reported."""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import ConfigError
from tuner.runtime import surroundings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ('{"floatx": "float8"}', ["`floatx`", "'float8'", "float16, float32, float64"]),
        ('{"image_data_format": "NCHW"}', ["`image_data_format`", "'NCHW'", "channels_last"]),
        ('{"epsilon": 1}', ["`epsilon`", "1", "1e-07"]),
        ("[]", ["must be a mapping", "list"]),
    ],
)
def test_check_names_what_keras_would_fail_over(
    settings: str, named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras.json").write_text(settings)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        surroundings.check()
    for words in (*named, str(tmp_path / "keras.json")):
        assert words in str(caught.value)


@pytest.mark.parametrize("settings", ["", "{", "{}", '{"backend": "torch", "epsilon": 1e-7}'])
def test_check_passes_what_keras_passes_over(
    settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras.json").write_text(settings)
    for home in (tmp_path, tmp_path / "keras.json", tmp_path / "nowhere"):
        monkeypatch.setenv("KERAS_HOME", str(home))
        surroundings.check()


def test_check_names_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    with pytest.raises(ConfigError, match=r"No temporary file .* set TMPDIR"):
        surroundings.check()


def test_check_mends_a_tmpdir_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    surroundings.check()
    assert Path(os.environ["TMPDIR"]).is_dir()


def test_prepare_sets_and_removes(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {
        "KERAS_BACKEND": "jax",
        "TF_USE_LEGACY_KERAS": "1",
        "KERAS_MAX_EPOCHS": "1",
        "MPLBACKEND": "QtAgg",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
        "MLFLOW_RUN_ID": "abc",
        "TF_FORCE_GPU_ALLOW_GROWTH": "false",
        "OMP_NUM_THREADS": "3",
        "CUDA_VISIBLE_DEVICES": "1",
        "TF_DETERMINISTIC_OPS": "1",
    }
    for name, value in odd.items():
        monkeypatch.setenv(name, value)
    surroundings.prepare()
    left = {name: os.environ[name] for name in odd if name in os.environ}
    assert left == {
        "KERAS_BACKEND": "tensorflow",
        "MPLBACKEND": "Agg",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
        # The choice of devices, and how they are used, is left to the user.
        "TF_FORCE_GPU_ALLOW_GROWTH": "false",
        "OMP_NUM_THREADS": "3",
        "CUDA_VISIBLE_DEVICES": "1",
        "TF_DETERMINISTIC_OPS": "1",
    }


def test_prepare_turns_no_warning_into_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", ["error", "ignore::ImportWarning"])
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", UserWarning)
        surroundings.prepare()
        warnings.warn("of a library", UserWarning, stacklevel=1)
    assert sys.warnoptions == ["ignore::ImportWarning"]
    assert "PYTHONWARNINGS" not in os.environ


def test_module_is_configured_once_whoever_imports_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "has_settings.py").write_text("choice = 'of a file'\n")
    (tmp_path / "of_the_user.py").write_text(
        "import has_settings\n"
        "found = has_settings.choice\n"
        "has_settings.choice = 'of the user'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])

    def configure(module: Any) -> None:
        module.choice = "ours"

    for _ in range(2):
        surroundings.after_import("has_settings", configure)
    import has_settings  # type: ignore[import-not-found]
    import of_the_user  # type: ignore[import-not-found]

    assert (of_the_user.found, has_settings.choice) == ("ours", "of the user")
    assert has_settings.__spec__ is not None


ODD = """
import json, sys
from tuner.runtime import surroundings
surroundings.check()
surroundings.prepare()
import keras, matplotlib, tensorflow as tf
conv = keras.layers.Conv2D(1, 1)
print(json.dumps([
    keras.config.backend(), keras.config.floatx(), keras.config.image_data_format(),
    keras.config.epsilon(), conv.data_format, conv.compute_dtype,
    tf.keras.__version__ == keras.__version__,
    matplotlib.get_backend().lower(), matplotlib.rcParams["text.usetex"],
]))
"""


@pytest.mark.slow
def test_keras_and_matplotlib_are_the_same_whatever_lies_about(tmp_path: Path) -> None:
    settings = {
        "floatx": "float16",
        "image_data_format": "channels_first",
        "backend": "torch",
        "epsilon": 0.5,
    }
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: TkAgg\n")
    odd = {
        "KERAS_HOME": str(tmp_path),
        "KERAS_BACKEND": "jax",
        "TF_USE_LEGACY_KERAS": "1",
        "MPLBACKEND": "nonsense",
        "HOME": "/dev/null",
        "PYTHONWARNINGS": "error",
    }
    done = subprocess.run(
        [sys.executable, "-c", ODD],
        cwd=tmp_path,
        env={**os.environ, **odd},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "tensorflow", "float32", "channels_last", 1e-7, "channels_last", "float32", True,
        "agg", False,
    ]  # fmt: skip
