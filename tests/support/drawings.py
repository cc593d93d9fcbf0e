"""Image files in folders named after their classes, like a user's drawings."""

from pathlib import Path

import numpy as np
from PIL import Image

from tuner.datasets import ImageData


def write_drawings(data: ImageData, folder: Path, number: int) -> Path:
    """Write the first test images of every class as PNG files into its class's folder.

    Args:
        data: The images.
        folder: Folder to make.
        number: Images of each class.

    Returns:
        The folder.
    """
    for label, name in enumerate(data.class_names):
        (folder / name).mkdir(parents=True)
        for i in np.flatnonzero(data.test.labels == label)[:number]:
            Image.fromarray(data.test.images[i]).save(folder / name / f"a{i}.png")
    return folder
