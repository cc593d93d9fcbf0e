"""The driver of a study: its loop, its folder, and what a person sees while it runs.

May import executors, oracles, registry, curves and tracking; no TensorFlow.
"""
