"""What XLA makes many times slower on a CPU, found in a program before it is compiled."""

import itertools

import tensorflow as tf

# How the names of operations begin (some after `Stateless`) whose code by XLA is slow beyond
# use on a CPU: convolutions with their gradients, and random numbers.
_CONVOLUTIONS = ("Conv2D", "Conv3D", "Depthwise")
_RANDOM_NUMBERS = ("Random", "Truncated", "Parameterized", "Multinomial", "RngReadAndSkip")


class SlowInXla(Exception):
    """XLA would make the model's training many times slower, on this machine."""


def check_speed(traced: tf.types.experimental.ConcreteFunction) -> None:
    """Refuse a program that XLA would make slow, unless it runs on a GPU.

    The operations tell, whoever made them: a layer of Keras's, of the user's, or a training
    step that calls TensorFlow itself.

    Raises:
        SlowInXla: If it does.
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
