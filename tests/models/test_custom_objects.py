"""A model may hold classes of the user's own if the user's command names their module."""

import sys
import zipfile
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest

from support import models
from tuner.classifier import safe_loading
from tuner.errors import ConfigError, ModelError
from tuner.models.custom_objects import permitted

LAYERS = """
import keras
from numpy import array


@keras.saving.register_keras_serializable()
class Scale(keras.layers.Layer):
    def call(self, x):
        return 2 * x


class Shift(keras.layers.Layer):
    def call(self, x):
        return x + 1


def twice_relu(x):
    return 2 * keras.ops.relu(x)


def model():
    images = keras.Input((8, 8))
    x = Shift()(Scale()(keras.layers.Flatten()(images)))
    return keras.Model(images, keras.layers.Dense(10, activation=twice_relu)(x))
"""


@pytest.fixture
def own_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's file, with classes that are no longer known in this process."""
    (tmp_path / "own_layers.py").write_text(LAYERS)
    monkeypatch.syspath_prepend(tmp_path)
    with keras.saving.CustomObjectScope({}):
        import own_layers  # type: ignore[import-not-found]

        own_layers.model().save(tmp_path / "model.keras")
    monkeypatch.delitem(sys.modules, "own_layers")
    keras.saving.get_custom_objects().clear()
    return tmp_path / "model.keras"


def test_model_with_own_layers_is_refused_by_their_names(own_layers: Path) -> None:
    with pytest.raises(ModelError) as caught:
        safe_loading.load_file(own_layers, "m")
    message = str(caught.value)
    assert "Functional" not in message
    assert "the class 'Scale', which is not Keras's own" in message
    assert "custom_objects=<module> (model.custom_objects=<module> in a search)" in message


@pytest.mark.parametrize("form", ["name", "list", "module", "mapping"])
def test_model_with_own_layers_is_loaded_if_permitted(own_layers: Path, form: str) -> None:
    import own_layers as module  # type: ignore[import-not-found]

    given = {
        "name": "own_layers",
        "list": ["own_layers"],
        "module": module,
        "mapping": {n: getattr(module, n) for n in ("Scale", "Shift", "twice_relu")},
    }[form]
    model = safe_loading.load_file(own_layers, "m", given)
    assert model(np.zeros((3, 8, 8))).shape == (3, 10)


def test_permission_names_what_a_module_defines_itself() -> None:
    module = ModuleType("mine")
    exec(LAYERS, vars(module))
    assert sorted(permitted(module)) == ["Scale", "Shift", "model", "twice_relu"]
    assert permitted(None) == permitted([]) == {}
    keras.saving.get_custom_objects().clear()


def test_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="`custom_objects=no_such_layers` cannot be imported"):
        permitted("no_such_layers")


def rewritten(path: Path, old: bytes, new: bytes) -> Path:
    """Return a copy of a model's file with another configuration."""
    copy = path.with_name("other.keras")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(
                name, content.replace(old, new) if name == "config.json" else content
            )
    return copy


def test_model_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    """Each failure has a message of its own."""
    path = tmp_path / "model.keras"
    keras.Sequential(
        [keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10)]
    ).save(path)
    models.lambda_layer().save(tmp_path / "lambda.keras")
    content = path.read_bytes()
    (tmp_path / "half.keras").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.keras").write_bytes(b"")
    for file, words in (
        (rewritten(path, b'"units": 10', b'"units": 2000000000'), "more memory than there is"),
        (tmp_path / "half.keras", "its file is damaged"),
        (tmp_path / "empty.keras", "its file is damaged: it is not a .keras archive (0 bytes)"),
        (tmp_path / "lambda.keras", "it holds a Lambda layer"),
    ):
        with pytest.raises(ModelError) as caught:
            safe_loading.load_file(file, "m")
        assert words in str(caught.value)
        assert ("safe mode" in str(caught.value)) is False
    # In place of a layer, a function of another library.
    other = rewritten(path, b'"module": "keras.layers"', b'"module": "os"')
    with pytest.raises(ModelError):
        safe_loading.load_file(other, "m")
