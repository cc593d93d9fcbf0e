"""What a power cut can do to files is recognised, and nothing else is."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tuner.tracking.checksums import MODEL_FILE
from tuner.tracking.manifest import Manifest, damage, local_folder, model_damage


def _archive(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", os.urandom(2000))


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of a run's artifacts and of its model."""
    artifacts, model = tmp_path / "artifacts", tmp_path / "model"
    artifacts.mkdir()
    (artifacts / "evaluation.json").write_text("{}")
    (artifacts / "confusion_matrix.png").write_bytes(os.urandom(100))
    _archive(model / MODEL_FILE)
    (model / "MLmodel").write_text("flavors: {}\n")
    return artifacts, model


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _tear(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _remove(path: Path) -> None:
    path.unlink()


FILES = (MODEL_FILE, "MLmodel", "evaluation.json", "confusion_matrix.png")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", [_empty, _tear, _zero, _flip, _remove])
def test_damage_is_found_by_the_checksums(
    run: tuple[Path, Path], name: str, harm: Callable[[Path], None]
) -> None:
    artifacts, model = run
    paths = [str(path) for path in artifacts.iterdir()]
    manifest = Manifest.decode(Manifest.of(paths, model).encode())
    assert manifest is not None
    assert damage(manifest, artifacts, model) is None
    path = model / name if (model / name).exists() else artifacts / name
    harm(path)
    assert path.name in str(damage(manifest, artifacts, model))


@pytest.mark.parametrize("name", FILES)
def test_empty_file_of_an_older_record_is_found(run: tuple[Path, Path], name: str) -> None:
    artifacts, model = run
    assert damage(None, artifacts, model) is None
    _empty(model / name if (model / name).exists() else artifacts / name)
    assert "is empty" in str(damage(None, artifacts, model))


@pytest.mark.parametrize("harm", [_empty, _tear, _zero, _flip, _remove])
def test_damaged_model_of_an_older_record_is_found(
    run: tuple[Path, Path], harm: Callable[[Path], None]
) -> None:
    path = run[1] / MODEL_FILE
    assert model_damage(path, None) is None
    harm(path)
    assert "model.keras" in str(model_damage(path, None))


def test_model_that_was_not_kept_is_not_missed(run: tuple[Path, Path]) -> None:
    artifacts, model = run
    manifest = Manifest.of([str(path) for path in artifacts.iterdir()], model)
    assert damage(manifest, artifacts, None) is None


def test_files_that_somebody_has_added_do_no_harm(run: tuple[Path, Path]) -> None:
    artifacts, model = run
    manifest = Manifest.of([str(path) for path in artifacts.iterdir()], model)
    (artifacts / "notes.txt").touch()
    assert damage(manifest, artifacts, model) is None


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"artifacts": ', '{"other": {}}'])
def test_decode_of_what_is_no_manifest(text: str | None) -> None:
    assert Manifest.decode(text) is None


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("/a/mlruns/1", Path("/a/mlruns/1")),
        ("file:///a/mlruns/1", Path("/a/mlruns/1")),
        ("file:///a/with%20space", Path("/a/with space")),
        ("mlflow-artifacts:/1", None),
        ("s3://bucket/1", None),
    ],
)
def test_local_folder(uri: str, folder: Path | None) -> None:
    assert local_folder(uri) == folder
