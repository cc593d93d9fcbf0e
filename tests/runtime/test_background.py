import threading

import pytest

from tuner.runtime.background import Background


def test_result_is_that_of_the_call() -> None:
    assert Background(divmod, 7, 3).result() == (2, 1)


def test_call_runs_beside_its_caller() -> None:
    said = threading.Event()
    waiting = Background(said.wait, timeout=60)
    said.set()
    assert waiting.result()
    assert waiting.result()


def test_error_is_raised_where_the_result_is_asked_for() -> None:
    failed = Background(int, "one")
    with pytest.raises(ValueError, match="one"):
        failed.result()
