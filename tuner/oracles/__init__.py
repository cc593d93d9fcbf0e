"""Oracles: they propose values and are told results; everything is kept in a journal.

The home of Keras Tuner and Optuna, two families behind the interface in `oracle`. The table of
oracles is `tuner.config.searches`. May import config, runtime and the modules at the top level.
"""
