"""How good predictions are, and which trials are indistinguishable: numbers in, numbers out.

May import the modules at the top level.
"""
