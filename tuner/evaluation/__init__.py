"""What predictions are worth, and which trials are indistinguishable: numbers in, numbers out.

May import the modules at the top level.
"""
