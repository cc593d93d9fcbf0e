"""A dense network over the flattened image."""

from collections.abc import Sequence

import keras

from tuner.models.parts import classifier, dense, prepared
from tuner.trial import Values, whole


def build(
    values: Values,
    image_shape: tuple[int, ...],
    num_classes: int,
    *,
    metrics: Sequence[str] = (),
) -> keras.Model:
    """Build and compile a multi-layer perceptron.

    Args:
        values: `layers`, `units_1` to `units_<layers>`, `activation`, `batch_norm` (whether a
            hidden layer's sums are normalised over the batch), `dropout` (a rate in `[0, 1)`
            after every hidden layer), and the values that `prepared` and `classifier` take.
        image_shape: Shape of one image, `(height, width)` or `(height, width, channels)`.
        num_classes: Width of the softmax at the end.
        metrics: Metrics of `tuner.models.OWN_METRICS` that it reports besides its accuracy.

    Returns:
        A compiled `keras.Model` from uint8 images `(n, *image_shape)` to probabilities
        `(n, num_classes)`, float32.
    """
    images, x = prepared(values, image_shape)
    x = keras.layers.Flatten()(x)
    for i in range(1, whole(values["layers"]) + 1):
        x = dense(values, values[f"units_{i}"], x)
    return classifier(values, images, x, num_classes, "mlp", metrics)
