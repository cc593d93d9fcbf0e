"""Imports of the process that children are forked from; see `tuner.runtime.forkserver`."""

from tuner.runtime import gc_pauses, surroundings

# Before Keras, which reads its settings as it is imported.
surroundings.prepare()
with gc_pauses.kept():
    from tuner.worker import worker

__all__ = ["worker"]
