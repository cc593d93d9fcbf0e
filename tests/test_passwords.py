"""Passwords are found by their place, in any kind of text."""

from collections.abc import Iterator

import pytest

from tuner import passwords
from tuner.passwords import hide, hide_override, without


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    passwords.forget()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield
    passwords.forget()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:secret@host:5432/runs", "postgresql://me:***@host:5432/runs"),
        ("postgresql+psycopg://me:a@b/c?d@host/runs",
        "postgresql+psycopg://me:***@host/runs"),
        ("postgresql://host/runs?user=me&password=secret",
        "postgresql://host/runs?user=me&password=***"),
        ("tracking.uri=http://me:secret@host:5000", "tracking.uri=http://me:***@host:5000"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("postgresql://me@host/runs", "postgresql://me@host/runs"),
        ("sqlite:////home/me/a:b@c/mlflow.db", "sqlite:////home/me/a:b@c/mlflow.db"),
        ("space.units=[64,128]", "space.units=[64,128]"),
        ("models:/digits-classifier@champion", "models:/digits-classifier@champion"),
        ("images=12:30@home.png", "images=12:30@home.png"),
        ("head:6379 and [::1]:6379", "head:6379 and [::1]:6379"),
        ("http://host:5000/#/runs?sort=key", "http://host:5000/#/runs?sort=key"),
        ("search.max_trials=3 token_size=64 num_tokens: 5",
        "search.max_trials=3 token_size=64 num_tokens: 5"),
        ("", ""),
    ],
)  # fmt: skip
def test_hide(text: str, expected: str) -> None:
    assert hide(text) == expected


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        "http://me@corp:s3cr3t@host",
        "http://me%40corp:s3cr3t@host:5000/x",
        "http://DOMAIN\\me:s3cr3t@host",
        "http://CORP/me:s3cr3t@host",
        "http://:s3cr3t@host",
        "http://me:s3cr3t@",
        "http://me:s3cr3t/x?y#z@host",
        "http://me:p:s3cr3t@host",
        "HTTPS://me:s3cr3t@host",
        "🏃 View run a at: http://me:s3cr3t@server:5000/#/experiments/1/runs/2",
        "two: http://a:s3cr3t@b, http://c:s3cr3t@d",
        "ray://me:s3cr3t@head:10001",
        "executor.address=me:s3cr3t@head:6379",
        "https://s3cr3tABCDEFGHIJKLMNOPQRST@host/",
        *(
            f"postgresql://host/runs?x=1&{name}=s3cr3t&y=2"
            for name in (
                "password", "PASSWORD", "passwd", "pwd", "sslpassword", "token", "secret",
                "access_key",
                "api_key", "apikey", "accessToken", "client_secret", "sig", "X-Amz-Signature",
                "authToken", "%70assword", "ssl_key_password", "AWSAccessKeyId",
            )
        ),
        "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Ds3cr3t",
        "Authorization: Basic s3cr3t==",
        "{'Authorization': 'Bearer s3cr3t'}",
        "proxy-authorization=s3cr3t",
        "sent Bearer s3cr3t.abc-def",
        "MLFLOW_TRACKING_PASSWORD=s3cr3t",
        "MLFLOW_TRACKING_TOKEN=s3cr3t",
        "host=x password=s3cr3t dbname=y",
        '{"password": "s3cr3t"}',
        "api-key: s3cr3t",
        "DRIVER={x};UID=me;PWD=s3cr3t;",
    ],
)  # fmt: skip
def test_hide_finds_a_password_by_what_it_is(text: str) -> None:
    hidden = hide(text)
    assert SECRET not in hidden
    assert passwords.STARS in hidden
    assert hide(hidden) == hidden


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "tracking.uri=http://me:my s3cr3t pass@host",
            "`http://me:my s3cr3t pass@host` is bad",
        ),
        ("tracking.uri=http://me:s3cr3t/x@host", "Port could not be cast as 's3cr3t'"),
        ("tracking.uri=http://me:s3cr3t%2Fx@host", "login failed with s3cr3t/x"),
        ("executor.address=me:s3cr3t@head", "cannot resolve me:s3cr3t@head"),
        ("executor.address=me:s3cr3t@head", "wrong: s3cr3t"),
        ("tracking=me:s3cr3t@head", "no option 'me:s3cr3t@head'"),
        ("tracking.uri='http://me:s3cr3t,]@head'", "no option http://me:s3cr3t,]@head"),
        ("tracking.uri=http://h/?password=s3cr3t", "it was s3cr3t"),
        ("+data.password=s3cr3t", "it was s3cr3t"),
    ],
)
def test_remember_finds_what_was_given_in_what_is_said_of_it(given: str, said: str) -> None:
    passwords.remember([given])
    assert SECRET not in hide(said)
    assert SECRET not in hide(given) or given.startswith("+data")
    assert SECRET not in hide_override(given)


def test_remember_takes_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cr3t")
    passwords.remember([])
    assert hide("refused: me, s3cr3t") == "refused: me, ***"


def test_remember_leaves_sentences_readable() -> None:
    """If a password that is a word were hidden everywhere, the stars would reveal it."""
    passwords.remember(["tracking.uri=http://mlflow:mlflow@host"])
    assert hide("mlflow ui") == "mlflow ui"
    assert hide("http://mlflow:mlflow@host") == "http://mlflow:***@host"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("+data.password=x", "+data.password=***"),
        ("++model.api_key=x", "++model.api_key=***"),
        ("+data.hf_token=x", "+data.hf_token=***"),
        ("space.token=[1,2]", "space.token=[1,2]"),
        ("+space.secret=[1,2]", "+space.secret=[1,2]"),
        ("study=first", "study=first"),
        ("-m", "-m"),
    ],
)
def test_hide_override(override: str, expected: str) -> None:
    assert hide_override(override) == expected


def test_without_leaves_all_else() -> None:
    nested = {
        "seed": 1,
        "data": {"path": "s3://k:s3cr3t@b", "password": "s3cr3t", "name": None},
        "space": {"token": ["a", "b"], "units": [1, 2]},
        "tracking": {"uri": "http://me:s3cr3t@host"},
    }
    assert without(nested) == {
        "seed": 1,
        "data": {"path": "s3://k:***@b", "password": "***", "name": None},
        "space": {"token": ["a", "b"], "units": [1, 2]},
        "tracking": {"uri": "http://me:***@host"},
    }
