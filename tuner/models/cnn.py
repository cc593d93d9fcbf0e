"""A small convolutional network."""

from collections.abc import Sequence

import keras

from tuner.models.parts import activated, classifier, dense, dropped, prepared, regularizer
from tuner.trial import Values, whole


def build(
    values: Values,
    image_shape: tuple[int, ...],
    num_classes: int,
    *,
    metrics: Sequence[str] = (),
) -> keras.Model:
    """Build and compile a convolutional network: blocks that halve the image, a dense layer.

    Args:
        values: `blocks`, `convolutions` per block, `filters` (of the first block; each further
            block has twice as many), `kernel_size` (pixels, both ways), `units` of the dense
            layer (0: no dense layer), `activation`, `batch_norm` (whether a layer's sums are
            normalised over the batch), `dropout` (a rate in `[0, 1)`, before and after the
            dense layer), and the values that `prepared` and `classifier` take.
        image_shape: Shape of one image, `(height, width)` or `(height, width, channels)`.
        num_classes: Width of the softmax at the end.
        metrics: Metrics of `tuner.models.OWN_METRICS` that it reports besides its accuracy.

    Returns:
        A compiled `keras.Model` from uint8 images `(n, *image_shape)` to probabilities
        `(n, num_classes)`, float32.
    """
    images, x = prepared(values, image_shape)
    for i in range(whole(values["blocks"])):
        for _ in range(whole(values["convolutions"])):
            x = keras.layers.Conv2D(
                whole(values["filters"]) << i,
                values["kernel_size"],
                padding="same",
                use_bias=not values["batch_norm"],
                kernel_regularizer=regularizer(values),
            )(x)
            x = activated(x, values)
        x = keras.layers.MaxPooling2D(padding="same")(x)
    x = dropped(keras.layers.Flatten()(x), values)
    if values["units"]:
        x = dense(values, values["units"], x)
    return classifier(values, images, x, num_classes, "cnn", metrics)
