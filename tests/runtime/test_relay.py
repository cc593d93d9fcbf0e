"""What workers log reaches the driver's log, and only once."""

import logging
import pickle
from collections.abc import Iterator

import pytest

from tuner.runtime import relay


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    """Glassy's logger, restored after the test."""
    logger = logging.getLogger("tuner")
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


def test_relay_says_what_two_workers_have_logged_once(
    ours: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    crossed: list[bytes] = []
    relay.log_to(lambda record: crossed.append(pickle.dumps(record)))
    worker = logging.getLogger("tuner.training.fitting")
    for _ in range(2):
        worker.info("Training with Keras's own loop: %s.", ValueError("no pickle"))
    worker.warning("Another thing.")
    worker.debug("Of no interest.")
    del ours.handlers[-1]
    caplog.clear()
    driver = relay.Relay()
    for record in crossed:
        driver.say(pickle.loads(record))
    assert [record.getMessage() for record in caplog.records] == [
        "Training with Keras's own loop: no pickle.",
        "Another thing.",
    ]
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
