"""One trial: everything that computes, and nothing that records.

Imports nothing here: the fork server imports this package before TensorFlow is set up.
"""
