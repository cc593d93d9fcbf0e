"""What distinguishes the trainings of two studies, besides data, values and seed."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.config.engine import ENGINE_VERSION
from tuner.curves.fingerprint import changed_on_disk, environment
from tuner.errors import ConfigError

DIGEST = """
import sys
sys.path.insert(0, ".")
from tuner.curves.fingerprint import own_sources
from tuner.runtime.user_code import find_function
find_function("model._target_", sys.argv[1])
print(own_sources(sys.argv[1]))
"""


def digest(folder: Path, model_function: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", DIGEST, model_function],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def own_package(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (tmp_path / "mine" / "parts.py").write_text("WIDTH = 3\n")
    (tmp_path / "mine" / "models.py").write_text(
        "import beside\nfrom mine.parts import WIDTH\n"
    )
    with (tmp_path / "mine" / "models.py").open("a") as file:
        file.write("def build(values, image_shape, num_classes): ...\n")
    (tmp_path / "beside.py").write_text("DEPTH = 1\n")
    (tmp_path / "unused.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("mine/models.py", True),
        ("mine/parts.py", True),
        ("beside.py", True),
        ("unused.py", False),
    ],
)
def test_sources_count_that_the_model_function_needs(
    own_package: Path, changed: str, counts: bool
) -> None:
    before = digest(own_package, "mine.models.build")
    assert before == digest(own_package, "mine.models.build")
    with (own_package / changed).open("a") as file:
        file.write("# as if it mattered\n")
    assert (digest(own_package, "mine.models.build") != before) is counts


def test_sources_are_the_same_wherever_the_folder_lies(own_package: Path) -> None:
    before = digest(own_package, "mine.models.build")
    assert "mine/parts.py" in before
    assert "mine/__init__.py" in before
    assert "beside.py" in before
    moved = own_package.rename(own_package.with_name("moved"))
    assert digest(moved, "mine.models.build") == before
    link = moved.with_name("link")
    link.symlink_to(moved)
    assert digest(link, "mine.models.build") == before


def test_environment_is_plain_data_and_complete() -> None:
    found = environment("tuner.models.mlp.build")
    assert found["model"] == "tuner.models.mlp.build"
    assert found["precision"] == ["float32", "float32"]
    assert "CPU" in found["devices"]
    assert set(found["versions"]) == {"keras", "numpy", "tensorflow"}
    assert found["engine"] == ENGINE_VERSION
    # Where Glassy's own modules lie and what they say is not part of it.
    assert not [name for name in found["sources"] if name.startswith("tuner")]


def test_sources_of_callbacks_count_too(
    own_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(own_package)
    model = "tuner.models.mlp.build"
    assert "beside.py" not in environment(model)["sources"]
    assert "beside.py" in environment(model, ["mine.models.build"])["sources"]
    with pytest.raises(ConfigError, match=r"training\.callbacks=mine\.models\.buil"):
        environment(model, ["mine.models.buil"])


def test_environment_of_a_function_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"model\._target_=tuner\.models\.mlp\.nothing"):
        environment("tuner.models.mlp.nothing")


def test_changed_on_disk_names_what_has_another_content(
    own_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("beside.py", "mine/models.py", "mine/parts.py")
    sources = {
        name: hashlib.sha256((own_package / name).read_bytes()).hexdigest()[:32]
        for name in names
    }
    monkeypatch.syspath_prepend(own_package)
    assert changed_on_disk(sources) == []
    (own_package / "mine" / "parts.py").write_text("WIDTH = 4\n")
    # A module that cannot be found contributes nothing.
    assert changed_on_disk({**sources, "gone.py": "0" * 32}) == ["mine/parts.py"]
