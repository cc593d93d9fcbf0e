"""scikit-learn's handwritten digits, which come with it: no download."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tuner.datasets.images import LabelledImages

if TYPE_CHECKING:
    from tuner.config.schema import DataConfig

NUM_TEST = 360
_SPLIT_SEED = 0


def load(config: DataConfig) -> LabelledImages:
    """Return 1,797 images of 8 x 8, 360 of which are the test split.

    The set has no test split of its own. This one is stratified and the same in every study,
    whatever its seed, so that test accuracies can be compared. The 17 grey levels are spread
    over 0 to 255, the range of a drawing's pixels.
    """
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(
        images,
        digits.target,
        test_size=NUM_TEST,
        stratify=digits.target,
        random_state=_SPLIT_SEED,
    )
    return LabelledImages.from_arrays(x_train, y_train, x_test, y_test)
