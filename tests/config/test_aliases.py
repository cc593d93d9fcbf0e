"""Names in the registry: those that MLflow would refuse are refused before the search."""

import pytest
from mlflow.exceptions import MlflowException
from mlflow.utils import validation

from tuner.config import aliases
from tuner.errors import ConfigError

ALIASES = [
    "champion", "production", "in-service_2", "été", "42", "Version1", "vNext", "v", "x" * 200,
    "v1", "V12", "latest", "Latest", "LATEST", "in service", "", " ", "a/b", "a:b", "a@b",
    "a.b", "a\n", "x" * 256,
]  # fmt: skip


@pytest.mark.parametrize("alias", ALIASES)
def test_check_alias_refuses_what_mlflow_refuses(alias: str) -> None:
    try:
        validation._validate_model_alias_name(alias)
        validation._validate_model_alias_name_reserved(alias)
    except MlflowException:
        with pytest.raises(ConfigError) as caught:
            aliases.check_alias(alias)
        assert "`registry.alias`" in str(caught.value)
        assert repr(alias) in str(caught.value)
    else:
        # A trailing newline, which MLflow's `$` lets pass, is no letter.
        if not alias.endswith("\n"):
            aliases.check_alias(alias)


@pytest.mark.parametrize(
    "alias",
    ["previous", "challenger", "Previous", "CHALLENGER", "production-previous", "Champion",
     "a-challenger", "CHAMPION", "x" * 250],
)  # fmt: skip
def test_check_alias_refuses_what_the_registry_uses_itself(alias: str) -> None:
    with pytest.raises(ConfigError, match=r"`registry\.alias`"):
        aliases.check_alias(alias)


@pytest.mark.parametrize(
    "name", ["digits-classifier", "my model (1)", "数据", "a.b", "x" * 256, "...x"[3:]]
)
def test_check_model_name_takes_what_mlflow_takes(name: str) -> None:
    validation._validate_model_name(name)
    aliases.check_model_name(name)


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "a:b", "a@b", ".", "..", "../x", "/x", "x/", "x" * 257]
)
def test_check_model_name_refuses_what_mlflow_or_a_database_refuses(name: str) -> None:
    with pytest.raises(ConfigError, match=r"`registry\.name`") as caught:
        aliases.check_model_name(name)
    assert repr(name) in str(caught.value)


def test_champion_has_the_public_names_and_others_have_their_own() -> None:
    assert aliases.previous_of("champion") == "previous"
    assert aliases.challenger_of("champion") == "challenger"
    assert aliases.previous_of("production") == "production-previous"
    assert aliases.challenger_of("production") == "production-challenger"
    longest = aliases.challenger_of("x" * (aliases.MAX_ALIAS - len("-challenger")))
    validation._validate_model_alias_name(longest)
