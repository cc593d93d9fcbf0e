"""What the built-in models take, said without importing Keras so that it is checked early."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.trial import Value


@dataclass(frozen=True)
class Limit:
    """What one hyperparameter may be.

    Attributes:
        min: Smallest number allowed.
        below: Number that must not be reached, or None.
        above: Number that must be exceeded, or None.
        integer: Whether only whole numbers are allowed.
        options: Strings allowed; numbers then are not.
    """

    min: float | None = None
    below: float | None = None
    above: float | None = None
    integer: bool = False
    options: tuple[str, ...] = ()

    def allows(self, value: Value) -> bool:
        """Say whether `value` lies within the limit."""
        if self.options:
            return value in self.options
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return not (
            (self.integer and not isinstance(value, int))
            or (self.min is not None and value < self.min)
            or (self.below is not None and value >= self.below)
            or (self.above is not None and value <= self.above)
        )

    def __str__(self) -> str:
        """Say it in words that follow "must be"."""
        if self.options:
            return "one of " + ", ".join(self.options)
        bounds = [
            f"at least {self.min:g}" if self.min is not None else "",
            f"above {self.above:g}" if self.above is not None else "",
            f"below {self.below:g}" if self.below is not None else "",
        ]
        kind = "a whole number" if self.integer else "a number"
        return " ".join([kind, " and ".join(bound for bound in bounds if bound)]).strip()


LIMITS: Mapping[str, Limit] = {
    "epochs": Limit(min=1, integer=True),
    "batch_size": Limit(min=1, integer=True),
}
"""The hyperparameters of training itself, which every model has."""

ACTIVATIONS = (
    "relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "leaky_relu",
    "tanh",
    "sigmoid",
    "softplus",
)
OPTIMIZERS = ("adam", "adamw", "nadam", "rmsprop", "sgd")
TRANSFORMS = ("rescale", "l2_columns")

SPACES: Mapping[str, Mapping[str, Limit]] = {
    "tuner.models.mlp.build": {
        **LIMITS,
        "layers": Limit(min=1, integer=True),
        "units": Limit(min=1, integer=True),
        "activation": Limit(options=ACTIVATIONS),
        "dropout": Limit(min=0, below=1),
        "learning_rate": Limit(above=0),
        "optimizer": Limit(options=OPTIMIZERS),
        "transform": Limit(options=TRANSFORMS),
    },
}
"""The hyperparameters of each built-in model; a user's own model may have any."""
