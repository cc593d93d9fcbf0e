"""Nothing that a tracking store says about a study runs or reads anything here."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from support.configs import loaded
from support.paths import CONF
from tuner.config.compose import to_dict, with_settings
from tuner.config.schema import StudyConfig
from tuner.errors import ConfigError, StudyError
from tuner.models import SPACES
from tuner.study import trust
from tuner.tracking import plain_yaml


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "s3cret")
    (tmp_path / "trap.py").write_text("raise SystemExit('sprung')\n")


def stored(**changed: Any) -> bytes:
    """Return a study's configuration as a store has it, with some changes."""
    content = OmegaConf.create(to_dict(loaded("study=first")))
    for key, value in changed.items():
        OmegaConf.update(content, key.replace("__", "."), value, force_add=True)
    return OmegaConf.to_yaml(content).encode()


def test_read_config_reads_what_a_search_writes() -> None:
    assert trust.read_config(stored(), "first") == loaded("study=first")


@pytest.mark.parametrize(
    "content",
    [
        stored(registry__name="${oc.env:SECRET}"),
        stored(registry__name="a-${oc.env:SECRET}-b"),
        stored(registry__name="${seed}"),
        stored(data__path="${oc.decode:${oc.env:SECRET}}"),
        stored(model__width=["${oc.env:SECRET}"]),
        stored(space={"${oc.env:SECRET}": 1}),
        stored(registry__name=["a", "b"]),
        stored(registry__name="a/b"),
        stored(registry__name=""),
        stored(registry__alias="latest"),
        stored(seed="one"),
        stored(search="random"),
        stored(search__oracle=["random"]),
        stored(mystery=1),
        stored() + b"x: !!python/object/apply:os.system ['touch sprung']\n",
        stored() + b"x: !!python/name:os.system\n",
        stored() + b"x: !mystery 1\n",
        stored() + b"x: &a [1]\ny: *a\n",
        b"a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n",
        b"[" * 5000,
        b"x: " + b"y" * 3_000_000,
        b"\xff\xfe",
        b"",
        b"[]",
        b"just text",
        b"a: b: c",
        b"? [a]\n: 1\n",
        b"x: 2026-13-45\n",
    ],
    ids=lambda content: content[-60:].decode("latin-1"),
)
def test_read_config_refuses_all_else_in_one_message(content: bytes) -> None:
    with pytest.raises(StudyError) as caught:
        trust.read_config(content, "first")
    message = str(caught.value)
    assert "Study first cannot be used" in message
    assert "config.yaml" in message
    assert "s3cret" not in message
    assert "Traceback" not in message
    assert len(message) < 1500
    assert not Path("sprung").exists()


def test_texts_finds_every_text_with_its_key() -> None:
    found = dict(plain_yaml.texts({"a": {"b": ["c", {"d": "e"}]}, "f": 1}))
    assert found == {"a": "a", "a.b": "c", "a.b.d": "e", "f": "f"}


# Modules


def custom(**registry: Any) -> StudyConfig:
    return loaded(
        "study=first", "data=custom", "data._target_=trap.load", "data.name=mine",
        *(f"registry.{key}={value}" for key, value in registry.items()),
    )  # fmt: skip


def write_folder(study_id: str = "id-1", name: str = "first", **changed: Any) -> None:
    folder = Path("experiments", name)
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps({"study_id": study_id}))
    (folder / "config.yaml").write_bytes(stored(**{"data___target_": "trap.load", **changed}))


def check(settings: StudyConfig, told: Any = None, name: str = "first") -> None:
    trust.check_code(settings, told or {}, name, "id-1")
    assert "trap" not in sys.modules


def test_loader_that_the_store_names_is_not_imported() -> None:
    with pytest.raises(ConfigError) as caught:
        check(custom())
    for words in ("study first", "give data._target_=trap.load"):
        assert words in str(caught.value)


def test_loader_that_the_command_names_too_is_used() -> None:
    check(custom(), {"data": {"_target_": "trap.load", "path": None}})
    with pytest.raises(ConfigError):
        check(custom(), {"data": {"_target_": None, "path": "x"}})
    told = {"data": {"_target_": "another.load"}}
    check(with_settings(custom(), told), told)


def test_loader_of_the_studys_own_folder_is_used() -> None:
    write_folder()
    check(custom())


@pytest.mark.parametrize(
    ("study_id", "changed"),
    [
        ("id-2", {}),
        ("id-1", {"data___target_": "another.load"}),
        ("id-1", {"data___target_": "${oc.env:SECRET}"}),
    ],
    ids=str,
)
def test_folder_of_another_study_vouches_for_nothing(
    study_id: str, changed: dict[str, Any]
) -> None:
    write_folder(study_id, **changed)
    with pytest.raises(ConfigError, match=r"data\._target_=trap\.load"):
        check(custom())


@pytest.mark.parametrize("content", ["", "[]", "{", '{"study_id": "id-1"}'])
def test_damaged_folder_vouches_for_nothing(content: str) -> None:
    write_folder()
    Path("experiments/first/study.json").write_text(content)
    if content.endswith('"}'):
        Path("experiments/first/config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"data\._target_=trap\.load"):
        check(custom())


def test_name_of_a_study_leads_out_of_no_folder() -> None:
    write_folder(name="../elsewhere")
    with pytest.raises(ConfigError, match=r"data\._target_=trap\.load"):
        check(custom(), name="../elsewhere")


def test_model_function_counts_where_it_is_trained_again() -> None:
    own = ["study=first", "model=custom", "model._target_=trap.build", "+space.units=8"]
    check(loaded(*own))
    with pytest.raises(ConfigError, match=r"give model\._target_=trap\.build"):
        check(loaded(*own, "registry.refit=true"))
    check(loaded(*own, "registry.refit=true"), {"model": {"_target_": "trap.build"}})


def test_modules_of_ones_own_layers_count_always() -> None:
    with pytest.raises(ConfigError, match=r"give model\.custom_objects=trap"):
        check(loaded("study=first", "+model.custom_objects=trap"))


def test_nothing_but_glassys_own_functions_needs_no_word() -> None:
    targets = [
        line.split()[1]
        for group in ("data", "model")
        for path in (CONF / group).glob("*.yaml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith("_target_: ") and path.stem != "custom"
    ]
    assert sorted(targets) == sorted([*trust.LOADERS, *SPACES])
    for loader in (
        "tuner.runtime.forkserver.call",
        "tuner.datasets.npz.read",
        "tuner.search.main",
    ):
        with pytest.raises(ConfigError, match=r"data\._target_"):
            check(loaded("study=first", f"data._target_={loader}"))
