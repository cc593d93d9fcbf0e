"""What may differ when a study is resumed, and what the settings stand for."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.configs import loaded
from tuner.config.compose import flatten, to_dict
from tuner.curves.fingerprint import Environment
from tuner.curves.identity import MAY_CHANGE, NOT_SETTINGS, Identity, differing, plain_store
from tuner.datasets import ImageData
from tuner.driver import study_folder
from tuner.errors import StudyError

BEGUN = Environment(
    model="mine.models.build",
    engine=1,
    sources={"mine/models.py": "a1", "beside.py": "b1"},
    precision=["float32", "float32"],
    devices=["CPU"],
    versions={"keras": "3.15.0", "numpy": "2.1.0", "tensorflow": "2.21.0"},
)


TOLD = {
    "training.early_stopping",
    "training.reduce_on_plateau",
    "training.class_weight",
    "training.callbacks",
}


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def identity(data: str = "d1", split: str = "s1", **environment: Any) -> Identity:
    return Identity(data, split, Environment(**{**BEGUN, **environment}))  # type: ignore[typeddict-item]


# Settings


@pytest.mark.parametrize(
    "changed",
    [
        ["executor.workers=1"],
        ["executor.retries=0"],
        ["executor=serial"],
        ["executor=ray", "executor.cpus=2", "executor.address='10.0.0.1:6379'"],
        ["curves.keep=none"],
        ["curves.max_mb=5"],
        ["curves.every_seconds=1"],
        ["registry.alias=production"],
        ["registry.name=null"],
        ["registry.refit=true"],
        ["registry.gate.max_parameters=5"],
        ["tracking.log_models=best"],
        ["search.max_trials=99"],
        ["search.max_minutes=9", "search.patience=3", "search.target=0.9"],
        ["tracking.uri='sqlite:///mlflow.db'"],
        ["tracking.uri='sqlite:///./mlflow.db'"],
        ["tracking.uri='sqlite:///{here}/mlflow.db'"],
        ["data.path=elsewhere"],
        ["extend=true", "study=first"],
    ],
    ids=str,
)
def test_find_takes_what_changes_no_result(changed: list[str], tmp_path: Path) -> None:
    with study_folder.hold("first", loaded(), [], identity()):
        pass
    given = [override.format(here=tmp_path) for override in changed]
    assert study_folder.find("first", loaded(*given)) is not None


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ("seed=4", "seed"),
        ("executor.threads=2", "executor.threads"),
        ("training.engine=keras", "training.engine"),
        ("training.early_stopping={patience: 3}", "training.early_stopping"),
        ("training.reduce_on_plateau={patience: 3}", "training.reduce_on_plateau"),
        ("training.class_weight=balanced", "training.class_weight"),
        ("training.callbacks=[my_callbacks.make]", "training.callbacks"),
        ("data.train_size=500", "data.train_size"),
        ("data.validation_split=0.3", "data.validation_split"),
        ("search.objective=val_loss", "search.objective"),
        ("search.constraints={num_parameters: {max: 5}}", "search.constraints"),
        ("space.dropout=0.5", "space.dropout"),
        ("model=cnn", "model._target_"),
        ("tracking.experiment=other", "tracking.experiment"),
        ("tracking.uri='sqlite:///other.db'", "tracking.uri"),
    ],
)
def test_find_refuses_what_changes_a_result(changed: str, key: str) -> None:
    with study_folder.hold("first", loaded(), [], identity()):
        pass
    with pytest.raises(StudyError) as caught:
        study_folder.find("first", loaded(changed))
    assert "exists with other settings" in str(caught.value)
    assert f"{key}: was " in str(caught.value)
    assert "overwrite=true" in str(caught.value)


def test_studies_of_earlier_versions_were_told_nothing() -> None:
    before = flatten(to_dict(loaded()))
    earlier = {key: value for key, value in before.items() if key not in TOLD}
    assert len(before) == len(earlier) + len(TOLD)
    assert differing(earlier, before) == ({}, {})
    after = flatten(to_dict(loaded("training.class_weight=balanced")))
    assert set(differing(earlier, after)[0]) == {"training.class_weight"}


def test_gpus_may_change_in_number_but_not_from_none_to_some() -> None:
    assert differing({"executor.gpus": 1.0}, {"executor.gpus": 2.0})[0] == {}
    assert differing({"executor.workers": 2}, {"executor.gpus": 0.0})[0] == {}
    assert set(differing({"executor.gpus": 0.0}, {"executor.gpus": 1.0})[0]) == {
        "executor.gpus"
    }


def test_every_key_that_may_change_is_one_and_has_a_reason() -> None:
    keys = set()
    own = ("model=custom", "model._target_=my_models.build", "model.custom_objects=my_layers")
    for overrides in (("executor=serial",), ("executor=processes",), ("executor=ray",), own):
        keys |= flatten(to_dict(loaded(*overrides))).keys()
    groups = {f"{key.partition('.')[0]}.*" for key in keys}
    assert MAY_CHANGE.keys() <= keys | groups
    assert set(NOT_SETTINGS) <= keys
    assert all(len(entry.why) > 20 for entry in MAY_CHANGE.values())


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        (None, "sqlite:///mlflow.db", True),
        ("sqlite:///mlflow.db", "sqlite:///{here}/mlflow.db", True),
        ("sqlite:///a/../mlflow.db", "sqlite:///mlflow.db", True),
        ("sqlite+pysqlite:///mlflow.db", "sqlite:///mlflow.db", True),
        ("sqlite:///linked/mlflow.db", "sqlite:///real/mlflow.db", True),
        ("http://host:5000", "http://host:5000/", True),
        ("http://me:old@host", "http://me:n@w@host", True),
        ("http://me:***@host", "http://host", True),
        ("postgresql://me:a@host/runs", "postgresql://me:b@host/runs", True),
        ("postgresql://host/runs?password=a", "postgresql://host/runs?password=b", True),
        ("mlruns", "file://{here}/mlruns", True),
        ("sqlite:///mlflow.db", "sqlite:///other.db", False),
        ("http://host:5000", "http://host:5001", False),
        ("http://host/a", "http://host/b", False),
        ("postgresql://host/runs", "postgresql://host/others", False),
        ("postgresql://host/runs?options=a", "postgresql://host/runs?options=b", False),
        ("postgresql://host/runs", "mysql://host/runs", False),
    ],
)
def test_plain_store_names_one_store_in_one_way(
    one: str | None, other: str, are_same: bool, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert (plain_store(one) == plain_store(other.format(here=tmp_path))) is are_same


def test_plain_store_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@host?password=s3cret")
    assert plain_store(None) == "http://host"


def test_store_that_the_environment_named_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@host")
    with study_folder.hold("first", loaded(), [], identity()) as held:
        assert "s3cret" not in (held.path / "study.json").read_text()
    assert study_folder.find("first", loaded()) is not None
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(StudyError, match=r"tracking\.uri: was http://host, now sqlite:"):
        study_folder.find("first", loaded())


def test_study_in_a_moved_folder_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "before").mkdir()
    monkeypatch.chdir(tmp_path / "before")
    with study_folder.hold("first", loaded(), [], identity()):
        pass
    (tmp_path / "before").rename(tmp_path / "after")
    monkeypatch.chdir(tmp_path / "after")
    assert study_folder.find("first", loaded()) is not None


# What they stand for


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"data": "d2"}, ["the data", "was d1", "now d2"]),
        ({"split": "s2"}, ["the split into training, validation and test images"]),
        (
            {"sources": {"mine/models.py": "a2", "mine/new.py": "c1"}},
            ["mine/models.py has changed", "mine/new.py is new", "beside.py is no longer"],
        ),
        ({"precision": ["mixed_float16", "float32"]}, ["precision", "mixed_float16"]),
        ({"devices": ["CPU", "GPU"]}, ["kinds of device", "CPU, GPU"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("consent", ["extend=true", "extend=false"])
def test_hold_refuses_a_study_of_something_else(
    now: dict[str, Any], said: list[str], consent: str
) -> None:
    with study_folder.hold("first", loaded(), [], identity()) as held:
        before = {path: path.read_bytes() for path in held.path.iterdir()}
    with (
        pytest.raises(StudyError) as caught,
        study_folder.hold(
            "first", loaded(consent, "study=first", "curves.keep=all"), ["x"], identity(**now)
        ),
    ):
        pass
    for words in (*said, "study=first", "Undo that", "overwrite=true"):
        assert words in str(caught.value)
    after = {path: path.read_bytes() for path in before if path.name != "lock"}
    assert after == {path: before[path] for path in after}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"engine": 2}, "engine 1 is now 2"),
        ({"versions": {**BEGUN["versions"], "keras": "4.0"}}, "keras 3.15.0 is now 4.0"),
        ({"versions": {**BEGUN["versions"], "numpy": "2.2"}}, "numpy 2.1.0 is now 2.2"),
        ({"versions": {**BEGUN["versions"], "tensorflow": "3"}}, "tensorflow 2.21.0 is now 3"),
    ],
    ids=str,
)
def test_other_versions_need_consent_once(now: dict[str, Any], said: str) -> None:
    with study_folder.hold("first", loaded(), [], identity()):
        pass
    with (
        pytest.raises(StudyError) as caught,
        study_folder.hold("first", loaded(), [], identity(**now)),
    ):
        pass
    for words in (said, "extend=true", "install"):
        assert words in str(caught.value)
    with study_folder.hold(
        "first", loaded("extend=true", "study=first"), [], identity(**now)
    ) as held:
        assert Identity(**held.state.identity or {}) == identity()
    # The user has agreed to these versions, and to those that it was started with.
    for agreed in (identity(**now), identity()):
        with study_folder.hold("first", loaded(), [], agreed):
            pass


def test_hold_keeps_what_was_told_last_and_what_it_was_begun_with() -> None:
    with study_folder.hold("first", loaded("data.path=a"), ["data.path=a"], identity()):
        pass
    with study_folder.hold("first", loaded("data.path=b"), ["data.path=b"], identity()) as held:
        assert held.told == {"data.path": ("a", "b")}
        assert "path: b" in (held.path / "config.yaml").read_text()
        assert (held.path / "overrides.yaml").read_text() == "- data.path=b\n"
        assert Identity(**held.state.identity or {}) == identity()


def test_identity_tells_data_and_splits_apart(few_digits: ImageData) -> None:
    one = Identity.of(few_digits, BEGUN)
    assert Identity.of(few_digits, BEGUN) == one
    swapped = dataclasses.replace(few_digits, train=few_digits.validation)
    assert Identity.of(swapped, BEGUN).split != one.split
    shorter = dataclasses.replace(few_digits, test=few_digits.test.take(np.arange(79)))
    assert Identity.of(shorter, BEGUN).split != one.split
    assert Identity.of(dataclasses.replace(few_digits, digest="x"), BEGUN).data == "x"


def test_tag_names_many_sources_by_one_digest() -> None:
    assert '"mine/models.py"' in identity().tag()
    many = identity(sources={f"mine/part_{i}.py": "a" * 32 for i in range(300)})
    assert len(many.tag()) < 1000
    other = identity(sources={**many.environment["sources"], "mine/part_7.py": "b" * 32})
    assert many.tag() != other.tag()


def test_study_by_xla_is_not_extended_by_what_xla_makes_slow() -> None:
    with study_folder.hold("first", loaded(), [], identity()) as held:
        held.state.engine = "xla"
        held.save_state()
        before = (held.path / "study.json").read_bytes()
    more = loaded("study=first", "extend=true", "space.dropout=[0.0,0.2]")
    with (
        pytest.raises(
            StudyError, match=r"trains by XLA .*space\.dropout above 0.*another name"
        ),
        study_folder.hold("first", more, [], identity()),
    ):
        pass
    assert (held.path / "study.json").read_bytes() == before
    wider = loaded("study=first", "extend=true", "space.units=[8,16,32]")
    with study_folder.hold("first", wider, [], identity()):
        pass
