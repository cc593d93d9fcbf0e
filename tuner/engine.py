"""The version of Glassy's own training engine, which every curve and every study records.

Raise it by hand in the commit that changes what any training computes: a model's layers, the
order of images, random numbers, an optimiser's defaults. `tests/test_engine.py` fails for such
a change. A source text that changes nothing, or a module that moves, leaves it as it is.
"""

ENGINE_VERSION = 1
