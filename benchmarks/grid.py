"""The configurations of the built-in models on which the engines are compared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.values import PLAIN
from tuner.models import ACTIVATIONS, OPTIMIZERS, TRANSFORMS
from tuner.trial import Value

MLP = "tuner.models.mlp.build"
CNN = "tuner.models.cnn.build"

WIDTHS = (
    (32,),
    (96,),
    (128,),
    (512,),
    (32, 32),
    (128, 128),
    (160, 96),
    (256, 128),
    (512, 128),
    (128, 128, 128),
    (320, 96, 32),
)
"""The widths of a dense network's layers: equal and unequal, one to three layers."""

AUGMENTATION: Mapping[str, Value] = {
    "augment_shift": 0.07,
    "augment_rotation": 10.0,
    "augment_zoom": 0.1,
    "augment_shear": 0.15,
    "augment_elastic": 0.03,
    "augment_stroke": 0.4,
}
"""All kinds of augmentation, with the strengths of the preset `best_mlp`."""

_COMMON: Mapping[str, Value] = {**PLAIN, "batch_size": 32}
_BLOCKS: Mapping[str, Value] = {
    "blocks": 2,
    "convolutions": 1,
    "filters": 16,
    "kernel_size": 3,
    "units": 128,
    "batch_norm": True,
    "dropout": 0.2,
    "batch_size": 64,
}


@dataclass(frozen=True)
class Configuration:
    """One built-in model and its values.

    Attributes:
        name: Name such as `mlp 256-128 dropout=0.2`.
        model: The model function's dotted name.
        values: The values it is built from, and the batch size.
    """

    name: str
    model: str
    values: Mapping[str, Value]


def mlp(widths: tuple[int, ...], **changed: Any) -> Configuration:
    """Return a dense network with these widths, and changes to the defaults."""
    units = {f"units_{i}": width for i, width in enumerate(widths, 1)}
    name = _name(f"mlp {'-'.join(map(str, widths))}", changed)
    return Configuration(name, MLP, {"layers": len(widths), **units, **_COMMON, **changed})


def cnn(**changed: Any) -> Configuration:
    """Return a convolutional network with changes to the defaults."""
    return Configuration(_name("cnn", changed), CNN, {**_COMMON, **_BLOCKS, **changed})


def short() -> Iterator[Configuration]:
    """Yield the few configurations that have revealed every slowdown found so far."""
    for widths in ((128, 128), (160, 96)):
        for dropout in (0.0, 0.2):
            yield mlp(widths, dropout=dropout)
    yield mlp((256, 128), batch_norm=True, dropout=0.2, optimizer="adamw")
    yield mlp((32,), optimizer="sgd")
    yield mlp((256, 128), transform="thin")
    yield mlp((256, 128), transform="deslant", dropout=0.2)
    yield mlp((256, 128), batch_size=512)
    yield mlp((256, 128), batch_size=512, dropout=0.2)
    yield mlp((256, 128), augment_shift=0.1)
    yield mlp((256, 128), **AUGMENTATION)
    yield cnn()
    yield cnn(filters=8, kernel_size=5, batch_norm=False, dropout=0.0)


def full() -> Iterator[Configuration]:
    """Yield the grid: widths by optimisers by dropout, and everything else one by one."""
    for widths in WIDTHS:
        for optimizer in OPTIMIZERS:
            for dropout in (0.0, 0.2):
                yield mlp(widths, optimizer=optimizer, dropout=dropout)
    for dropout in (0.0, 0.2):
        for widths in ((256, 128), (160, 96)):
            yield mlp(widths, dropout=dropout, batch_norm=True)
            for transform in TRANSFORMS[1:]:
                yield mlp(widths, dropout=dropout, transform=transform)
        for activation in ACTIVATIONS[1:]:
            yield mlp((256, 128), dropout=dropout, activation=activation)
        for batch_size in (8, 64, 128, 512, 1024):
            yield mlp((256, 128), dropout=dropout, batch_size=batch_size)
        yield mlp((256, 128), dropout=dropout, l2=1e-4)
        yield mlp((256, 128), dropout=dropout, learning_rate_decay=0.9)
        for name, strength in AUGMENTATION.items():
            yield mlp((256, 128), dropout=dropout, **{name: strength})
        yield mlp((256, 128), dropout=dropout, **AUGMENTATION)
    yield from _convolutional()


def _convolutional() -> Iterator[Configuration]:
    for filters in (8, 32):
        for kernel_size in (3, 5):
            for dropout in (0.0, 0.2):
                yield cnn(filters=filters, kernel_size=kernel_size, dropout=dropout)
    for optimizer in OPTIMIZERS:
        yield cnn(optimizer=optimizer)
    for transform in TRANSFORMS:
        yield cnn(transform=transform)
    for batch_size in (16, 256):
        yield cnn(batch_size=batch_size)
    yield cnn(blocks=1)
    yield cnn(blocks=3, convolutions=2)
    yield cnn(units=0)
    yield cnn(batch_norm=False, dropout=0.0)
    yield cnn(l2=1e-4, learning_rate_decay=0.9)
    yield cnn(augment_shift=0.1)
    yield cnn(**AUGMENTATION)


def _name(stem: str, changed: Mapping[str, Value]) -> str:
    if AUGMENTATION.items() <= changed.items():
        changed = {k: v for k, v in changed.items() if k not in AUGMENTATION} | {
            "augment": "all"
        }
    return " ".join([stem, *(f"{name}={value}" for name, value in changed.items())])
