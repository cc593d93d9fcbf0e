"""Oracles: they propose values and are told results; every word is kept in a journal.

The home of Keras Tuner. May import config, runtime and the modules at the top level.
"""
