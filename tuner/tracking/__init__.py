"""MLflow: the connection, the runs that a study writes, and the one reader of them.

May import config, runtime and the modules at the top level. `history` writes nothing.
"""
