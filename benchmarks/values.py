"""The values of the built-in models that no benchmark changes."""

from collections.abc import Mapping

from tuner.trial import Value

PLAIN: Mapping[str, Value] = {
    "activation": "relu",
    "batch_norm": False,
    "dropout": 0.0,
    "l2": 0.0,
    "learning_rate": 1e-3,
    "learning_rate_decay": 1.0,
    "optimizer": "adam",
    "transform": "rescale",
}
"""All but the size of the network and the length of the training, as `conf/model/` has them."""
