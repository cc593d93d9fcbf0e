"""The registry: versions and aliases, the gate, and promotion with its evidence.

May import worker, training, classifier, figures and tracking.
"""
