"""Free text is used as it is typed; everything else keeps Hydra's grammar."""

import random
import string
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from support.paths import CONF
from tuner.config.compose import load, load_explore, load_predict
from tuner.config.overrides import quote, quoted, text_keys, with_open_keys
from tuner.config.schema import (
    DemoConfig,
    ExploreConfig,
    PredictConfig,
    PromoteConfig,
    ReportConfig,
    StudyConfig,
)
from tuner.errors import ConfigError

SEARCH = text_keys(StudyConfig)
PREDICT = text_keys(PredictConfig)

TEXTS = (
    "Größe", "数据", "run=3", "scan (1).png", "Anna's.png", 'say "a".png', "a#b.png",
    "7.png,8.png",
    "*.png", "?.png", "[1]", "[a", "a]", "{a: 1}", "{", "}", "a:b", "a: b", "(x)", "f(x)",
    "x)",
    "2024_06_01", "1.10", "1e3", "007", "1_000", "0x1f", "-1", "+1", ".5", "5.", "inf", "NaN",
    "true", "False", "yes", " a", "a ", "a  b", "\t", "a\tb", "a\nb", "back\\slash",
    "end\\", "end\\\\",
    "\\", '"', "'", '""a', "'a' and 'b'", '"a" "b"', 'a\\"b', "$x", "a$b", "price${", "${",
    "a${b", "${}",
    "}${", "%41", "a@b", "a|b", "a;b", "a&b", "<b>", "`x`", "!x", "^", "😀", "e\u0301",
    "\u202eabc",
    "gr\udcfcn", "choice(1,2)", "range(1)", "glob(*)", "str(1)", "a=b=c", "=", "==", "~",
    "a~b", "-x",
    "http://me:p@ss,w[o]rd@h/db?sslmode=require", "postgresql+psycopg://h/d?a=b&c=d",
    "///", "C:\\x",
)  # fmt: skip


def value_of(override: str) -> object:
    """Return what Hydra and OmegaConf make of an override's value."""
    parsed = OverridesParser.create().parse_override(override)
    assert not parsed.is_sweep_override(), override
    return OmegaConf.create({"x": parsed.value()}).x


@pytest.mark.parametrize("text", TEXTS)
def test_quoted_takes_text_as_it_is_typed(text: str) -> None:
    assert value_of(quoted(f"images={text}", PREDICT)) == text
    assert value_of(quoted(f"++images={text}", PREDICT)) == text


def test_quoted_takes_any_text() -> None:
    drawn = random.Random(0)
    signs = "\\\\\\\"\"''${}()[],=:~#@ \t%*?|+-./_09éß数" + string.ascii_letters[:4]
    for _ in range(500):
        text = "".join(drawn.choices(signs, k=drawn.randint(1, 8)))
        assert value_of(f"x={quote(text)}") == text or "${" in text
        is_hydras = text[0] == text[-1] and text[0] in "\"'" and len(text) > 1
        if not is_hydras and "${" not in text:
            assert value_of(quoted(f"images={text}", PREDICT)) == text, text


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("study=null", None),
        ("study=NULL", None),
        ("study=", ""),
        ('study="null"', "null"),
        ("study='a b'", "a b"),
        ('study="say \\"a\\""', 'say "a"'),
        ("study=\\${x}", "${x}"),
    ],
)
def test_quoted_keeps_what_is_hydras(override: str, expected: object) -> None:
    assert value_of(quoted(override, SEARCH)) == expected


@pytest.mark.parametrize(
    "override", ["study=s${seed}", "study=${seed}", "study=a b ${seed} (c)"]
)
def test_quoted_keeps_interpolations(override: str) -> None:
    parsed = OverridesParser.create().parse_override(quoted(override, SEARCH))
    found = OmegaConf.create({"seed": 7, "study": parsed.value()}).study
    assert str(found) == override.partition("=")[2].replace("${seed}", "7")


@pytest.mark.parametrize(
    "override",
    [
        "seed=1", "space.units=[64,128]", "space.units={min: 1, max: 2}",
        "+model.width=007", "~study",
        "~study=first", "data=digits", "+data.own=[1]", "hydra.verbose=true",
        "hydra/launcher=basic",
        "search.max_trials=3", "data.image_size=[8,8]", "key", "model@x=y", "", "=",
    ],
)  # fmt: skip
def test_quoted_leaves_other_keys_to_hydra(override: str) -> None:
    assert quoted(override, SEARCH) == override


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a,b", ["a", "b"]),
        ("1.10,2024_06_01", ["1.10", "2024_06_01"]),
        ("scan (1), Größe", ["scan (1)", "Größe"]),
        ("'a,b',c", ["a,b", "c"]),
        ('"a,b","c, d"', ["a,b", "c, d"]),
        ("a\\,b,c", ["a,b", "c"]),
        ("x(1,2),y", ["x(1,2)", "y"]),
        ("choice(a,b)", ["a", "b"]),
        ("range(1,3)", ["1", "2"]),
        ("null,a", [None, "a"]),
    ],
)
def test_quoted_splits_a_sweep_at_its_commas(value: str, expected: list[object]) -> None:
    parser = OverridesParser.create()
    parsed = parser.parse_override(quoted(f"study={value}", SEARCH, is_sweep=True))
    assert parsed.is_sweep_override()
    jobs = [
        parser.parse_override(f"study={one}").value() for one in parsed.sweep_string_iterator()
    ]
    assert [one if one is None else str(one) for one in jobs] == expected


@pytest.mark.parametrize("text", ["a", "Größe", "1.10", "scan (1).png", "a,", ",", "[a, b]"])
def test_quoted_takes_one_text_in_a_sweep(text: str) -> None:
    assert value_of(quoted(f"study={text}", SEARCH, is_sweep=True)) == text


@pytest.mark.parametrize(
    ("schema", "keys"),
    [
        (StudyConfig, {"study", "data.path", "data.name", "tracking.uri",
        "tracking.experiment", "registry.name",
                       "registry.alias", "executor.address"}),
        (PredictConfig, {"images", "model", "tracking.uri"}),
        (ExploreConfig, {"data.path", "data.name", "picture"}),
        (ReportConfig, {"study", "drawings", "output", "tracking.experiment"}),
        (PromoteConfig, {"study", "run", "data.path", "registry.name", "registry.alias",
        "tracking.uri"}),
        (DemoConfig, {"model", "host", "tracking.uri"}),
    ],
)  # fmt: skip
def test_text_keys_come_from_the_schema(schema: type, keys: set[str]) -> None:
    found = text_keys(schema)
    assert keys <= found
    assert not {"seed", "data.image_size", "search.max_trials", "space", "data", "show"} & found


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("space.units_1=320", "++space.units_1=320"),
        ("space.filters_2=[8,16]", "++space.filters_2=[8,16]"),
        ("space.augment_shift=0.1", "space.augment.shift=0.1"),
        ("+space.units_1=320", "+space.units_1=320"),
        ("space.units=320", "space.units=320"),
        ("search.constraints.val_loss.max=0.2", "++search.constraints.val_loss.max=0.2"),
        ("search.constraints=gate", "search.constraints=gate"),
        ("space.learning_rate=0.1", "space.learning_rate=0.1"),
    ],
)
def test_with_open_keys(override: str, expected: str) -> None:
    assert with_open_keys(override) == expected


def composed(name: str, *overrides: str, schema: type) -> DictConfig:
    keys = text_keys(schema)
    folder = (CONF / name).parent
    given = [quoted(with_open_keys(o), keys) for o in overrides]
    with initialize_config_dir(version_base="1.3", config_dir=str(folder)):
        return compose(Path(name).name, given)


def test_width_of_a_layer_is_taken_by_its_name() -> None:
    config = load(composed("config", "space.units_1=320", schema=StudyConfig))
    assert config.space["units_1"] == 320


@pytest.mark.parametrize("typed", ["~/drawings", '"~/drawings"', "'~/drawings'"])
def test_home_is_expanded_in_paths(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    found = load_predict(
        composed("commands/predict", f"images={typed}", "model=~x", schema=PredictConfig)
    )
    assert (found.images, found.model) == ("/home/me/drawings", "~x")
    found = load_explore(composed("explore", f"data.path={typed}", schema=ExploreConfig))
    assert found.data.path == "/home/me/drawings"
    given = ["tracking.uri=sqlite:///~/my runs.db", "data.path=~nobody_at_all/x"]
    config = load(composed("config", *given, schema=StudyConfig))
    assert config.tracking.uri == "sqlite:////home/me/my runs.db"
    assert config.data.path == "~nobody_at_all/x"


def test_number_for_text_in_a_file_is_refused() -> None:
    given = composed("config", schema=StudyConfig)
    given.study = 1.1
    with pytest.raises(ConfigError, match=r"`study` must be text.*quotes.*study: \"1.1\""):
        load(given)
