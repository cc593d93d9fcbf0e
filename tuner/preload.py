"""What the process imports that children are forked from; see `tuner.forkserver`."""

from tuner import garbage, surroundings

# Before Keras, which reads its settings as it is imported.
surroundings.prepare()
with garbage.kept():
    from tuner import worker

__all__ = ["worker"]
