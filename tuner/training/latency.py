"""The time that a model takes to classify one image."""

import statistics
import time

import keras
import numpy as np
import numpy.typing as npt

NUM_TIMED = 50
"""Number of calls whose median is the latency."""

_NUM_WARM = 5
"""Number of calls before those: the first ones compile."""


def latency_ms(model: keras.Model, images: npt.NDArray[np.uint8]) -> float:
    """Return how many milliseconds a model takes for one image, on this machine.

    The weights do not matter, so a model can be measured before it is trained.

    Args:
        model: The model.
        images: Raw images that it takes, at least one; the first is used.
    """
    one = images[:1]
    for _ in range(_NUM_WARM):
        model.predict_on_batch(one)
    seconds = []
    for _ in range(NUM_TIMED):
        begin = time.perf_counter()
        model.predict_on_batch(one)
        seconds.append(time.perf_counter() - begin)
    return 1000 * statistics.median(seconds)
