"""Which exceptions mean that a file could not be written."""

import errno

import pytest
from mlflow.exceptions import MlflowException

from tuner.errors import ConfigError, NoRoom, refusal_to_write

FULL = OSError(errno.ENOSPC, "No space left on device", "a/file")


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (FULL, "[Errno 28] No space left on device: 'a/file'"),
        (chained(ConfigError("cannot be used"), FULL), str(FULL)),
        (
            MlflowException(
                "(raised)\n(sqlite3.OperationalError) database or disk is full\n[…]"
            ),
            "(sqlite3.OperationalError) database or disk is full",
        ),
        # As `numpy.save` says it.
        (OSError("23040 requested and 8064 written"), "23040 requested and 8064 written"),
        (OSError(errno.ENOENT, "No such file"), None),
        (KeyError("x"), None),
        # It has been said already.
        (chained(NoRoom("x"), FULL), None),
    ],
)
def test_refusal_to_write_is_found_behind_other_errors(
    error: Exception, refusal: str | None
) -> None:
    assert refusal_to_write(error) == refusal


def test_no_room_says_what_to_do() -> None:
    error = NoRoom("No space left on device.")
    assert error.exit_status == 1
    assert str(error) == (
        "A file could not be written (No space left on device). Make room, and give the same "
        "command again: no finished trial is lost."
    )
