"""What the process imports that children are forked from; see `tuner.forkserver`."""

from tuner import garbage

with garbage.kept():
    from tuner import worker

__all__ = ["worker"]
