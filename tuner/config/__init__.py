"""The configuration: its schema, how it is composed and checked, the search space.

May import models (for their limits), runtime and the modules at the top level; no TensorFlow.
"""
