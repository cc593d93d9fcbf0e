import pytest

from tuner.passwords import hide


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:secret@host:5432/runs", "postgresql://me:***@host:5432/runs"),
        ("postgresql+psycopg://me:a@b/c?d@host/runs", "postgresql+psycopg://me:***@host/runs"),
        ("postgresql://host/runs?user=me&password=secret", "postgresql://host/runs?user=me&password=***"),
        ("tracking.uri=http://me:secret@host:5000", "tracking.uri=http://me:***@host:5000"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("postgresql://me@host/runs", "postgresql://me@host/runs"),
        ("sqlite:////home/me/a:b@c/mlflow.db", "sqlite:////home/me/a:b@c/mlflow.db"),
        ("space.units=[64,128]", "space.units=[64,128]"),
        ("", ""),
    ],
)  # fmt: skip
def test_hide(text: str, expected: str) -> None:
    assert hide(text) == expected
