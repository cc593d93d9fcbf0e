"""Where images come from: one module a source, and what they all return."""

from tuner.datasets.images import ImageData, Images, LabelledImages, Split, load

__all__ = ["ImageData", "Images", "LabelledImages", "Split", "load"]
