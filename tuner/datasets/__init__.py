"""Where images come from: one module a source, and what they all return."""

from tuner.datasets.images import ImageData, LabelledImages, Split, load

__all__ = ["ImageData", "LabelledImages", "Split", "load"]
