"""The hyperparameters of the built-in models, without Keras, so that they are checked early."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.trial import Value


@dataclass(frozen=True)
class Limit:
    """The values that one hyperparameter may have.

    Attributes:
        min: Smallest number allowed.
        max: Largest number allowed.
        below: Number that must not be reached, or None.
        above: Number that must be exceeded, or None.
        integer: Whether only whole numbers are allowed.
        boolean: Whether it is true or false; numbers then are not allowed.
        options: Strings allowed; numbers then are not.
    """

    min: float | None = None
    max: float | None = None
    below: float | None = None
    above: float | None = None
    integer: bool = False
    boolean: bool = False
    options: tuple[str, ...] = ()

    def allows(self, value: Value) -> bool:
        """Say whether `value` lies within the limit."""
        if self.options:
            return value in self.options
        if self.boolean or isinstance(value, bool):
            return self.boolean and isinstance(value, bool)
        if not isinstance(value, int | float):
            return False
        return not (
            (self.integer and not isinstance(value, int))
            or (self.min is not None and value < self.min)
            or (self.max is not None and value > self.max)
            or (self.below is not None and value >= self.below)
            or (self.above is not None and value <= self.above)
        )

    def __str__(self) -> str:
        """Return the limit in words that follow "must be"."""
        if self.options:
            return "one of " + ", ".join(self.options)
        if self.boolean:
            return "true or false"
        bounds = [
            f"at least {self.min:g}" if self.min is not None else "",
            f"at most {self.max:g}" if self.max is not None else "",
            f"above {self.above:g}" if self.above is not None else "",
            f"below {self.below:g}" if self.below is not None else "",
        ]
        kind = "a whole number" if self.integer else "a number"
        return " ".join([kind, " and ".join(bound for bound in bounds if bound)]).strip()


OWN_METRICS = ("balanced_accuracy", "macro_f1")
"""Metrics of the built-in models that are measured only where a study asks for them."""

DIRECTIONS = {
    "val_accuracy": "max",
    "val_loss": "min",
    **{f"val_{name}": "max" for name in OWN_METRICS},
}
"""The validation metrics that a built-in model can report, with their directions."""

BEST_SCORES = {name: 0.0 if name == "val_loss" else 1.0 for name in DIRECTIONS}
"""The best that each of them can be."""

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
MOMENTUM = ("sgd", "rmsprop")
"""The optimizers that take a momentum."""

TRANSFORMS = ("rescale", "standardize", "l2_columns", "thin", "deslant")

_AUGMENTATION = {
    "augment_shift": Limit(min=0, below=1),
    "augment_rotation": Limit(min=0, max=180),
    "augment_zoom": Limit(min=0, below=1),
    "augment_shear": Limit(min=0, below=1),
    "augment_elastic": Limit(min=0, below=1),
    "augment_stroke": Limit(min=0, max=1),
}

_COMMON = {
    "activation": Limit(options=ACTIVATIONS),
    "batch_norm": Limit(boolean=True),
    "dropout": Limit(min=0, below=1),
    "l2": Limit(min=0),
    "learning_rate": Limit(above=0),
    "learning_rate_decay": Limit(above=0, max=1),
    "momentum": Limit(min=0, below=1),
    "optimizer": Limit(options=OPTIMIZERS),
    "transform": Limit(options=TRANSFORMS),
    **_AUGMENTATION,
}

SPACES: Mapping[str, Mapping[str, Limit]] = {
    "tuner.models.mlp.build": {
        **LIMITS,
        "layers": Limit(min=1, integer=True),
        "units": Limit(min=1, integer=True),
        **_COMMON,
    },
    "tuner.models.cnn.build": {
        **LIMITS,
        "blocks": Limit(min=1, max=8, integer=True),
        "convolutions": Limit(min=1, integer=True),
        "filters": Limit(min=1, integer=True),
        "kernel_size": Limit(min=1, integer=True),
        "units": Limit(min=0, integer=True),
        **_COMMON,
    },
}
"""The hyperparameters of each built-in model; a user's own model may have any."""

OMITTED = frozenset({"momentum", *_AUGMENTATION})
"""Hyperparameters that are no values of a trial where they are fixed at 0."""

OPTIONAL = frozenset({"epochs", *OMITTED})
"""Hyperparameters that may be missing: Hyperband sets the epochs, and 0 changes nothing."""

NEUTRAL: Mapping[str, float] = {
    "dropout": 0.0,
    "l2": 0.0,
    "learning_rate_decay": 1.0,
    "momentum": 0.0,
    **dict.fromkeys(_AUGMENTATION, 0.0),
}
"""What a trial without a hyperparameter is built with; it needs all the others."""

RANDOM = frozenset({"dropout", *_AUGMENTATION})
"""Hyperparameters that draw random numbers in every training step, unless they are 0."""

CONVOLUTIONAL = frozenset({"tuner.models.cnn.build"})
"""The built-in models with convolutions."""
