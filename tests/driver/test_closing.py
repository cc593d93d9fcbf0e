"""The summary of a search can be read, and its commands can be typed as they stand."""

import dataclasses
import os
import shlex
import subprocess

import pytest

from support.configs import loaded
from tuner.config import printed_commands
from tuner.config.schema import StudyConfig
from tuner.driver import closing
from tuner.driver.parts import Best
from tuner.registry.promotion import Promotion

BEST = Best("0003", {"epochs": 2, "units_1": 8}, 0.9, {"test_accuracy": 0.8}, "run1")


def said(config: StudyConfig, promoted: Promotion | None) -> list[str]:
    return closing.lines(config, BEST, BEST, promoted, 4, None, None)


def promotion(name: str, alias: str = "champion", is_loadable: bool = True) -> Promotion:
    return Promotion(name, alias, "1", is_loadable, "It is better.", is_loadable)


def with_uri(uri: str | None) -> StudyConfig:
    config = loaded()
    return dataclasses.replace(config, tracking=dataclasses.replace(config.tracking, uri=uri))


@pytest.fixture(autouse=True)
def _no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize(
    ("name", "alias"),
    [("digits", "champion"), ("my model (1)", "champion"), ("it's", "été"),
     ("a$b`c`", 'x"y'), ("a b", "1.10")],
)  # fmt: skip
def test_next_command_names_the_model_for_a_shell(name: str, alias: str) -> None:
    lines = said(with_uri("sqlite:////x/it's (1).db"), promotion(name, alias))
    words = shlex.split(lines[-1])
    assert words[1:] == [
        "-m", "tuner.predict", "images=FILE_OR_FOLDER", f"model=models:/{name}@{alias}",
        "tracking.uri=sqlite:////x/it's (1).db",
    ]  # fmt: skip
    assert shlex.split(lines[-2])[1:] == [
        "ui",
        "--backend-store-uri",
        "sqlite:////x/it's (1).db",
    ]


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (["mods"], "custom_objects=mods"),
        (["mods", "my.layers"], "custom_objects=[mods,my.layers]"),
    ],
)
def test_next_command_permits_what_the_search_did(modules: list[str], expected: str) -> None:
    config = loaded()
    config = dataclasses.replace(config, model={**config.model, "custom_objects": modules})
    assert shlex.split(said(config, promotion("digits"))[-1])[-1] == expected


def test_next_command_uses_no_model_that_cannot_be_used() -> None:
    assert not any(
        "tuner.predict" in line for line in said(loaded(), promotion("x", is_loadable=False))
    )
    nothing_kept = loaded("registry.name=null", "tracking.log_models=none")
    assert not any("tuner.predict" in line for line in said(nothing_kept, None))
    assert said(loaded(), None)[-1].endswith("model=runs:/run1/model")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (None, ["Next:", "mlflow ui"]),
        ("http://host:5000", ["MLflow's pages: http://host:5000", "Next:"]),
        ("https://me:***@host/x", ["MLflow's pages: https://host/x", "Next:"]),
        ("https://me@corp:***@host", ["MLflow's pages: https://host", "Next:"]),
        ("postgresql://me:a@h/x", ["Next:", "mlflow ui --backend-store-uri 'postgresql://me:***@h/x'"]),
    ],
)  # fmt: skip
def test_look_at_says_how_records_are_seen(uri: str | None, expected: list[str]) -> None:
    lines = closing.look_at(uri)
    assert len(lines) == 2
    for line, end in zip(lines, expected, strict=True):
        assert line.endswith(end)


def test_lines_have_no_line_or_control_of_a_names() -> None:
    lines = said(loaded(), dataclasses.replace(promotion("x"), reason="a\nError: \x1b[31mb"))
    assert "  a\\nError: \\x1b[31mb" in lines


@pytest.mark.parametrize(
    "text", ["a b", "it's", "c\x1b[31md", "a\nb", "gr\udcfcn", "数据\x07", "\\\n'"]
)
def test_word_is_one_word_of_a_shell(text: str) -> None:
    word = printed_commands.word(text)
    assert "\n" not in word
    assert "\x1b" not in word
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert os.fsdecode(done.stdout) == text


def test_resume_keeps_all_but_what_throws_away() -> None:
    given = ["--config-dir=own dir", "+overwrite=true", "overwrite=true", "seed=1"]
    words = shlex.split(printed_commands.resume(given, "first", "python"))
    assert words == [
        "python",
        "-m",
        "tuner.search",
        "--config-dir=own dir",
        "seed=1",
        "study=first",
    ]
