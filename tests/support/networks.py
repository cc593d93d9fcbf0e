"""The values of small networks, written once."""

from tuner.trial import Value

PLAIN: dict[str, Value] = {
    "activation": "relu",
    "batch_norm": False,
    "dropout": 0.0,
    "l2": 0.0,
    "learning_rate": 0.01,
    "learning_rate_decay": 1.0,
    "optimizer": "adam",
    "transform": "rescale",
}
"""What every built-in model takes beside its size; nothing here is out of the ordinary."""

NETWORK: dict[str, Value] = {"layers": 1, "units_1": 16, **PLAIN}
"""A small dense network."""

VALUES: dict[str, Value] = {"epochs": 2, "batch_size": 32, **NETWORK}
"""A small dense network and a short training, for what only has to run."""
