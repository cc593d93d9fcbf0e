"""Finds operations that XLA makes many times slower on a CPU, before it compiles them."""

import itertools

import tensorflow as tf

# Prefixes (some after `Stateless`) of operations whose XLA code is too slow to be useful on a
# CPU: convolutions with their gradients, and random numbers.
_CONVOLUTIONS = ("Conv2D", "Conv3D", "Depthwise")
_RANDOM_NUMBERS = ("Random", "Truncated", "Parameterized", "Multinomial", "RngReadAndSkip")


class SlowInXla(Exception):
    """XLA would make the model's training many times slower, on this machine."""


def check_speed(traced: tf.types.experimental.ConcreteFunction) -> None:
    """Refuse a program that XLA would make slow, unless it runs on a GPU.

    It looks at the operations, so it does not matter whether a Keras layer, a layer of the
    user's or a custom training step has made them.

    Raises:
        SlowInXla: If XLA would make the program slow.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    graph = traced.graph.as_graph_def()
    for node in itertools.chain(graph.node, *(f.node_def for f in graph.library.function)):
        name = node.op.removeprefix("Stateless")
        if name.startswith(_RANDOM_NUMBERS):
            raise SlowInXla(f"random numbers ({node.name})")
        if name.startswith(_CONVOLUTIONS):
            raise SlowInXla(f"convolutions ({node.name})")
