"""Where images come from: one module per source, and the types that they all return."""

from tuner.datasets.images import (
    ImageData,
    LabelledImages,
    Split,
    check_repeatable,
    divide,
    load,
)

__all__ = ["ImageData", "LabelledImages", "Split", "check_repeatable", "divide", "load"]
