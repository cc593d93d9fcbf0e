"""MLflow: the connection, the runs that a study writes, and the one module that reads them.

May import config, runtime and the modules at the top level. `history` writes nothing; what it
reads are the types of `facts`, and `trial_epochs` reads the epochs of a trial.
"""
